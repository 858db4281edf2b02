"""`conform` on the recorded values of training code, and on cases in which one number was changed: each change must fail."""

from __future__ import annotations

import json
import math
import random
import shutil
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from redraft.evals.conform import Case, conform, run_case
from redraft.evals.conform_train import TEXT, TrainCase, compare
from tests.kit import SHARED, unpacked_core, unpacked_more, unpacked_train

SEED = 5

# parameters that the reference itself did not read in these cases: changing them changes nothing it recorded
INERT = {
    ("bd3lm", "training"): lambda p: not p["ignore_bos"],
    ("bd3lm", "resample"): lambda p: p["sampling_eps_max"] == 1.0 and p["sampling_eps_min"] in (0.001, 1.0),
    ("dllm", "block_size"): lambda p: True,
    ("e2d2", "eval_block_size"): lambda p: p["training"],
    ("e2d2", "block_size"): lambda p: not p["training"],
    ("mdlm", "time_conditioning"): lambda p: True,
    ("duo", "tau_log10"): lambda p: p["step"] >= p["end"],
    ("duo", "start"): lambda p: p["step"] >= p["end"],
    ("duo", "end"): lambda p: p["step"] <= p["start"] or p["step"] >= p["end"],
    ("duo", "step"): lambda p: p["step"] >= p["end"],
    ("duo", "top_k"): lambda p: True,
    ("esolm", "alpha_0"): lambda p: p["num_iw_orders"] > 0,
    ("esolm", "batch_split"): lambda p: 0 < p["batch_split"] < 1,  # a small batch: the same rows on both sides
    ("esolm", "diffusion_shuffle"): lambda p: p["batch_split"] == 0 or p["num_iw_orders"] > 0,
    ("esolm", "sequential_shuffle"): lambda p: p["batch_split"] == 1 or p["num_iw_orders"] > 0,
    ("gidd", "clip_noise"): lambda p: p["p_uniform"] > 0.0,  # a floor that is not reached
    ("gidd", "min_loss_weight"): lambda p: p["loss_weighting"] == "none",
    ("gidd", "max_loss_weight"): lambda p: p["loss_weighting"] in ("none", "dynamic"),
    ("md4", "timesteps"): lambda p: p["cont_time"],
    ("mgdm", "alpha"): lambda p: not p["token_reweighting"],
    ("mgdm", "gamma"): lambda p: not p["token_reweighting"],
}  # fmt: skip

# inputs of the same kind: draws of t where t is 1, the logits of a half that a case does not have, padding marks that the
# reference does not apply
INERT_INPUTS = {
    "bd3lm/block1_eps1": {"draw00_rand", "draw01_rand"},
    "esolm/B_split.5_alpha.25_shuffle": {"draw01_rand"},
    "esolm/alpha0_pure_ar": {"draw00_rand", "draw01_rand", "raw_logits_diffusion_sorted"},
    "esolm/alpha1_pure_diffusion": {"raw_logits_sequential_sorted"},
    "esolm/iw_orders3": {"draw02_rand", "draw05_rand", "draw08_rand", "raw_logits_diffusion_sorted", "valid_tokens"},
    "gidd/mdlm_loss": {"attention_mask"},
}


@pytest.fixture(scope="session")
def kit() -> Path:
    return unpacked_train()


def folders(kit: Path) -> list[Path]:
    return [meta.parent for meta in sorted(kit.rglob("meta.json"))]


def test_the_committed_kit_passes_whole(kit: Path) -> None:
    report = conform([kit])
    assert report.failures == []
    assert report.ok and report.found == 98


def test_further_recordings_pass() -> None:
    """Of mdlm (change of variables, discrete time), bd3lms (blocks drawn again), e2d2 (context), dllm (cosine)."""
    report = conform([unpacked_more()])
    assert report.failures == []
    assert {family: found for family, (_, found) in report.families.items()} == {
        "bd3lm": 14, "dllm": 12, "e2d2": 12, "mdlm": 13,
    }  # fmt: skip


def test_the_committed_kit_is_the_shared_one(kit: Path) -> None:
    shared = SHARED.parent / "train"
    if not shared.is_dir():
        pytest.skip("the shared kit (../shared/kit/train) is not on this machine")
    ours = {p.relative_to(kit).as_posix(): p.read_bytes() for p in kit.rglob("*") if p.is_file()}
    theirs = {p.relative_to(shared).as_posix(): p.read_bytes() for p in shared.rglob("*") if p.is_file()}
    assert ours == theirs


