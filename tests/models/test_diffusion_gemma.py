"""DiffusionGemma against transformers' own generate on tiny random checkpoints: the same tokens in the same forwards.

transformers draws from torch's generator. Its calls are recorded (the generator's state before each), and our run
gets the same random numbers: fresh noise by `State.noise`, draws of tokens by the executor's `choose`, from our own
probabilities.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import DiffusionGemmaConfig, DiffusionGemmaForBlockDiffusion
from transformers.models.diffusion_gemma.generation_diffusion_gemma import EntropyBoundSamplerConfig

from redraft.core.errors import CheckpointError, Unsupported
from redraft.core.loop import Decoder, Step, decode
from redraft.core.traits import Traits
from redraft.core.types import EOS, LENGTH, Prompt, State
from redraft.engine.diffusion_gemma import DiffusionGemmaExecutor, inverse
from redraft.methods.diffusion_gemma import diffusion_gemma
from redraft.models.families.diffusion_gemma import FAMILY, DiffusionGemma

torch.set_num_threads(1)

VOCAB = 256
CALM = {"bound": 2.0, "t_max": 0.3, "t_min": 0.05, "confidence": 0.05, "steps": 24}


def checkpoint(canvas: int = 16, window: int = 12, seed: int = 3, **text: Any) -> DiffusionGemmaForBlockDiffusion:
    """Random weights, large enough for sharp predictions, damped so that canvases come to rest after some steps."""
    config = DiffusionGemmaConfig(
        text_config={
            "vocab_size": VOCAB, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3,
            "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "global_head_dim": 32, "num_global_key_value_heads": 1,
            "sliding_window": window, "layer_types": ["sliding_attention", "full_attention", "full_attention"],
            "num_experts": 4, "top_k_experts": 2, "moe_intermediate_size": 32, "max_position_embeddings": 512,
            "use_bidirectional_attention": "vision", **text,
        },
        vision_config={
            "model_type": "gemma4_vision", "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
            "num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 16, "patch_size": 4,
            "position_embedding_size": 16,
        },
        canvas_length=canvas, image_token_id=VOCAB - 1, boi_token_id=VOCAB - 2, eoi_token_id=VOCAB - 3,
    )  # fmt: skip
    torch.manual_seed(seed)
    model = DiffusionGemmaForBlockDiffusion(config).float().eval()
    damped = ("post_attention_layernorm", "post_feedforward_layernorm")
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.ndim >= 2:
                p.copy_(torch.randn(p.shape) * 0.2 * (0.1 if "self_conditioning.down" in name else 1.0))
            else:
                p.copy_((1 + 0.2 * torch.randn(p.shape)) * (0.5 if name.split(".")[-2] in damped else 1.0))
        for name, b in model.named_buffers():
            if name.endswith("layer_scalar"):  # its own value in encoder and decoder
                b.copy_(1 + 0.1 * torch.randn(1))
    return model


def traits_of(model: DiffusionGemmaForBlockDiffusion, eos: tuple[int, ...] = ()) -> Traits:
    """generate ends at generation_config's ids only, and these checkpoints have none unless a test says so."""
    return FAMILY.traits(model.config.to_dict(), {"eos_token_id": list(eos)})


def prompt(length: int, seed: int = 0) -> tuple[int, ...]:
    return tuple(
        torch.randint(3, 250, (length,), generator=torch.Generator().manual_seed(100 * length + seed)).tolist()
    )


@dataclass
class Record:
    """What transformers' generate did: canvases, draws and decoder inputs, by canvas and step."""

    sequences: Tensor = field(default_factory=lambda: torch.empty(0))
    decoder_passes: Tensor = field(default_factory=lambda: torch.empty(0))
    encoder_passes: int = 0
    blank: list[Tensor] = field(default_factory=list)
    fresh: list[list[Tensor]] = field(default_factory=list)
    races: list[list[Tensor]] = field(default_factory=list)
    inputs: list[list[tuple[Tensor, Tensor]]] = field(default_factory=list)


