"""`redraft train RECIPE --preview N` shows the rows of training: the same noise, the same targets."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import torch
from rich.console import Console

from redraft.cli import output
from redraft.cli.preview import marked, painted, preview, rows_of, stripe, style
from redraft.core.errors import BadInput
from redraft.core.traits import Traits
from redraft.noise.absorbing import Absorbing
from redraft.noise.uniform import Uniform as UniformNoise
from redraft.objectives import AtLeastOne, Constant, Full, Mixture, Objective, Summed, TwoStream
from redraft.recipes.recipe import known_recipes
from redraft.train.data import PIECE, Document, Special, canvas
from redraft.train.data.shown import shown
from redraft.train.options import Options
from tests.train.small import BLOCK, MASK, backbone

SPECIAL, TRAITS = Special(1, 0, MASK), Traits(mask=MASK, eos=(1,), vocab=20)
ONE = Document(4, [3, 4, 5, 6, 1], [False, False, True, True, True], origin="a.jsonl, line 9")
TWO = Document(7 + PIECE, [8, 9, 10], [True, True, False], [False, False, True], "story")
BATCH = [[ONE, TWO], [Document(5, [11, 12], [False, True])]]


def letters(ids: object) -> str:
    return "".join(chr(ord("a") + i) for i in ids)  # type: ignore[attr-defined]


def show(program: object, block: int = 0, traits: Traits = TRAITS) -> list[dict[str, object]]:
    return list(shown(BATCH, program, SPECIAL, traits, 3, block, letters))  # type: ignore[arg-type]


def lines(program: object, block: int = 0, traits: Traits = TRAITS) -> list[str]:
    return "\n".join(marked({"step": 1, **one}) for one in show(program, block, traits)).splitlines()


def test_all_masked_by_hand() -> None:
    assert lines(Objective(Absorbing(), Constant(1.0), AtLeastOne())) == [
        "",
        "step 1, row 1: 8 of 8 columns, 5 learned",
        "  document 4, a.jsonl, line 9: 5 tokens, 3 learned",
        "      0 t 1.00 de[fgb]",
        "  document 7, piece 2, story: 3 tokens, 2 learned",
        "      0 t 1.00 [ij]k",
        "",
        "step 1, row 2: 2 of 8 columns, 1 learned",
        "  document 5: 2 tokens, 1 learned",
        "      0 t 1.00 l[m]",
    ]


def test_nothing_masked_and_everything_learned_by_blocks() -> None:
    made = lines(Objective(Absorbing(), Constant(0.0), supervise="answer"), block=2)
    assert made[3:6] == ["      0 t 0.00 de", "      2 t 0.00 <fg>", "      4 t 0.00 <b>"]
    kept = lines(Objective(Absorbing(), Constant(0.0)), block=2)
    assert kept[3:6] == ["      0 t 0.00 de", "      2 t 0.00 ~fg~", "      4 t 0.00 ~b~"]


def test_other_tokens_are_told_from_masks() -> None:
    traits = Traits(mask=None, eos=(1,), vocab=20, noise="uniform")
    (one, _) = show(Objective(UniformNoise(), Constant(1.0), supervise="changed"), traits=traits)
    runs = one["documents"][0]["blocks"][0]["runs"]  # type: ignore[index]
    changed = [run for run in runs if run["kind"] == "changed"]
    assert changed and all(run["learned"] for run in changed)
    assert all(a != b for run in changed for a, b in zip(run["tokens"], run["shown"], strict=True))
    assert not any(run["kind"] == "masked" for run in runs)


@pytest.mark.parametrize("layout", [Full(), Full(BLOCK), TwoStream(BLOCK)], ids=repr)
def test_what_is_shown_is_what_is_trained(layout: Full | TwoStream) -> None:
    program = Objective(Absorbing(), masking=AtLeastOne(), layout=layout)
    loss = program.loss(backbone(), canvas(BATCH, SPECIAL), 3, TRAITS)
    assert loss.each is not None
    for row, one in enumerate(show(program)):
        flags = [f for d in one["documents"] for b in d["blocks"] for run in b["runs"] for f in [run["learned"]] * len(run["tokens"])]  # type: ignore[attr-defined]  # fmt: skip
        assert flags == (~loss.each[row, : len(flags)].isnan()).tolist() and any(flags)
        assert one["learned"] == sum(flags) == one["readings"]["loss"]  # type: ignore[index]


def test_programs_of_several_forwards_show_each() -> None:
    plain = Objective(Absorbing(), Constant(1.0))
    assert [one["forward"] for one in show(Summed(((1.0, plain), (1.0, plain))))] == ["0", "0", "1", "1"]
    assert {one["forward"] for one in show(Mixture(((0.5, plain), (0.5, plain))))} <= {"0", "1"}

    class Later:
        def prepare(self, *_: object) -> str:
            return "noise is drawn in the forward"

    made = lines(Later())
    assert made[3] == "      0 de<fgb>" and made[1].endswith("5 learned")


def test_colours_and_stripes() -> None:
    one = {"step": 1, **show(Objective(Absorbing(), Constant(1.0)))[1]}
    assert stripe(one, 8) == ["known", "masked"] + ["padding"] * 6
    runs = one["documents"][0]["blocks"][0]["runs"]  # type: ignore[index]
    assert [style(run) for run in runs] == ["dim", "bold green"]
    assert style({"kind": "masked", "learned": False}) == "bold green strike"
    assert style({"kind": "kept", "learned": True}) == "underline"
    sink = io.StringIO()
    Console(file=sink, force_terminal=True, color_system="standard", width=80).print(painted(one))
    assert "\x1b[1;32mm" in sink.getvalue() and "document 5: 2 tokens" in sink.getvalue()


def options(tmp_path: Path, recipe: str = "redraft_tiny", **more: object) -> Options:
    data = tmp_path / "a.jsonl"
    data.write_text("".join(json.dumps({"prompt": f"{i}+1=", "response": f"{i + 1} \x1b[2J"}) + "\n" for i in range(9)))
    return Options(recipe, tmp_path / "run", data=(str(data),), batch=4, micro=2, **more)  # type: ignore[arg-type]


def test_the_verb_prints_json_marks_and_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    preview(options(tmp_path), 5, json=True)
    found = json.loads(capsys.readouterr().out)
    assert len(found) == 5 and found == list(rows_of(options(tmp_path), 5))
    assert [one["step"] for one in found] == [1, 1, 1, 1, 2]
    assert {d["number"] for one in found[:4] for d in one["documents"]} == {0, 1, 2, 3}
    png = tmp_path / "rows.png"
    preview(options(tmp_path), 2, png=png if has_matplotlib() else None)
    said = capsys.readouterr().out
    assert said.startswith("known text as it is") and said.count("step 1") == 2
    if has_matplotlib():
        assert png.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert not (tmp_path / "run").exists()  # a look leaves nothing behind
    with pytest.raises(BadInput, match="--preview"):
        preview(options(tmp_path), 0)


def has_matplotlib() -> bool:
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return False
    return True


def test_a_terminal_gets_colours_and_no_escape_of_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = io.StringIO()
    monkeypatch.setattr(output, "stdout", lambda: Console(file=sink, force_terminal=True, color_system="standard"))
    preview(options(tmp_path), 1)
    assert "\x1b[2m" in sink.getvalue() and "\x1b[2J" not in sink.getvalue()


@pytest.mark.parametrize("recipe", sorted(known_recipes()))
def test_every_recipe_can_be_looked_at(tmp_path: Path, recipe: str, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    found = list(rows_of(options(tmp_path, recipe), 2))
    assert len(found) == 2 and sum(one["learned"] for one in found) > 0
    assert all(marked(one) for one in found)
