"""The package as others get it: its names, its wheel in a clean environment, its documents, its text."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

import redraft

ROOT = Path(__file__).parents[1]

NAMES = {
    "BadInput",
    "CheckpointError",
    "Model",
    "RedraftError",
    "Report",
    "Result",
    "Stopped",
    "Traits",
    "Trajectory",
    "UnknownName",
    "Unreachable",
    "Unsupported",
    "__version__",
    "conform",
    "evaluate",
    "generate",
    "load",
    "methods_table",
    "models_table",
    "perplexity",
    "wrap",
}


def test_exported_names() -> None:
    assert set(redraft.__all__) == NAMES
    assert list(redraft.__all__) == sorted(redraft.__all__)
    for name in redraft.__all__:
        assert getattr(redraft, name) is not None
        assert name in dir(redraft)


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse((ROOT / "src/redraft/__init__.py").read_text(encoding="utf-8"))
    guard = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.asname for node in guard.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert seen | {"__version__"} == NAMES


def test_unknown_name() -> None:
    with pytest.raises(AttributeError, match="nothing_such"):
        _ = redraft.nothing_such


def test_import_does_not_wait_for_torch() -> None:
    code = "import redraft, redraft.cli.main, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_core_dependencies() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    core = {re.split(r"[<>=!~ ]", line)[0] for line in project["dependencies"]}
    assert core == {
        "torch",
        "transformers",
        "safetensors",
        "tokenizers",
        "huggingface_hub",
        "numpy",
        "typer",
        "rich",
        "pydantic",
    }
    lines = project["dependencies"] + [line for extra in project["optional-dependencies"].values() for line in extra]
    assert not [line for line in lines if re.search(r"==|<|~=", line)]


def test_imports_at_the_top_are_core_dependencies() -> None:
    allowed = {*sys.stdlib_module_names, "redraft", "torch", "transformers", "safetensors", "tokenizers"}
    allowed |= {"huggingface_hub", "numpy", "typer", "rich", "pydantic"}
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            outside = {name.partition(".")[0] for name in names} - allowed
            assert not outside, f"{path.relative_to(ROOT)} imports {outside}: extras are imported where they are used"


def test_constraints_are_exact_and_cover_what_is_asked_for() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").split("\n")
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9a-z.]*", pin) for pin in pins)
    assert "torch==2.13.0" in pins
    known = {pin.partition("==")[0].lower().replace("_", "-") for pin in pins}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = project["dependencies"] + [line for extra in project["optional-dependencies"].values() for line in extra]
    names = {re.split(r"[\[<>=!~ ]", line)[0].lower().replace("_", "-") for line in asked} - {"redraft"}
    assert names <= known


def _files() -> list[Path]:
    """Every text file of the project that git tracks or would track; without git, the source and its company."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode == 0:
        return [ROOT / name for name in listed.stdout.decode().split("\0") if name and (ROOT / name).is_file()]
    return [path for top in ("src", "tests", "docs") for path in (ROOT / top).rglob("*") if path.is_file()]


def test_no_path_of_a_machine_and_no_address_of_a_person() -> None:
    place = re.compile(rb"(?<![\w.])/(?:work|farm|root|home|Users)/")
    address = re.compile(rb"[\w.+-]+@[\w-]+\.[a-z]{2,}")
    for path in _files():
        data = path.read_bytes()
        if b"\0" in data[:4096] or path == Path(__file__):
            continue
        assert not place.search(data), f"{path.relative_to(ROOT)} names a folder of one machine"
        if path.suffix in {".toml", ".md", ".py"}:
            assert not address.search(data), f"{path.relative_to(ROOT)} holds an e-mail address"


def test_relative_links_of_the_documents_lead_somewhere() -> None:
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (path.parent / target).exists(), f"{path.name} links to {target}, which is not there"


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this tree without the network."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    return built


def test_wheel_holds_what_the_source_holds(wheel: Path) -> None:
    packed = set(zipfile.ZipFile(wheel).namelist())
    source = {
        str(path.relative_to(ROOT / "src"))
        for path in (ROOT / "src" / "redraft").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert source <= packed
    assert "redraft/py.typed" in packed
    assert any(name.startswith("redraft/assets/redraft-tiny/") and name.endswith(".safetensors") for name in packed)
    assert any(name.endswith("licenses/LICENSE") for name in packed)
    assert not [name for name in packed if not name.startswith(("redraft/", "redraft-"))]


WALK = """
import importlib, pkgutil, pathlib, sys
import redraft
assert pathlib.Path(redraft.__file__).is_relative_to(sys.prefix), redraft.__file__
for module in pkgutil.walk_packages(redraft.__path__, "redraft."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
for name in redraft.__all__:
    getattr(redraft, name)
print(len(redraft.__all__), "names")
"""


def test_wheel_in_a_clean_environment(wheel: Path, tmp_path: Path) -> None:
    """Installed without -e and without this tree on the path; only the dependencies are borrowed, by a .pth file."""
    home = tmp_path / "clean"
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python)]
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "--no-index", str(wheel)], check=True)
    (site,) = home.glob("lib/python*/site-packages")
    (borrowed,) = {path for path in sys.path if path.endswith("site-packages")}
    # A plain line adds the folder and does not read the .pth files in it, so this tree's editable install stays out.
    (site / "borrowed.pth").write_text(borrowed + "\n", encoding="utf-8")
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run([python, "-c", WALK], cwd=tmp_path, env=clean, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{len(NAMES)} names\n"
    said = subprocess.run(
        [home / "bin" / "redraft", "--version"], capture_output=True, text=True, check=True, env=clean
    )
    assert said.stdout == f"redraft {redraft.__version__}\n"


def test_the_models_in_the_box_have_a_control_each() -> None:
    """Three checkpoints of one shape: blocks, full attention, autoregressive; each decodes an addition right."""
    models = {name: redraft.load(name) for name in ("redraft-tiny", "redraft-tiny-full", "redraft-tiny-ar")}
    assert len({repr(model.backbone.config) for model in models.values()}) == 1
    assert [m.traits.attention for m in models.values()] == ["block", "full", "causal"]
    for model in models.values():
        assert redraft.generate(model, "314+271=", max_new_tokens=8).text.strip() == "585"
