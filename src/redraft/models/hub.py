"""From a name to a folder: a path, the model in the box, the local hub cache, or one attempt at the hub."""

from __future__ import annotations

import difflib
import os
import re
from functools import cache
from importlib import resources
from pathlib import Path

from ..core.errors import CheckpointError, Unreachable
from .files import INDEX, SINGLE, read_json

WANTED = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]
PATIENCE = 5.0  # seconds for the one question to the hub


@cache
def boxed() -> tuple[str, ...]:
    """The names of the models that come with redraft; redraft-tiny first."""
    assets = resources.files("redraft") / "assets"
    found = sorted(one.name for one in assets.iterdir() if (one / "config.json").is_file())
    return tuple(sorted(found, key=lambda name: (name != "redraft-tiny", name)))


def resolve(name: str | os.PathLike[str], revision: str | None = None) -> tuple[Path, str]:
    """(folder, name to show) of a path, a hub id or a model in the box.

    CheckpointError where there is no such thing, Unreachable where only the hub could tell and does not answer at once.
    """
    text = os.fspath(name)
    path = Path(text).expanduser()
    if path.is_dir():
        return path, path.resolve().name
    if path.exists():
        raise CheckpointError(
            f"{text} is a file, and a model is a folder with config.json and safetensors; give the folder."
        )
    if text == "redraft-tiny" or text in boxed():
        return _boxed(text), text
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", text) or text.startswith((".", "~")):
        near = difflib.get_close_matches(text, boxed(), n=1, cutoff=0.6)
        hint = f"did you mean {near[0]}?" if near else "give a folder, a hub id as owner/name, or redraft-tiny."
        raise CheckpointError(f"there is no folder {text!r}; {hint}")
    return _cached(text, revision) or _download(text, revision), text


def _boxed(name: str) -> Path:
    with resources.as_file(resources.files("redraft") / "assets" / name) as folder:
        if not (folder / "config.json").exists():
            raise CheckpointError(
                f"this installation of redraft lacks the packaged model {name!r}; install redraft again."
            )
        return folder


def _complete(folder: Path) -> bool:
    if not (folder / "config.json").exists():
        return False
    if (folder / INDEX).exists():
        listed = read_json(folder / INDEX).get("weight_map") or {}
        return all((folder / file).exists() for file in set(listed.values()))
    return (folder / SINGLE).exists()


def _cached(name: str, revision: str | None) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(name, revision=revision, local_files_only=True))
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError):
        return None
    return folder if _complete(folder) else None


def _download(name: str, revision: str | None) -> Path:
    from huggingface_hub import HfApi, constants, snapshot_download
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    if constants.HF_HUB_OFFLINE:
        raise Unreachable(
            f"{name} is not in the local cache and HF_HUB_OFFLINE forbids asking the hub; unset it, "
            "or give a local folder."
        )
    try:
        files = [one.rfilename for one in HfApi().model_info(name, revision=revision, timeout=PATIENCE).siblings or []]
        if not any(file.endswith(".safetensors") for file in files):
            raise CheckpointError(
                f"{name} has no safetensors on the hub, and redraft opens no pickles; choose a "
                "revision or a copy with safetensors."
            )
        return Path(snapshot_download(name, revision=revision, allow_patterns=WANTED, etag_timeout=PATIENCE))
    except CheckpointError:
        raise
    except GatedRepoError:
        raise CheckpointError(
            f"{name} is gated on the hub; accept its terms there and log in with `hf auth login`."
        ) from None
    except (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError):
        at = f" at revision {revision!r}" if revision else ""
        raise CheckpointError(
            f"the hub has no model {name!r}{at}, or it is private; check the name or log in."
        ) from None
    except Exception as error:  # every network library brings its own exceptions
        raise Unreachable(
            f"the hub did not answer for {name} ({type(error).__name__}), and it is not in the local cache; "
            "check the network, or give a local folder."
        ) from None
