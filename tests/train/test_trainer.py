"""The loop: one gradient however a batch is split, averages, precision, adapters, what is logged, what is refused."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import redraft
from redraft.core.draws import Keyed
from redraft.core.errors import BadInput, Stopped
from redraft.core.traits import Traits
from redraft.objectives import AtLeastOne, Full, LowDiscrepancy, Mixture, Objective, PerToken, TwoStream, once
from redraft.recipes.curriculum import Curve, Ramp
from redraft.recipes.recipe import Optimiser, Stage, Tasks
from redraft.train.adapters import Adapter
from redraft.train.loop import Run
from redraft.train.optimise import rate
from redraft.train.telemetry import noise_scale
from tests.train.runs import MIX, RECIPE, begin, go, one, saved

PROGRAMS = {
    "full": Objective(masking=AtLeastOne(), layout=Full()),
    "blocks": Objective(times=LowDiscrepancy(8), layout=TwoStream(8), normaliser=PerToken()),
}


def grads(run: Run) -> dict[str, torch.Tensor]:
    """The gradient of the first step, as the optimiser would see it."""
    kept: dict[str, torch.Tensor] = {}

    def take(share: float) -> float:
        kept.update({name: p.grad.clone() for name, p in run.weights.items() if p.grad is not None})
        return 0.0

    run._update = take  # type: ignore[method-assign]
    run.advance(0.0)
    return kept


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_gradient_is_that_of_the_whole_batch_however_it_is_split(name: str) -> None:
    whole = grads(one(PROGRAMS[name], micro=100))
    for micro in (1, 2, 4):
        part = grads(one(PROGRAMS[name], micro=micro))
        for key, value in whole.items():
            torch.testing.assert_close(part[key], value, rtol=1e-3, atol=1e-5)
    # and that is the gradient of one plain forward and backward over all documents
    run = one(PROGRAMS[name], micro=100)
    (rows,), _ = run.micro_batches(0)
    loss = once(PROGRAMS[name], dict(run.whole.networks.items()), run.canvas(rows), Keyed(0), run.traits)
    loss.value.backward()
    for key, p in run.weights.items():
        assert p.grad is not None
        torch.testing.assert_close(whole[key], p.grad, rtol=1e-4, atol=1e-6)


def test_a_measured_step_changes_no_bit() -> None:
    plain, measured = begin(), begin()
    measured.step = plain.step = 0
    for _ in range(3):
        plain.advance(0.0)
    import redraft.train.loop as loop

    before = loop.NOISE_EVERY
    try:
        loop.NOISE_EVERY = 1
        lines = [measured.advance(0.0) for _ in range(3)]
    finally:
        loop.NOISE_EVERY = before
    assert all("noise_scale" in line for line in lines)
    for key, value in plain.weights.items():
        assert torch.equal(value, measured.weights[key])


def test_the_noise_scale_is_the_spread_of_micro_batch_gradients() -> None:
    run = begin(micro=2)
    line = run.advance(0.0)
    run = begin(micro=2)
    micros, tasks = run.micro_batches(0)
    jobs = [run.recipe.program.prepare(run.canvas(m), Keyed(0), run.traits) for m in micros]
    counts = run.counts(jobs)
    each = []
    for job in jobs:
        run.whole.zero_grad()
        run.recipe.program.run(dict(run.whole.networks.items()), job, counts).value.backward()
        each.append(torch.cat([p.grad.flatten() for p in run.weights.values() if p.grad is not None]).double())
    stack = torch.stack(each) * len(each)  # each estimates the whole gradient
    mean = stack.mean(0)
    variance = ((stack - mean) ** 2).sum() / (len(each) - 1)
    signal = (mean**2).sum() - variance / len(each)
    assert line["norm"] == pytest.approx(float(mean.norm()), rel=1e-4)
    wanted = float(variance * len(tasks) / len(each) / signal) if signal > 0 else None
    assert line["noise_scale"] == (pytest.approx(wanted, rel=1e-3) if wanted is not None else None)
    assert noise_scale(2.0, 1.5, 2, 8) == pytest.approx(((4 * 1.5 - 2 * 4) / 1) * 4 / (4 - (4 * 1.5 - 2 * 4) / 2))


def test_losses_are_logged_by_task_time_and_place() -> None:
    run = begin(micro=100)
    line = run.advance(0.0)
    run = begin(micro=100)
    (rows,), tasks = run.micro_batches(0)
    canvas = run.canvas(rows)
    loss = once(run.recipe.program, dict(run.whole.networks.items()), canvas, Keyed(0), run.traits)
    assert loss.each is not None and loss.time is not None
    by_time: dict[int, list[float]] = {}
    by_task: dict[str, list[float]] = {}
    for row in range(len(canvas.tokens)):
        for column in range(canvas.tokens.shape[1]):
            value = float(loss.each[row, column])
            if value == value:
                by_time.setdefault(min(int(float(loss.time[row, column]) * 10), 9), []).append(value)
                by_task.setdefault(tasks[int(canvas.sample[row, column])], []).append(value)
    for i, mean in enumerate(line["loss_by_time"]):
        assert mean == (pytest.approx(sum(by_time[i]) / len(by_time[i]), rel=1e-3) if i in by_time else None)
    for task, values in by_task.items():
        assert line["losses"][task] == pytest.approx(sum(values) / len(values), rel=1e-4)
    assert sum(v is not None for v in line["loss_by_place"]) > 1
    hits = sum(map(len, by_task.values()))
    assert line["mask_rate"] == pytest.approx(hits / int(canvas.answer.sum()))
    assert line["tokens"] == int(canvas.valid.sum()) and line["loss"] == pytest.approx(loss.value.item(), rel=1e-5)


def test_the_loss_falls() -> None:
    run = begin(
        tasks=Tasks((Stage(0, 16, (("addition", 1.0),)),)), micro=16, optimiser=Optimiser(lr=0.02, warmup=4), steps=60
    )
    losses = [run.advance(step / 60)["loss"] for step in range(60)]
    assert sum(losses[-5:]) < 0.6 * sum(losses[:5])


def test_muon_and_bfloat16_train_too() -> None:
    for muon in (False, True):
        run = begin(bf16=True, optimiser=Optimiser(lr=0.01, muon=muon, muon_lr=0.02, warmup=1, weight_decay=0.1))
        before = {k: v.detach().clone() for k, v in run.weights.items()}
        line = run.advance(0.0)
        assert line["loss"] == pytest.approx(begin().advance(0.0)["loss"], rel=0.02)
        run.advance(0.0)  # outputs start at zero, so the first step moves them alone
        assert all(p.dtype == torch.float32 and not torch.equal(p, before[k]) for k, p in run.weights.items())


def test_recomputed_layers_give_the_same_gradient() -> None:
    plain = begin()
    again = Run(plain.recipe, begin_model(), plain.source, plain.special, plain.processes, recompute=True)
    one_, two = grads(plain), grads(again)
    for key, value in one_.items():
        torch.testing.assert_close(two[key], value, rtol=1e-5, atol=1e-7)


def begin_model() -> redraft.Model:
    from tokenizers import Tokenizer

    from redraft.train.start import BOX, scratch

    return scratch(RECIPE, Tokenizer.from_file(str(BOX)))


def test_the_rate_warms_up_stays_and_falls_to_zero() -> None:
    o = Optimiser(warmup=4, decay=0.5)
    assert [rate(o, step, step / 20) for step in (0, 1, 3, 9)] == [0.25, 0.5, 1.0, 1.0]
    assert rate(o, 15, 0.75) == pytest.approx(0.5) and rate(o, 20, 1.0) == 0.0
    assert rate(replace(o, decay=0.0), 20, 1.0) == 1.0


def test_the_average_follows_the_weights_by_its_decay() -> None:
    run = begin(ema=0.3)
    assert run.ema is not None
    key = next(iter(run.weights))
    wanted = run.weights[key].detach().clone()
    for n in range(1, 4):
        run.advance(0.0)
        d = min(0.3, (1 + n) / (10 + n))
        wanted = d * wanted + (1 - d) * run.weights[key].detach()
        torch.testing.assert_close(run.ema.values[key], wanted)


def test_exports_take_the_average_or_the_raw_weights(tmp_path: Path) -> None:
    for which in ("ema", "raw"):
        go(tmp_path / which, ema=0.9, export=which)
    prefix = "networks.main."
    for which, file in (("ema", "ema"), ("raw", "model")):
        found = redraft.load(tmp_path / which / "model").backbone.state_dict()
        held = saved(tmp_path / which, file)
        assert found and all(torch.equal(found[k], held[prefix + k]) for k in found)
    assert not torch.equal(
        saved(tmp_path / "ema", "ema")[prefix + "norm.weight"], saved(tmp_path / "ema")[prefix + "norm.weight"]
    )
    card = (tmp_path / "ema" / "model" / "README.md").read_text()
    assert "moving average with decay 0.9" in card and "redraft train redraft_tiny" in card


@dataclass(frozen=True)
class WithNetwork(Objective):
    """An objective that scales its loss by a learned number of another network."""

    def networks(self, traits: Traits, model_config: Any) -> dict[str, nn.Module]:
        return {"scale": nn.Linear(1, 1)}

    def run(self, models: Any, job: Any, counts: Any) -> Any:
        found = super().run(models, job, counts)
        return replace(found, value=found.value + models["scale"](torch.ones(1, 1)).sum() ** 2)


def test_further_networks_are_made_trained_and_saved() -> None:
    run = one(Mixture(((1.0, WithNetwork(masking=AtLeastOne())),)))
    names = [name for name in run.weights if name.startswith("networks.scale.")]
    assert len(names) == 2
    before = run.weights[names[0]].detach().clone()
    assert torch.equal(before, one(Mixture(((1.0, WithNetwork()),))).weights[names[0]])  # the seed decides
    run.advance(0.0)
    assert not torch.equal(before, run.weights[names[0]])
    assert set(names) <= run.state()[0]["model"].keys()


def test_a_teacher_is_a_frozen_copy_of_the_start() -> None:
    run = begin(needs=("mask", "teacher"))
    run.advance(0.0)
    teacher, fresh = run.whole.networks["teacher"].state_dict(), begin().whole.networks["main"].state_dict()
    assert all(torch.equal(teacher[k], fresh[k]) for k in fresh)
    assert not any("teacher" in name for name in run.state()[0]["model"])


def test_a_curriculum_changes_the_program_and_is_logged_and_plotted(tmp_path: Path) -> None:
    recipe = replace(
        RECIPE,
        program=Objective(times=LowDiscrepancy(high=1.0), masking=AtLeastOne()),
        curriculum=(Curve(("times.low",), Ramp(0.0, 0.9)),),
    )
    run = begin(recipe, tasks=Tasks((Stage(0, 40, MIX),)), micro=40)
    low, high = run.advance(0.0), run.advance(0.999)
    assert low["curriculum"] == {"times.low": 0.0} and high["curriculum"]["times.low"] == pytest.approx(0.8991)
    assert low["mask_rate"] < 0.75 < high["mask_rate"]
    from redraft.train.telemetry import plot

    (tmp_path / "log.jsonl").write_text(json.dumps(low) + "\n" + json.dumps(high) + "\n")
    found = plot(tmp_path, "curved")
    assert found is not None and found.read_bytes().startswith(b"\x89PNG")


def test_a_gradient_that_is_not_finite_stops_the_run_with_the_weights_as_they_were() -> None:
    run = begin()
    before = {k: v.detach().clone() for k, v in run.weights.items()}
    with torch.no_grad():
        run.whole.networks["main"].norm.weight[0] = float("nan")
    before["networks.main.norm.weight"] = run.weights["networks.main.norm.weight"].detach().clone()
    with pytest.raises(Stopped, match="gradient of step 0 is not finite"):
        run.advance(0.0)
    assert all(torch.equal(v.nan_to_num(7), before[k].nan_to_num(7)) for k, v in run.weights.items())


@pytest.mark.parametrize(
    "adapter", [Adapter("lora", 4), Adapter("boft", 4), Adapter("lora", 2, targets=("q", "v"))], ids=str
)
@pytest.mark.filterwarnings("ignore:Failed to load the CUDA", "ignore:Setting boft_n_butterfly_factor")
def test_adapters_train_alone_and_merge_into_the_model(adapter: Adapter, tmp_path: Path) -> None:
    start = go(tmp_path / "base", steps=2)
    base = redraft.load(start["model"]).backbone.state_dict()
    result = go(tmp_path / "run", init=start["model"], adapter=adapter, lr=0.05, sets=("optimiser.muon=False",))
    trained = saved(tmp_path / "run")
    assert trained and all(f".{adapter.kind}_" in name for name in trained)
    merged = redraft.load(result["model"]).backbone.state_dict()
    changed = {k for k in base if not torch.equal(base[k], merged[k])}
    assert changed and all(".attn." in k or ".mlp." in k for k in changed)
    assert not adapter.targets or all(k.split(".")[-2] in adapter.targets for k in changed)
    # PEFT itself, from the adapter's own folder, makes the same model of the base
    from peft import PeftConfig, inject_adapter_in_model, set_peft_model_state_dict
    from safetensors.torch import load_file

    config = PeftConfig.from_pretrained(str(tmp_path / "run" / "adapter"))
    config.inference_mode = False
    plain = redraft.load(start["model"]).backbone
    inject_adapter_in_model(config, plain)
    weights = load_file(tmp_path / "run" / "adapter" / "adapter_model.safetensors")
    found = set_peft_model_state_dict(plain, {k.removeprefix("base_model.model."): v for k, v in weights.items()})
    assert not found.unexpected_keys
    tokens, pos = torch.arange(5, 12), torch.arange(7)
    from redraft.models.backbone import dense

    two = redraft.load(result["model"]).backbone
    with torch.no_grad():
        hidden = plain(plain.embed(tokens), pos, dense(None, 1))
        torch.testing.assert_close(hidden, two(two.embed(tokens), pos, dense(None, 1)), rtol=1e-4, atol=1e-5)
    if adapter.kind == "lora":
        read = redraft.load(start["model"], adapter=tmp_path / "run" / "adapter").backbone.state_dict()
        for k, v in merged.items():
            torch.testing.assert_close(read[k], v, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"recipe": "redraft_tini"}, "did you mean redraft_tiny"),
        ({"steps": 0}, "--steps should be a whole number above 0"),
        ({"lr": -1.0}, "--lr should be a rate above 0"),
        ({"ema": 1.0}, "--ema should be the decay"),
        ({"seed": 2**63}, "--seed should be a whole number from 0 to 2^63 - 1"),
        ({"sets": ("steps=0",)}, "--steps should be a whole number above 0"),
        ({"sets": ("optimiser.lr=-1",)}, "--lr should be a rate above 0"),
        ({"sets": ("optimiser.clip=-1",)}, "optimiser.clip should be the largest norm"),
        ({"sets": ("rows.end=sometimes",)}, "rows.end should be one of first, all, none, rainbow, found 'sometimes'"),
        ({"sets": ("program.programs.0.1.times.low=2.0",)}, "should be times with 0 <= low <= high <= 1"),
        ({"sets": ("attention=causal",)}, "--set attention would only rename"),
        ({"sets": ("model.num_heads=5",)}, "should be a multiple of model.num_kv_heads"),
        ({"sets": ("steps=True",)}, "expects int, found 'True'"),
        ({"block": 100000}, "blocks of 100000 tokens do not fit into rows of 512"),
        ({"minutes": 0.0}, "--minutes should be a number of minutes above 0"),
        ({"save_minutes": float("nan")}, "--save-minutes should be a number of minutes above 0"),
        ({"save_steps": -1}, "--save-steps should be a whole number"),
        ({"device": "tpu"}, "--device should be auto, cpu or cuda"),
        ({"vocab": 20}, "--vocab should be at least 260"),
        ({"sets": ("program.layout.blok=3",)}, "there is no 'layout' here; there is programs"),
        ({"sets": ("optimiser.warmup=soon",)}, "expects int, found 'soon'"),
        ({"sets": ("optimiser",)}, "expects path=value"),
        ({"recipe": "redraft_tiny_ar", "block": 8}, "--block sets the block size"),
        ({"recipe": "nbdiff"}, "has no generated data of its own; give --data"),
        ({"data": ("nothing.txt",)}, "no data file nothing.txt"),
        ({"mask": "<m>"}, "--mask names the mask token of a checkpoint"),
        ({"vocab": 300}, "--vocab learns a tokenizer from --data"),
        ({"adapter": Adapter("boft", 5)}, "BOFT's blocks of 5 should divide"),
        ({"adapter": Adapter("lora", 4, targets=("nose",))}, "no matrix of the layers is called nose; there are: down"),
        ({"init": "no/such/folder/here"}, "no/such/folder/here"),
    ],
)
def test_what_does_not_fit_is_said_before_the_first_step(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(redraft.RedraftError) as error:
        go(tmp_path / "run", **changes)
    assert words in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_recipe_that_the_model_cannot_take_is_one_sentence(tmp_path: Path) -> None:
    start = go(tmp_path / "base", steps=1)
    with pytest.raises(BadInput, match=r"makes rows of 1024 tokens, and .* was made for 512"):
        go(tmp_path / "long", init=start["model"], sets=("rows.context=1024",))
    with pytest.raises(BadInput, match="tells the network its noise level"):
        go(tmp_path / "sigma", recipe="redraft_tiny_full", sets=("program.programs.0.1.conditioned=True",))


def test_a_folder_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("hello")
    with pytest.raises(BadInput, match="not a run of redraft"):
        go(tmp_path / "letters")
    assert (tmp_path / "letters" / "dear.txt").read_text() == "hello"
    go(tmp_path / "run", steps=1)
    with pytest.raises(BadInput, match="holds a run already"):
        go(tmp_path / "run", steps=1)
    with pytest.raises(BadInput, match="has seed 0, and this command has 1"):
        go(tmp_path / "run", steps=1, seed=1, resume=True)
    with pytest.raises(BadInput, match=r"has optimiser.lr \S+, and this command has 0.1;"):
        go(tmp_path / "run", steps=1, lr=0.1, resume=True)
    with pytest.raises(BadInput, match="has recipe redraft_tiny, and this command has redraft_tiny_full;"):
        go(tmp_path / "run", "redraft_tiny_full", steps=1, lr=0.1, resume=True)
    with pytest.raises(BadInput, match="has micro 3, and this command has 2;"):  # a mixture draws for each micro-batch
        go(tmp_path / "run", steps=1, micro=2, resume=True)
    assert go(tmp_path / "run", steps=30, resume=True)["step"] == 30  # steps may change, and with them the warm-up


def test_a_resumed_run_needs_the_same_data_and_any_micro_batch(tmp_path: Path) -> None:
    data = tmp_path / "data.txt"
    data.write_text("\n\n".join(f"the cat number {i} sat on the mat" for i in range(40)))
    more: dict[str, Any] = {"recipe": "llada", "data": (str(data),), "batch": 4, "sets": ("rows.context=64",)}
    go(tmp_path / "run", steps=1, micro=4, **more)
    assert go(tmp_path / "run", steps=2, micro=2, resume=True, **more)["step"] == 2
    data.write_text(data.read_text().replace("cat number 7", "dog number 7"))
    with pytest.raises(BadInput, match=r"data.txt is not what the run in .* was begun with"):
        go(tmp_path / "run", steps=3, resume=True, **more)


def test_a_card_has_the_whole_command(tmp_path: Path) -> None:
    go(tmp_path / "run", steps=1, lr=0.01)
    card = (tmp_path / "run" / "model" / "README.md").read_text()
    words = ("--out run", "--steps 1", "--batch 6", "--micro 3", "--lr 0.01", "--no-bf16", "--set model.hidden_size=16")
    assert all(word in card for word in words) and "--model run/model" in card


def test_a_tokenizer_is_learned_from_the_data(tmp_path: Path) -> None:
    data = tmp_path / "data.txt"
    data.write_text("\n\n".join(f"the cat number {i} sat on the mat and the cat slept" for i in range(60)))
    result = go(tmp_path / "run", data=(str(data),), vocab=270, sets=("rows.context=64",))
    model = redraft.load(result["model"])
    assert model.traits.vocab == 270 and model.decode(model.encode("the cat slept")) == "the cat slept"
    assert len(model.encode(" the cat")) < 4
    assert redraft.generate(model, "the cat", max_new_tokens=4, method="llada(steps=2)").forwards > 0
