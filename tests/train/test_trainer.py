"""The training loop: a resumed run is the same run, the loss falls, checkpoints are whole."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

import redraft
from redraft.models.backbone import BackboneConfig
from redraft.models.load import load
from redraft.recipes.recipe import Optimiser, Recipe, Stage
from redraft.recipes.redraft_tiny import RECIPE
from redraft.train.data import Source, buckets, canvas, read_stories
from redraft.train.export import export, shares
from redraft.train.trainer import train

ASSET = Path(redraft.__file__).parent / "assets" / "redraft-tiny"
SMALL = replace(
    RECIPE,
    model=BackboneConfig(768, 16, 32, 1, 2, 2, 8, qk_norm=True, tie_embeddings=True),
    stages=(Stage(0, 8, RECIPE.stages[0].mix), Stage(3, 6, RECIPE.stages[-1].mix)),
    steps=4,
    bf16=False,
    optimiser=Optimiser(warmup=1),
)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(ASSET / "tokenizer.json"))


def quiet(_: str) -> None:
    pass


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "state.safetensors")


@pytest.mark.parametrize("recipe", [SMALL, replace(SMALL, bf16=True), replace(SMALL, optimiser=Optimiser(muon=False))])
def test_a_resumed_run_is_the_same_run(recipe: Recipe, tokenizer: Tokenizer, tmp_path: Path) -> None:
    train(recipe, tokenizer, tmp_path / "whole", say=quiet)
    # stop after two of four steps: the rate's decay must still be that of four
    part = train(recipe, tokenizer, tmp_path / "part", say=quiet, stop_after=2)
    assert part.step == 2
    train(recipe, tokenizer, tmp_path / "part", resume=True, say=quiet)
    one, two = weights(tmp_path / "whole"), weights(tmp_path / "part")
    assert one.keys() == two.keys()
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert not list(tmp_path.rglob("*.part"))
    steps = [json.loads(line)["step"] for line in (tmp_path / "part" / "log.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3, 4]


def test_the_loss_falls(tokenizer: Tokenizer, tmp_path: Path) -> None:
    recipe = replace(
        SMALL, steps=60, stages=(Stage(0, 16, (("addition", 1.0),)),), optimiser=Optimiser(lr=0.02, warmup=4)
    )
    train(recipe, tokenizer, tmp_path, say=quiet)
    losses = [json.loads(line)["loss"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert sum(losses[-5:]) < 0.6 * sum(losses[:5])


def test_samples_are_functions_of_their_number_and_cover_infilling(tokenizer: Tokenizer) -> None:
    stories = ["A cat sat. It was red. It ran away! Then it slept."] * 3
    mix = dict(RECIPE.stages[0].mix)
    one = Source(tokenizer, RECIPE.block, 0, stories)
    two = Source(tokenizer, RECIPE.block, 0, stories)
    samples = [one.sample(n, mix) for n in range(300)]
    assert samples == [two.sample(n, mix) for n in range(300)]
    assert {s.task for s in samples} == set(mix)
    assert any(s.suffix for s in samples)
    groups = buckets(samples)
    assert sorted(i for g in groups for i in g) == list(range(300))
    for group in groups:
        batch = canvas([samples[i] for i in group], group, 0)
        assert batch.valid.sum(1).tolist() == [samples[i].width for i in group]
        assert batch.answer.sum(1).tolist() == [len(samples[i].answer) for i in group]
        assert not bool((batch.answer & batch.suffix).any())


def test_a_run_exports_to_a_folder_that_loads(tokenizer: Tokenizer, tmp_path: Path) -> None:
    run = train(replace(SMALL, steps=1), tokenizer, tmp_path / "run", say=quiet)
    scores = {"addition": {"accuracy": 0.5, "limit": 10, "tokens_per_forward": 2.0}}
    export(SMALL, tmp_path / "run", tmp_path / "model", tokenizer, scores)
    model = load(tmp_path / "model")
    found = model.backbone.state_dict()
    assert all(torch.equal(found[k], v) for k, v in run.model.state_dict().items())
    assert "50.0 %" in (tmp_path / "model" / "README.md").read_text()


def test_stories_are_read_whole_or_the_shortest_that_begin_like_one(tmp_path: Path) -> None:
    texts = ["Once upon a time, a dog ran far away.", "and so it went.", "One day, a cat sat.", "There was a boy. He"]
    path = tmp_path / "stories.jsonl.gz"
    with gzip.open(path, "wt") as file:
        file.writelines(json.dumps({"text": text}) + "\n" for text in texts)
    assert read_stories(path) == texts
    assert read_stories(path, 1) == [texts[2]]
    assert read_stories(path, 9) == [texts[2], texts[0]]


def test_stages_number_samples_through() -> None:
    drawn = [SMALL.samples(step) for step in range(6)]
    assert drawn == [0, 8, 16, 24, 30, 36]
    assert [SMALL.stage(step).batch for step in range(5)] == [8, 8, 8, 6, 6]
    assert sum(shares(SMALL, 5).values()) == pytest.approx(1.0)
