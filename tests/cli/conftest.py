"""A stand-in for `redraft.api`, so that the verbs are tested apart from what they call."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

import redraft
from redraft.cli.main import main


class Model:
    """Decodes id i to the i-th small letter."""

    name = "fake"
    tokenizer: Any = SimpleNamespace(template="a template")

    def decode(self, tokens: list[int]) -> str:
        return "".join(chr(97 + token % 26) for token in tokens)

    def encode_chat(self, messages: list[dict[str, str]]) -> list[int]:
        return [len(message["content"]) for message in messages]


class Result(SimpleNamespace):
    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))


def events(tokens: list[int], start: int) -> list[SimpleNamespace]:
    """One event per forward: each commits one column after `start`."""
    known = torch.arange(len(tokens))[None] < start
    out = []
    for forward, column in enumerate(range(start, len(tokens)), 1):
        changed = torch.zeros_like(known)
        changed[0, column] = True
        known = known | changed
        out.append(
            SimpleNamespace(
                forward=forward,
                rows=(0,),
                tokens=torch.tensor([tokens]),
                known=known,
                prompt_length=torch.tensor([start]),
                changed=changed,
            )
        )
    return out


class Api(ModuleType):
    """Records the calls; `fail` is raised by every verb."""

    def __init__(self) -> None:
        super().__init__("redraft.api")
        self.calls: dict[str, dict[str, Any]] = {}
        self.fail: BaseException | None = None
        self.model = Model()
        self.report = SimpleNamespace(passed=3, found=3, families={"llada": (2, 2), "dream": (1, 1)}, failures=[])

    def _called(self, name: str, **given: Any) -> None:
        self.calls[name] = given
        if self.fail:
            raise self.fail

    def load(self, path_or_id: str, **given: Any) -> Model:
        self._called("load", path_or_id=path_or_id, **given)
        return self.model

    def generate(self, model: Model, prompt: Any, on_step: Callable[[Any], None] | None = None, **given: Any) -> Result:
        self._called("generate", prompt=prompt, **given)
        for event in events([0, 1, 2, 3], 2):
            if on_step:
                on_step(event)
        return Result(
            text="cd",
            tokens=[2, 3],
            prompt_tokens=2,
            finish="length",
            forwards=2,
            tokens_per_forward=1.0,
            seconds=0.5,
            method="fake()",
        )

    def evaluate(self, task: str, **given: Any) -> dict[str, Any]:
        given.pop("on_progress")(1, 2)
        self._called("evaluate", task=task, **given)
        return {"task": task, "seed": given["seed"], "limit": given["limit"], "accuracy": 0.5}

    def conform(self, dirs: Any, on_case: Callable[..., None] | None = None) -> Any:
        self._called("conform", dirs=dirs)
        if on_case:
            on_case("llada/one", None)
        return self.report

    def methods_table(self) -> list[dict[str, Any]]:
        return [
            {
                "name": "llada",
                "paper": "2502.09992",
                "slots": {"cache": "none"},
                "needs": ["mask"],
                "provenance": "code",
                "verified": {"by": "kit", "cases": 3, "passed": 3},
            }
        ]

    def models_table(self) -> list[dict[str, Any]]:
        return [{"name": "dream", "attention": "full"}]


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Api:
    fake = Api()
    monkeypatch.setitem(sys.modules, "redraft.api", fake)
    monkeypatch.setattr(redraft, "api", fake, raising=False)
    return fake


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """run(*arguments) -> (exit code, standard output, standard error)."""

    def go(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main(list(arguments))
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out, err

    return go
