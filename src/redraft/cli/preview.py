"""`redraft train RECIPE --preview N`: real rows as the recipe noises them, before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.text import Text

from redraft.cli import output
from redraft.core.errors import BadInput

STYLE = {
    "known": "dim",
    "suffix": "dim underline",
    "kept": "",
    "answer": "",
    "masked": "bold green",
    "changed": "bold magenta",
}
MARKS = {"masked": ("[", "]"), "changed": ("{", "}")}
LEGEND = (
    "known text as it is, answer text ~as the noise left it~, [masked and learned], {changed and learned}, "
    "<learned where it stands>, a ! in front: not learned; t is the noise level"
)


def preview(options: Any, num: int, json: bool = False, png: Path | None = None) -> None:
    """Show `num` rows of a run's first steps on standard output: coloured on a terminal, with marks elsewhere, or as
    one JSON value; `png` draws them too. `options` is what `redraft train` takes."""
    if num < 1:
        raise BadInput(f"--preview takes a number of rows above 0, found {num}.")
    found = list(rows_of(options, num))
    if png is not None:
        draw(found, png)
    if json:
        output.put_json(found)
        return
    console = output.stdout()
    if console.is_terminal:
        console.print(legend())
        for one in found:
            console.print(painted(one))
        return
    output.put_text("\n".join([LEGEND, *(marked(one) for one in found)]))


def rows_of(options: Any, num: int) -> Iterator[dict[str, Any]]:
    """The first rows of a run, as `train.data.shown` has them, with their step."""
    from redraft.recipes import curriculum
    from redraft.train import run
    from redraft.train.data import Few, micro_batches, rows
    from redraft.train.data.shown import shown
    from redraft.train.options import configure
    from redraft.train.start import special_of

    recipe = configure(options)
    if not options.data and recipe.tasks is None:
        raise BadInput(f"recipe {recipe.name} has no generated data of its own; give --data.")
    model = run.begin(recipe, options, output.note)
    special = special_of(model, recipe)
    source = run.open_data(recipe, options, model, special)
    if "token_counts" in recipe.needs:
        recipe = run.count(recipe, source, model)
    block = recipe.block if recipe.block > 1 else 0
    program = curriculum.at(recipe.program, recipe.curriculum, 0.0)
    tokenizer = model.tokenizer
    assert tokenizer is not None

    def decode(ids: Any) -> str:
        return str(tokenizer.backend.decode(list(ids), skip_special_tokens=False))

    step = given = 0
    say = Few(output.note)
    while given < num:
        documents = source.read(*recipe.documents(step))
        batch = rows(documents, recipe.rows, special, say)
        for micro in micro_batches(batch, recipe.micro) if batch else ():
            for one in shown(micro, program, special, model.traits, recipe.seed, block, decode):
                if given < num:
                    given += 1
                    yield {"step": step + 1, **one}
        step += 1


def heading(one: dict[str, Any]) -> str:
    """A row in one line."""
    forward = f", forward {one['forward']}" if one["forward"] else ""
    others = "".join(f", {name} {count}" for name, count in one["readings"].items() if name != "loss")
    return (
        f"step {one['step']}{forward}, row {one['row'] + 1}: {one['width'] - one['padding']} of {one['width']} columns, "
        f"{one['learned']} learned{others}"
    )


def title(document: dict[str, Any]) -> str:
    """A document in one line."""
    piece = f", piece {document['piece'] + 1}" if document["piece"] else ""
    where = "".join(f", {document[key]}" for key in ("task", "origin") if document[key])
    return f"  document {document['number']}{piece}{where}: {document['tokens']} tokens, {document['learned']} learned"


def clock(block: dict[str, Any]) -> str:
    """Where a block begins and how noisy it is."""
    if block["time"] is None:
        return f"  {block['start']:>5} "
    low, high = block["time"]
    return f"  {block['start']:>5} t {low:.2f}{f' to {high:.2f}' if high != low else ''} "


def marked(one: dict[str, Any]) -> str:
    """A row with marks."""
    lines = ["", heading(one)]
    for document in one["documents"]:
        lines.append(title(document))
        lines += [clock(block) + "".join(map(mark, block["runs"])) for block in document["blocks"]]
    return "\n".join(lines)


def mark(run: dict[str, Any]) -> str:
    """A run's text between its marks."""
    text = run["text"].replace("\n", "⏎")
    kind, learned = run["kind"], run["learned"]
    if kind in MARKS:
        left, right = MARKS[kind]
        return f"{'' if learned else '!'}{left}{text}{right}"
    if learned:
        return f"<{text}>"
    return f"~{text}~" if kind in ("kept", "answer") else text


