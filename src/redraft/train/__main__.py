"""`python -m redraft.train redraft_tiny --out runs/tiny --resume`"""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

import torch
from tokenizers import Tokenizer

from ..models.backbone import Backbone
from .look import accuracy
from .tokenizer import MASK, special_id
from .trainer import train

QUICK = {"addition": 128, "reverse": 128, "sort": 128, "sudoku4": 128, "shuffle": 64}


def main() -> None:
    ask = argparse.ArgumentParser(prog="python -m redraft.train", description="Train a recipe.")
    ask.add_argument("recipe")
    ask.add_argument("--out", type=Path, required=True)
    ask.add_argument("--resume", action="store_true", help="continue the checkpoint in --out")
    ask.add_argument("--minutes", type=float, help="training time; the rate decays to zero at its end")
    ask.add_argument("--stories", type=Path, help="stories.jsonl.gz; without it the story task is left out")
    ask.add_argument(
        "--tokenizer", type=Path, default=Path(__file__).parent.parent / "assets/redraft-tiny/tokenizer.json"
    )
    ask.add_argument("--look", type=float, default=600.0, help="seconds of training between quick evaluations")
    ask.add_argument("--threads", type=int, default=1)
    given = ask.parse_args()
    torch.set_num_threads(given.threads)
    recipe = importlib.import_module(f"redraft.recipes.{given.recipe}").RECIPE
    tokenizer = Tokenizer.from_file(str(given.tokenizer))
    mask = special_id(tokenizer, MASK)

    def look(model: Backbone, step: int) -> dict[str, float]:
        return {n: round(accuracy(model, tokenizer, n, k, mask, recipe.block)[0], 4) for n, k in QUICK.items()}

    train(
        recipe,
        tokenizer,
        given.out,
        resume=given.resume,
        minutes=given.minutes,
        stories=given.stories,
        look_every=given.look,
        look=look,
        say=lambda text: print(text, flush=True),
    )


if __name__ == "__main__":
    main()