# one case changed


class Copy:
    """A case's folder copied, to be changed; checkpoints are links."""

    def __init__(self, case: Path, room: Path) -> None:
        self.source = case
        family = room / "train" / case.parent.name
        if not family.exists():
            family.mkdir(parents=True)
            for checkpoint in case.parent.glob("ckpt_*"):
                (family / checkpoint.name).symlink_to(checkpoint)
            if not (room / "core").exists():
                (room / "core").symlink_to(case.parent.parent.parent / "core")
        self.folder = family / case.name
        if self.folder.exists():
            shutil.rmtree(self.folder)
        shutil.copytree(case, self.folder)
        self.meta: dict[str, Any] = json.loads((case / "meta.json").read_text(encoding="utf-8"))
        file = case / "tensors.safetensors"
        self.tensors = load_file(file) if file.exists() else {}

    def failure(self, meta: dict[str, Any] | None = None, tensors: dict[str, Tensor] | None = None) -> str | None:
        (self.folder / "meta.json").write_text(json.dumps(self.meta if meta is None else meta), encoding="utf-8")
        if self.tensors:
            save_file(self.tensors if tensors is None else tensors, self.folder / "tensors.safetensors")
        return run_case(self.folder / "meta.json")[2]


def outputs(case: Path) -> set[str]:
    """Names that our parts compute, tensors or entries."""
    recorded = Case(case, json.loads((case / "meta.json").read_text(encoding="utf-8")))
    with torch.no_grad():
        return set(import_module(f"redraft.evals.kit.{recorded.family}").train(TrainCase(recorded)))


def other(value: Tensor, at: tuple[int, ...] | None = None) -> Tensor:
    """The tensor with one element, or all of them, changed by little, but by more than any rounding."""
    new = value.clone()
    where = ... if at is None else at
    if value.dtype == torch.bool:
        new[where] = ~value[where]
    elif value.is_floating_point():
        old = value[where]
        moved = torch.where(old.isfinite(), old + 0.003 * (1 + old.abs()), torch.zeros_like(old))
        new[where] = moved
    else:
        new[where] = value[where] + 1
    return new


def elsewhere(value: Tensor) -> Tensor:
    """The whole tensor changed, so that what it does changes too: a mask loses every other element, numbers move."""
    if value.dtype == torch.bool:
        return value.logical_not()
    if value.is_floating_point() and not bool(((value == 0) | (value == 1)).all()):
        return 1.0 - value if bool(((value >= 0) & (value <= 1)).all()) else value.flip(-1).contiguous()
    if value.dtype == torch.int64 or not bool(((value == 0) | (value == 1)).all()):
        return value + 1
    new = value.flatten().clone()
    new[::2] = 1 - new[::2].to(torch.int8).to(value.dtype)
    return new.view(value.shape)


def sampled(
    tensors: dict[str, Tensor], names: set[str], chance: random.Random, num: int
) -> Iterator[tuple[str, tuple[int, ...]]]:
    for name in sorted(names & set(tensors)):
        for _ in range(num):
            yield name, tuple(chance.randrange(n) for n in tensors[name].shape)


CASES = folders(unpacked_train())
FAST = {c.parent: c for c in CASES}.values()  # one case of each family; all of them with the slow tests
each_case = pytest.mark.parametrize(
    "case",
    [pytest.param(c, id=f"{c.parent.name}-{c.name}", marks=[] if c in FAST else pytest.mark.slow) for c in CASES],
)


@each_case
def test_a_changed_result_fails(case: Path, tmp_path: Path) -> None:
    copy, chance = Copy(case, tmp_path), random.Random(SEED)
    names = outputs(case)
    assert copy.failure() is None
    survivors = []
    for name, at in sampled(copy.tensors, names, chance, 2):
        if copy.failure(tensors=copy.tensors | {name: other(copy.tensors[name], at)}) is None:
            survivors.append((name, at))
    for name in sorted(names & set(copy.meta)):
        value = torch.tensor(copy.meta[name])
        at = tuple(chance.randrange(n) for n in value.shape)
        if copy.failure(meta=copy.meta | {name: other(value, at).tolist()}) is None:
            survivors.append((name, at))
    assert survivors == []


