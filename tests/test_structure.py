"""How the code is laid out: imports go one way, and each folder says what its files are for."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "irdl"
#: what the files of a folder may import, beside those of the folder and those at the root
BELOW: dict[str, set[str]] = {
    "ir": set(),
    "ops": {"ir"},
    "loops": {"ir", "ops"},
    "tracing": {"ir", "ops"},
    "transforms": {"ir", "ops", "tracing"},
    "passes": {"ir", "ops", "loops", "tracing", "transforms"},
    "codegen.lowering": {"ir", "ops", "loops", "passes"},
    "codegen.shared": {"ir", "loops"},
    "codegen.cpu": {"ir", "ops", "loops", "tracing", "passes", "codegen.lowering", "codegen.shared"},
    "codegen.cuda": {"ir", "ops", "loops", "passes", "codegen.lowering", "codegen.shared"},
    "runtime": {"ir", "ops", "loops", "tracing", "transforms", "passes", "codegen"},
    "exporting": {"ir", "ops", "loops", "tracing", "transforms", "passes", "codegen", "runtime"},
}


def imported(tree: ast.AST) -> Iterator[str]:
    """The modules of irdl's that a file imports, but for types."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.ImportFrom):
            yield from [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            yield from [alias.name for alias in node.names]
        else:
            yield from imported(node)


def is_within(module: str, folders: set[str]) -> bool:
    return any(f"{module}.".startswith(f"irdl.{folder}.") for folder in folders)


@pytest.mark.parametrize("folder", BELOW)
def test_imports_go_one_way(folder: str) -> None:
    place = ROOT / folder.replace(".", "/")
    files = sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
    others = {name.split(".")[0] for name in BELOW}
    for file in files:
        for module in imported(ast.parse(file.read_text())):
            if is_within(module, others):
                assert is_within(module, BELOW[folder] | {folder}), f"{file.relative_to(ROOT)} imports {module}"


FOLDERS = [file.parent for file in sorted(ROOT.rglob("__init__.py")) if len(list(file.parent.glob("*.py"))) > 3]


@pytest.mark.parametrize(
    "folder",
    [folder for folder in FOLDERS if folder.name not in ("irdl", "nn", "data", "exporting", "factorization")],
    ids=lambda folder: str(folder.relative_to(ROOT)),
)
def test_a_folder_says_what_its_files_are_for(folder: Path) -> None:
    text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
    words = set(re.findall(r"\w+", text))
    missing = {file.stem for file in folder.glob("*.py")} - {"__init__"} - words
    assert not missing, f"irdl/{folder.relative_to(ROOT)}/__init__.py does not say what {', '.join(sorted(missing))} is for"