def generate(
    model: DiffusionGemmaForBlockDiffusion, ids: Tensor, seed: int, monkeypatch: pytest.MonkeyPatch, **settings: Any
) -> Record:
    """transformers' run, recorded. settings: as the method's, and max_new_tokens, attention_mask, eos_token_id,
    pad_token_id."""
    record, randint, multinomial = Record(), torch.randint, torch.multinomial
    names = {"steps": "max_denoising_steps", "stability": "stability_threshold", "confidence": "confidence_threshold"}
    options = {names.get(k, k): v for k, v in settings.items() if k != "bound"}
    if "bound" in settings:
        options["sampler_config"] = EntropyBoundSamplerConfig(entropy_bound=settings["bound"])
    expect_blank = False

    def encoded(*_: Any) -> None:
        nonlocal expect_blank
        expect_blank = True
        record.encoder_passes += 1
        for kept in (record.fresh, record.races, record.inputs):
            kept.append([])  # type: ignore[attr-defined]

    def drawn(*args: Any, **kwargs: Any) -> Tensor:
        nonlocal expect_blank
        out = randint(*args, **kwargs)
        record.blank.append(out.clone()) if expect_blank else record.fresh[-1].append(out.clone())
        expect_blank = False
        return out

    def raced(probs: Tensor, num_samples: int) -> Tensor:
        before = torch.get_rng_state()
        out = multinomial(probs, num_samples=num_samples)
        after = torch.get_rng_state()
        torch.set_rng_state(before)
        race = torch.empty_like(probs).exponential_(1)
        assert torch.equal((probs / race).argmax(-1, keepdim=True), out), (
            "torch.multinomial is no exponential race here"
        )
        torch.set_rng_state(after)
        record.races[-1].append(race.view(len(ids), -1, probs.shape[-1]))
        return out

    def conditioned(_: Any, args: tuple[Tensor, Tensor], __: Any) -> None:
        record.inputs[-1].append((args[0].clone(), args[1].clone()))

    hooks = [
        model.model.encoder.register_forward_hook(encoded),
        model.model.decoder.self_conditioning.register_forward_hook(conditioned),
    ]
    with monkeypatch.context() as patch:
        patch.setattr(torch, "randint", drawn)
        patch.setattr(torch, "multinomial", raced)
        torch.manual_seed(seed)
        out = model.generate(ids, **options)
    for hook in hooks:
        hook.remove()
    record.sequences = out.sequences
    new = out.sequences[:, ids.shape[1] :]
    pad = settings.get("pad_token_id")
    told = (new != pad).sum(1) if pad is not None else torch.full((len(ids),), new.shape[1])
    record.decoder_passes = (told / out.tokens_per_forward).round().long()
    return record


class Replay:
    """The recorded random numbers as a noise source: a row's seed is its row in the record; `places` says where each
    row is."""

    def __init__(self, record: Record, canvas: int) -> None:
        self.record, self.canvas = record, canvas
        self.starts: dict[int, int] = {}
        self.at: dict[int, tuple[int, int]] = {}

    def follow(self, s: State, first: bool = False) -> None:
        """Canvas and step of every row that goes on."""
        for i, row in enumerate(s.seed.tolist()):
            unknown = s.unknown[i].nonzero()
            if len(unknown):
                number = (int(unknown[0]) - self.starts.setdefault(row, int(s.start[i]))) // self.canvas
                old = self.at.get(row, (number, -1))
                self.at[row] = (number, old[1] + 1 if old[0] == number and not first else 0)

    def uniform(self, seed: Tensor, step: Tensor, columns: Tensor, draw: int) -> Tensor:
        out = torch.full((len(seed), columns.shape[1]), 0.5, dtype=torch.float64)
        for i, row in enumerate(seed.tolist()):
            number, k = self.at[row]
            start = self.starts[row] + number * self.canvas
            place = slice(start, start + self.canvas)
            if draw == 0:  # names the line of the race; choose reads it
                out[i, place] = ((number * 64 + k) * 16 + row) * self.canvas + torch.arange(
                    self.canvas, dtype=torch.float64
                )
            else:
                out[i, place] = (self.record.fresh[number][k][row].double() + 0.5) / VOCAB
        return out

    def choose(self, probs: Tensor, uniform: Tensor) -> Tensor:
        lines = []
        for code in uniform.long().tolist():
            code, column = divmod(code, self.canvas)
            code, row = divmod(code, 16)
            number, k = divmod(code, 64)
            lines.append(self.record.races[number][k][row, column])
        return (probs / torch.stack(lines)).argmax(-1)

    def start(self, s: State) -> State:
        """The state with this noise, and with the recorded blank canvases."""
        tokens = s.tokens.clone()
        for i, row in enumerate(s.seed.tolist()):
            for number, blank in enumerate(self.record.blank):
                at = int(s.start[i]) + number * self.canvas
                tokens[i, at : at + self.canvas] = blank[row]
        s = replace(s, tokens=torch.where(s.unknown, tokens, s.tokens), noise=self)
        self.follow(s, first=True)
        return s