@each_case
def test_a_changed_input_fails(case: Path, tmp_path: Path) -> None:
    """Whole tensors: a single number may be one that nothing recorded depends on, as a logit of a token not learned."""
    copy = Copy(case, tmp_path)
    survivors = []
    for name in sorted(set(copy.tensors) - outputs(case)):
        if name in INERT_INPUTS.get(f"{case.parent.name}/{case.name}", ()):
            continue
        if copy.failure(tensors=copy.tensors | {name: elsewhere(copy.tensors[name])}) is None:
            survivors.append(name)
    assert survivors == []


@each_case
def test_what_is_not_known_fails(case: Path, tmp_path: Path) -> None:
    copy = Copy(case, tmp_path)
    meta = copy.meta
    params = dict(meta.get("params") or {})
    changes: dict[str, dict[str, Any]] = {
        "entry": meta | {"surprise": 1},
        "parameter": meta | {"params": params | {"surprise": 1}},
        "kind": meta | {"kind": "surprise"},
        "variant": meta | {"variant": "surprise"},
        "family": meta | {"family": "surprise"},
    }
    for name in sorted(set(meta) - TEXT - {"layout", "rng", "note"} - outputs(case)):
        if (case.parent.name, name) == ("md4", "eps"):  # 1e-4 where it is not recorded
            continue
        changes[f"without {name}"] = {k: v for k, v in meta.items() if k != name}
    assert [name for name, changed in changes.items() if copy.failure(meta=changed) is None] == []
    if copy.tensors:
        listless = {k: v for k, v in meta.items() if k != "tensors"}
        more = copy.tensors | {"surprise": torch.zeros(2)}
        assert copy.failure(meta=listless, tensors=more) is not None
        assert copy.failure(tensors=more) is not None
        for name in copy.tensors if "tensors" in meta else ():
            assert copy.failure(tensors={k: v for k, v in copy.tensors.items() if k != name}) is not None


@each_case
def test_a_changed_parameter_fails(case: Path, tmp_path: Path) -> None:
    copy = Copy(case, tmp_path)
    params = copy.meta.get("params") or {}
    survivors = []
    for name, value in params.items():
        inert: Callable[[dict[str, Any]], bool] = INERT.get((case.parent.name, name), lambda p: False)
        if inert(params):
            continue
        if isinstance(value, bool):
            new: Any = not value
        elif isinstance(value, (int, float)):
            new = value * 0.5 + 0.45 if isinstance(value, float) else value * 2 + 1
        else:
            new = f"{value}x" if isinstance(value, str) else [9 for _ in value]
        if copy.failure(meta=copy.meta | {"params": params | {name: new}}) is None:
            survivors.append((name, new))
    no_mask = case.parent.name == "udlm"  # uniform noise
    if (
        isinstance(copy.meta.get("mask_id"), int)
        and not no_mask
        and copy.failure(meta=copy.meta | {"mask_id": 1}) is None
    ):
        survivors.append(("mask_id", 1))
    assert survivors == []


def renamed(copy: Copy, name: str, held: dict[str, Tensor], **meta: Any) -> str | None:
    """What conform says of the case under another name, with the tensors and entries given."""
    copy.folder = copy.folder.parent / name
    copy.folder.mkdir()
    shapes = {n: [list(t.shape), str(t.dtype).removeprefix("torch.")] for n, t in held.items()}
    return copy.failure(meta=copy.meta | {"case": name, "variant": name, "tensors": shapes} | meta, tensors=held)


@pytest.mark.parametrize(
    ("case", "name"),
    [
        ("mdlm/schedules", "schedules_again"),
        ("bd3lm/schedules", "schedules_again"),
        ("e2d2/schedules", "schedules_again"),
        ("dllm/schedulers", "schedulers_again"),
        ("llada_sft/d1_eval_t", "d1_eval_t_s3"),
        ("llada_sft/d1_random_t", "d1_random_t_s3"),
        ("diffullama/loss_and_anneal_mask", "loss_and_anneal_mask_r.7"),
        ("masks/e2d2_bd3lm_x0_xt", "e2d2_bd3lm_x0_xt_L9"),
        ("mdlm/train_s0", "train_s0"),
        ("bd3lm/train_s0", "train_s0"),
    ],
)
def test_a_variant_is_known_by_its_beginning(kit: Path, case: str, name: str, tmp_path: Path) -> None:
    copy = Copy(kit / case, tmp_path)
    shutil.rmtree(copy.folder)
    shapes = {} if "tensors" in copy.meta else {"tensors": None}
    assert renamed(copy, name, copy.tensors, **shapes) is None