def style(run: dict[str, Any]) -> str:
    """A run's colour."""
    base, noised = STYLE[run["kind"]], run["kind"] in MARKS
    more = " strike" if noised and not run["learned"] else " underline" if run["learned"] and not noised else ""
    return (base + more).strip()


def legend() -> Text:
    text = Text()
    for i, kind in enumerate(("known", "kept", "masked", "changed")):
        text.append((", " if i else "") + ("left by the noise" if kind == "kept" else kind), STYLE[kind])
    return text.append("; struck out: not learned; underlined: learned where it stands; t: noise level", "dim")


def painted(one: dict[str, Any]) -> Text:
    """A row in colours."""
    text = Text("\n" + heading(one) + "\n", "bold")
    for document in one["documents"]:
        text.append(output.printable(title(document)) + "\n", "italic")
        for block in document["blocks"]:
            text.append(clock(block), "dim cyan")
            for run in block["runs"]:
                text.append(output.printable(run["text"].replace("\n", "⏎")), style(run))
            text.append("\n")
    return text


def draw(found: list[dict[str, Any]], path: Path) -> None:
    """The rows as stripes of coloured columns in a PNG."""
    try:
        from matplotlib.colors import ListedColormap
        from matplotlib.figure import Figure
        from matplotlib.patches import Patch
    except ImportError:
        raise BadInput("drawing the rows needs matplotlib; install it by pip install 'redraft[bench]'.") from None
    colours = {
        "padding": "white",
        "known": "#c8c8c8",
        "kept": "#9ecae9",
        "learned where it stands": "#4c78a8",
        "masked": "#54a24b",
        "changed": "#b279a2",
        "noised, not learned": "#f2cf5b",
    }
    names = list(colours)
    width = max(one["width"] for one in found)
    grid = [[names.index(name) for name in stripe(one, width)] for one in found]
    figure = Figure(figsize=(10, 0.8 + 0.22 * len(found)), layout="constrained")
    axis = figure.subplots()
    axis.imshow(
        grid,
        aspect="auto",
        interpolation="nearest",
        cmap=ListedColormap(list(colours.values())),
        vmin=0,
        vmax=len(names) - 1,
    )
    axis.locator_params(axis="x", integer=True)
    axis.set_xlabel("column")
    axis.set_ylabel("row")
    axis.set_yticks(range(len(found)), [str(i + 1) for i in range(len(found))], fontsize=6)
    patches = [Patch(facecolor=colours[name], edgecolor="grey", label=name) for name in names]
    figure.legend(handles=patches, loc="outside lower center", ncols=len(names), fontsize=6)
    figure.savefig(path, dpi=110, format="png")


def stripe(one: dict[str, Any], width: int) -> list[str]:
    """What each column of a row is, by name."""
    out: list[str] = []
    for document in one["documents"]:
        for block in document["blocks"]:
            for run in block["runs"]:
                noised = run["kind"] in MARKS
                plain = "known" if run["kind"] in ("known", "suffix") else "kept"
                learned = run["kind"] if noised else "learned where it stands"
                out += [learned if run["learned"] else "noised, not learned" if noised else plain] * len(run["tokens"])
    return out + ["padding"] * (width - len(out))