def replay(
    model: DiffusionGemmaForBlockDiffusion, record: Record, prompts: list[Prompt], traits: Traits, **settings: Any
) -> tuple[State, DiffusionGemmaExecutor]:
    """Our run with the recorded numbers; every forward's decoder input is held against transformers'."""
    noise = Replay(record, traits.block)
    wrapped = DiffusionGemma(model)
    executor = DiffusionGemmaExecutor(wrapped, choose=noise.choose)
    decoder = Decoder(diffusion_gemma(**settings), traits)
    inputs: list[tuple[Tensor, Tensor]] = []
    hook = model.model.decoder.self_conditioning.register_forward_hook(
        lambda _, args, __: inputs.append((args[0].clone(), args[1].clone()))
    )

    def check(step: Step) -> None:
        rows = step.before.seed.tolist()
        ours = [one.view(len(rows), traits.block, -1) for one in inputs.pop()]
        order = executor.last[2] if executor.last else []
        for i, row in enumerate(torch.cat([g.rows for g in order]).tolist()):
            number, k = noise.at[rows[row]]
            theirs = [one[rows[row]] for one in record.inputs[number][k]]
            assert torch.equal(ours[0][i], theirs[0]), f"canvas {number}, forward {k}: other tokens on the canvas"
            torch.testing.assert_close(ours[1][i], theirs[1], rtol=1e-3, atol=1e-3)
        noise.follow(step.after)

    s = decode(decoder, executor, noise.start(decoder.start(prompts)), check)
    hook.remove()
    return s, executor