def test_md4_schedules_of_another_eps(kit: Path, tmp_path: Path) -> None:
    copy = Copy(kit / "md4/schedules", tmp_path)
    t, eps = torch.linspace(0.05, 0.95, 7, dtype=torch.float64), 1e-3
    alpha, slope = (1 - 2 * eps) * (1 - t) + eps, (2 * eps - 1) * torch.ones(7, dtype=torch.float64)
    wide = {"alpha": alpha, "dalpha": slope, "weight": slope / (1 - alpha), "logsnr": (alpha / (1 - alpha)).log()}
    tensors = {"t": t.float()} | {f"linear_{n}": v.float() for n, v in wide.items()}
    assert renamed(copy, "schedules_eps", tensors, eps=eps) is None
    assert copy.failure(meta=copy.meta | {"tensors": None, "eps": 2 * eps}, tensors=tensors) is not None


@pytest.mark.parametrize("clip", [10, 12])
def test_gidd_noise_above_a_floor(kit: Path, tmp_path: Path, clip: int) -> None:
    copy = Copy(kit / "gidd/schedule_pu0.0_gamma1.0", tmp_path)
    t, share, mask, vocab = torch.linspace(0.01, 0.99, 9), math.exp(-clip), 3, 9
    c = 2 * share / (1 - share) * (t * (1 - t)).sqrt()
    beta = (c / (vocab - 1) / (1 + c))[:, None].repeat(1, vocab)
    beta[:, mask] = t / (1 + c)
    scale = torch.tensor(math.log(2 * share / (1 - share)))
    tensors = {"t": t, "alpha": ((1 - t) / (1 + c))[:, None], "beta_pi": beta, "log_B": scale, "log_gamma": scale * 0}
    params = {"p_uniform": 0.0, "gamma": 1.0, "clip_noise": clip, "effective_p_uniform": share}
    assert renamed(copy, "schedule_clip", tensors, mask_id=mask, vocab_size=vocab, params=params) is None
    wrong = tensors | {"beta_pi": beta * torch.where(torch.arange(vocab) == mask, 1.0, 1.1)}
    shutil.rmtree(copy.folder)
    assert renamed(copy, "schedule_clip", wrong, mask_id=mask, vocab_size=vocab, params=params) is not None


@pytest.mark.parametrize("entries", [{}, {"p_uniform": 0.4, "gamma": 2.0, "vocab_size": 13}])
def test_gidd_samples_wherever_the_mask_is(kit: Path, tmp_path: Path, entries: dict[str, float]) -> None:
    copy = Copy(kit / "gidd/sample_zt", tmp_path)
    vocab, mask, share, gamma = (
        int(entries.get("vocab_size", 11)),
        3,
        entries.get("p_uniform", 0.2),
        entries.get("gamma", 1.0),
    )
    tokens = torch.arange(4 * 11).view(4, 11) % 11
    t, draw = torch.tensor([0.1, 0.4, 0.7, 0.9]), torch.rand(4, 11, generator=torch.Generator().manual_seed(SEED))
    c = (2**gamma * share / (1 - share) * (t * (1 - t)) ** (gamma / 2))[:, None, None]
    q = (1 - t)[:, None, None] * torch.nn.functional.one_hot(tokens, vocab) + c / (vocab - 1)
    q[..., mask] = t[:, None] + (1 - t)[:, None] * (tokens == mask)
    z = (draw[..., None] >= (q / (1 + c)).cumsum(-1)).sum(-1)
    tensors = {"x0": tokens, "t": t, "draw00_rand": draw, "z_t": z}
    assert renamed(copy, "sample_zt_s1", tensors, mask_id=mask, **entries) is None


@pytest.mark.parametrize(
    ("case", "name"),
    [("md4/loss_linear_cont", "zt"), ("md4/genmd4_learned", "zt_1"), ("gidd/mdlm_loss", "z_t")],
)
def test_a_noised_token_is_the_clean_one_or_the_mask(kit: Path, case: str, name: str, tmp_path: Path) -> None:
    copy = Copy(kit / case, tmp_path)
    at = tuple((copy.tensors[name] != copy.meta["mask_id"]).nonzero()[0].tolist())
    seen = copy.tensors[name].clone()
    seen[at] = (seen[at] + 1) % copy.meta["mask_id"]
    assert "or the mask" in str(copy.failure(tensors=copy.tensors | {name: seen}))


@pytest.mark.parametrize("case", ["mdlm/subs_continuous", "bd3lm/full", "e2d2/train_b4"])
def test_marks_of_padding_are_zeros_and_ones(kit: Path, case: str, tmp_path: Path) -> None:
    copy = Copy(kit / case, tmp_path)
    marks = copy.tensors["attention_mask"].clone()
    marks[tuple(marks.nonzero()[0].tolist())] = 7
    assert copy.failure(tensors=copy.tensors | {"attention_mask": marks}) is not None


@pytest.mark.parametrize(
    ("case", "name", "value"),
    [
        ("duo/curriculum_simple_step50", "top_k", -3),
        ("esolm/iw_orders3", "alpha_0", 7.0),
        ("esolm/iw_orders3", "batch_split", -2),
        ("dllm/bd3lm_token_uniform", "block_size", 0),
        ("bd3lm/block1_eps1", "block_size", 2),
    ],
)
def test_parameters_beside_the_loss_are_possible_ones(
    kit: Path, case: str, name: str, value: float, tmp_path: Path
) -> None:
    copy = Copy(kit / case, tmp_path)
    assert copy.failure() is None
    assert copy.failure(meta=copy.meta | {"params": copy.meta["params"] | {name: value}}) is not None


@pytest.mark.parametrize(
    ("case", "name", "at", "factor"),
    [
        ("gidd/loss_pu0.0_gamma1.0_none", "elbo_weights", None, 100.0),
        ("cart/weights", "matrix_p0.8", None, 1.5),
        ("md4/genmd4_learned", "grad_rloo_mean_wrt_raw_w", 0, 1.0002),
        ("md4/schedules", "poly2_discrete_T1000_weight", 5, 1.0001),
    ],
)
def test_a_small_number_changed_fails(
    kit: Path, case: str, name: str, at: int | None, factor: float, tmp_path: Path
) -> None:
    copy = Copy(kit / case, tmp_path)
    value = copy.tensors[name].flatten().clone()
    i = int(torch.where(value == 0, math.inf, value.abs()).argmin()) if at is None else at
    value[i] *= factor
    assert copy.failure(tensors=copy.tensors | {name: value.view(copy.tensors[name].shape)}) is not None


@pytest.mark.parametrize("family", ["sdar", "fastdllm_v2"])
def test_training_values_beside_logits(family: str, tmp_path: Path) -> None:
    """The core cases of logits that also hold masks, noised ids and a loss."""
    copy, chance = Copy(unpacked_core() / family / "logits_s0", tmp_path), random.Random(SEED)
    assert copy.failure() is None
    names = {n for n in copy.tensors if n.startswith(("train_", "noise_", "logits_train"))}
    survivors = []
    for name, at in sampled(copy.tensors, names, chance, 2):
        if copy.failure(tensors=copy.tensors | {name: other(copy.tensors[name], at)}) is None:
            survivors.append((name, at))
    if copy.failure(meta=copy.meta | {"loss_train": copy.meta["loss_train"] * 1.0005}) is None:
        survivors.append(("loss_train", ()))
    assert survivors == []
    assert copy.failure(tensors=copy.tensors | {"train_surprise": torch.zeros(2)}) is not None


@pytest.mark.parametrize(
    ("recorded", "found", "agrees"),
    [
        ([1.0, 100.0], [1.0 + 9e-6, 100.0009], True),
        ([1.0, 100.0], [1.0 + 2e-5, 100.0], False),
        ([100.0], [100.002], False),
        ([0.0], [9e-9], True),
        ([0.0], [3e-8], False),
        ([4e-8], [6e-8], False),
        ([float("inf"), float("nan")], [float("inf"), float("nan")], True),
        ([float("inf")], [1e30], False),
        ([1.0], [float("nan")], False),
        ([-float("inf")], [float("inf")], False),
    ],
)
def test_the_rule_of_comparison(recorded: list[float], found: list[float], agrees: bool) -> None:
    from redraft.evals.conform import Mismatch

    if agrees:
        compare("x", torch.tensor(recorded), torch.tensor(found, dtype=torch.float64))
        return
    with pytest.raises(Mismatch):
        compare("x", torch.tensor(recorded), torch.tensor(found, dtype=torch.float64))