@pytest.mark.parametrize(
    ("settings", "shape"),
    [
        ({}, {"canvas": 8, "window": 8}),
        ({"steps": 5}, {}),
        (CALM, {}),
        (CALM | {"stability": 0, "confidence": 0.3}, {}),
        (CALM | {"stability": 2, "bound": 6.0}, {"window": 5}),
        (CALM | {"steps": 1}, {}),
    ],
    ids=["defaults", "steps run out", "early stop", "no stability", "two stable", "one step"],
)
def test_tokens_and_forwards_are_those_of_transformers(
    settings: dict[str, Any], shape: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = checkpoint(**shape)
    for seed, length in enumerate((9, 1, 30) if settings else (9,)):
        ids = prompt(length)
        record = generate(model, torch.tensor([ids]), seed, monkeypatch, max_new_tokens=40, **settings)
        s, executor = replay(model, record, [Prompt(ids, 40)], traits_of(model), **settings)
        assert s.tokens.tolist() == record.sequences.tolist()
        assert int(s.nfe) == executor.passes == int(record.decoder_passes)
        assert record.encoder_passes == len(record.blank) == -(-40 // model.config.canvas_length)
        assert s.finish.tolist() == [LENGTH]


def test_early_stop_is_early_and_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings above do exercise the stop: canvases of different numbers of forwards, fewer than the most."""
    model = checkpoint()
    record = generate(model, torch.tensor([prompt(9)]), 0, monkeypatch, max_new_tokens=64, **CALM)
    counts = [len(one) for one in record.fresh]
    assert len(set(counts)) > 1 and max(counts) < CALM["steps"]


def test_end_of_sequence(monkeypatch: pytest.MonkeyPatch) -> None:
    model, ids = checkpoint(), prompt(9)
    free = generate(model, torch.tensor([ids]), 0, monkeypatch, max_new_tokens=64, **CALM)
    end = int(free.sequences[0, 9 + 16 + 5])  # stands in the second canvas
    assert end not in free.sequences[0, : 9 + 16 + 5]
    record = generate(
        model, torch.tensor([ids]), 0, monkeypatch, max_new_tokens=64, eos_token_id=end, pad_token_id=0, **CALM
    )
    s, _ = replay(model, record, [Prompt(ids, 64)], traits_of(model, (end,)), **CALM)
    assert s.finish.tolist() == [EOS]
    assert int(s.nfe) == sum(len(one) for one in record.fresh)
    upto = 9 + 16 + 6
    assert s.tokens[0, :upto].tolist() == record.sequences[0, :upto].tolist()
    assert record.sequences.shape[1] == 9 + 32 and not s.known[0, 9 + 32 :].any()


def test_a_batch_of_different_lengths(monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers pads on the left and waits for the slowest row; ours go on alone, with the same tokens and
    forwards."""
    model, lengths = checkpoint(), (9, 20, 9, 3)
    rows = [prompt(n, i) for i, n in enumerate(lengths)]
    ids = torch.tensor([(0,) * (20 - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (20 - n) + [1] * n for n in lengths])
    record = generate(model, ids, 1, monkeypatch, max_new_tokens=48, attention_mask=mask, **CALM)
    prompts = [Prompt(row, 48, seed=i) for i, row in enumerate(rows)]
    s, executor = replay(model, record, prompts, traits_of(model), **CALM)
    for i, n in enumerate(lengths):
        assert s.tokens[i, : n + 48].tolist() == record.sequences[i, 20 - n :].tolist()
    assert s.nfe.tolist() == record.decoder_passes.tolist()
    assert executor.passes == max(s.nfe.tolist()) < sum(len(one) for one in record.fresh)


def decoded(
    model: DiffusionGemmaForBlockDiffusion, prompts: list[Prompt], tile: int = 1 << 22, **settings: Any
) -> State:
    decoder = Decoder(diffusion_gemma(**settings), traits_of(model))
    return decode(decoder, DiffusionGemmaExecutor(DiffusionGemma(model), tile), decoder.start(prompts))


def test_a_row_alone_is_the_row_in_a_batch_in_any_order() -> None:
    model = checkpoint()
    prompts = [Prompt(prompt(n, i), 40, seed=i) for i, n in enumerate((9, 20, 9, 3))]
    whole, turned = decoded(model, prompts, **CALM), decoded(model, prompts[::-1], **CALM)
    for i, p in enumerate(prompts):
        alone = decoded(model, [p], **CALM)
        width = alone.tokens.shape[1]
        for batch, row in ((whole, i), (turned, -1 - i)):
            assert batch.tokens[row, :width].tolist() == alone.tokens[0].tolist()
            assert int(batch.nfe[row]) == int(alone.nfe)
    assert len({tuple(row) for row in whole.tokens[:, -16:].tolist()}) == 4


def test_tiles_change_nothing_and_bound_the_logits() -> None:
    class Largest(TorchDispatchMode):
        rows = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            for one in out if isinstance(out, tuple | list) else (out,):
                # 64 rows of that width are the transposed embedding table
                if isinstance(one, Tensor) and one.dim() >= 2 and one.shape[-1] == VOCAB and one.shape[-2] != 64:
                    self.rows = max(self.rows, one.numel() // VOCAB)
            return out

    model, prompts = checkpoint(), [Prompt(prompt(9, i), 32, seed=i) for i in range(3)]
    whole = decoded(model, prompts, **CALM)
    with Largest() as largest:
        tiled = decoded(model, prompts, tile=5 * VOCAB, **CALM)
    assert tiled.tokens.tolist() == whole.tokens.tolist() and tiled.nfe.tolist() == whole.nfe.tolist()
    assert largest.rows == 5


def test_pins_and_suffix_stay() -> None:
    model = checkpoint()
    prompts = [
        Prompt(prompt(9), 24, suffix=(7, 8, 9), pins=((2, (11, 12)), (17, (13,))), seed=1),
        Prompt(prompt(9), 24, pins=((0, (5,)),), seed=1),
    ]
    s = decoded(model, prompts, **CALM)
    assert s.tokens[0, 11:13].tolist() == [11, 12] and int(s.tokens[0, 26]) == 13
    assert s.tokens[0, 33:36].tolist() == [7, 8, 9] and int(s.tokens[1, 9]) == 5
    assert (s.known | ~s.valid).all() and s.stored[0, 33] > 0


def test_needs_are_said_before_the_first_forward() -> None:
    from redraft.methods.text import parse

    model = checkpoint()
    with pytest.raises(Unsupported, match="uniform"):
        Decoder(diffusion_gemma(), Traits(mask=5, eos=(1,), vocab=VOCAB)).start([Prompt((3,), 4)])
    with pytest.raises(Unsupported, match="mask"):
        Decoder(parse("llada"), traits_of(model)).start([Prompt((3,), 4)])


def test_draws_follow_the_distribution_and_never_leave_its_support() -> None:
    generator = torch.Generator().manual_seed(0)
    for vocab in (5, 256, 257, 3000):
        probs = (torch.randn(64, vocab, generator=generator) * 3).softmax(-1)
        probs[:, ::3] = 0
        uniform = torch.rand(64, dtype=torch.float64, generator=generator)
        exact = probs.double().cumsum(-1)
        assert inverse(probs, uniform).tolist() == (exact < uniform[:, None] * exact[:, -1:]).sum(-1).tolist()
        for edge in (1e-17, 1 - 1e-16):
            ids = inverse(probs, torch.full_like(uniform, edge))
            assert (probs.gather(1, ids[:, None]) > 0).all()


def test_through_the_front_door() -> None:
    """Wrapped in memory: the answer has the length asked for, filters reach the draw, a fixed temperature is refused."""
    import redraft
    from redraft.api import wrap
    from redraft.core.errors import BadInput

    model = wrap(checkpoint())
    plain = redraft.generate(model, [5, 6, 7, 8], method="diffusion_gemma(steps=6)", max_new_tokens=20)
    assert len(plain.tokens) == 20 or plain.finish == "eos"
    assert plain.forwards == 12 and redraft.generate(model, [5, 6], max_new_tokens=1).method == "diffusion_gemma"
    narrow = redraft.generate(model, [5, 6, 7, 8], method="diffusion_gemma(steps=6)", max_new_tokens=20, top_k=1)
    assert narrow.tokens != plain.tokens
    with pytest.raises(BadInput, match="temperature"):
        redraft.generate(model, [5, 6, 7, 8], method="diffusion_gemma", max_new_tokens=20, temperature=0.5)


def test_save_and_load_round_trip(tmp_path: Path) -> None:
    model = checkpoint()
    FAMILY.save(FAMILY.wrap(model), tmp_path)  # type: ignore[misc]
    raw = json.loads((tmp_path / "config.json").read_text())
    loaded = FAMILY.load(tmp_path, raw, torch.float32, torch.device("cpu"))  # type: ignore[misc]
    assert (tmp_path / "model.safetensors").exists()
    one, two = decoded(model, [Prompt(prompt(9), 16)], **CALM), decoded(loaded.model, [Prompt(prompt(9), 16)], **CALM)  # type: ignore[arg-type]
    assert one.tokens.tolist() == two.tokens.tolist()
    traits = FAMILY.traits(raw, {})
    assert (traits.mask, traits.noise, traits.attention, traits.block) == (None, "uniform", "encoder_decoder", 16)


def test_weights_that_lack_something_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    model = checkpoint()
    FAMILY.save(FAMILY.wrap(model), tmp_path)  # type: ignore[misc]
    weights = load_file(tmp_path / "model.safetensors")
    weights.pop(next(name for name in weights if name.endswith("self_conditioning.gate_proj.weight")))
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="1 missing"):
        FAMILY.load(tmp_path, model.config.to_dict(), torch.float32, torch.device("cpu"))  # type: ignore[misc]
    (tmp_path / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="safetensors"):
        FAMILY.load(tmp_path, model.config.to_dict(), torch.float32, torch.device("cpu"))  # type: ignore[misc]


def test_configs_with_other_mathematics_are_refused() -> None:
    raw = checkpoint().config.to_dict()
    for changed in (raw | {"tie_word_embeddings": False}, raw | {"text_config": None}):
        with pytest.raises(CheckpointError):
            FAMILY.traits(changed, {})
    with pytest.raises(CheckpointError, match="use_bidirectional_attention"):
        FAMILY.traits(raw | {"text_config": raw["text_config"] | {"use_bidirectional_attention": "all"}}, {})


def test_the_published_size_builds_without_memory() -> None:
    """google/diffusiongemma-26B-A4B-it, from its published config."""
    kinds = (["sliding_attention"] * 5 + ["full_attention"]) * 5
    config = DiffusionGemmaConfig(
        text_config={
            "vocab_size": 262144, "hidden_size": 2816, "intermediate_size": 2112, "num_hidden_layers": 30,
            "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 256, "global_head_dim": 512,
            "num_global_key_value_heads": 2, "sliding_window": 1024, "layer_types": kinds, "num_experts": 128,
            "top_k_experts": 8, "moe_intermediate_size": 704, "max_position_embeddings": 262144,
            "use_bidirectional_attention": "vision",
        },
        vision_config={"model_type": "gemma4_vision"},
        eos_token_id=[1, 106],
    )  # fmt: skip
    with torch.device("meta"):
        model = DiffusionGemma(DiffusionGemmaForBlockDiffusion(config))
    text = sum(p.numel() for name, p in model.named_parameters() if "vision" not in name)
    assert 24e9 < text < 27e9
    assert model.block == 256 and model.windows.count(None) == 5 and set(model.windows) == {None, 1024}
    traits = FAMILY.traits(config.to_dict(), {})
    assert traits.eos == (1, 106) and traits.vocab == 262144
