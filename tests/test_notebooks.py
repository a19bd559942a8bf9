"""The notebooks: stored clean, and each runs in a kernel to its end. What they claim they assert themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "examples" / "notebooks").glob("*.ipynb"))

#: what a notebook has to print, and how many pictures it draws
SHOWN: dict[str, tuple[list[str], int]] = {
    "first_look": (
        ["= scan(", "times as fast", "from a difference", "back in time:", "simplest guess", "vector of", "use np.where"],
        2,
    ),
    "your_own_cell": (
        ["= scan(", "agree with finite differences", "== the one by hand", "times as fast", "== each sequence alone", "are right"],
        2,
    ),
}


def test_all_are_known() -> None:
    assert [path.stem for path in NOTEBOOKS] == sorted(SHOWN)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_stored_without_outputs(path: Path) -> None:
    """No outputs and no counts, cells named by words, and nothing of the editor that wrote it."""
    text = path.read_text()
    book = json.loads(text)
    assert (book["nbformat"], book["nbformat_minor"]) == (4, 5)
    assert set(book["metadata"]) == {"kernelspec", "language_info"}
    names = [cell["id"] for cell in book["cells"]]
    assert len(set(names)) == len(names)
    assert all(name.replace("-", "").isalpha() and name.islower() for name in names)
    for cell in book["cells"]:
        assert cell["metadata"] == {}
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None
    assert text == json.dumps(book, indent=1, ensure_ascii=False) + "\n"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this Python, whatever kernels and settings the user's folders hold."""
    for package in ("nbformat", "nbclient", "ipykernel", "matplotlib"):
        pytest.importorskip(package, reason=f'{package} is not installed: pip install -e ".[notebooks]"')
    import nbformat
    from nbclient import NotebookClient

    for variable in ("JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR", "MPLCONFIGDIR"):
        folder = tmp_path / variable.lower()
        folder.mkdir(mode=0o700)
        monkeypatch.setenv(variable, str(folder))
    monkeypatch.delenv("MPLBACKEND", raising=False)
    monkeypatch.delenv("JUPYTER_PATH", raising=False)

    book: Any = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    NotebookClient(book, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}).execute()

    outputs = [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]
    printed = "".join(output.text for output in outputs if output.output_type == "stream" and output.name == "stdout")
    parts, pictures = SHOWN[path.stem]
    assert [part for part in parts if part not in printed] == []
    assert sum("image/png" in output.get("data", {}) for output in outputs) == pictures
    complaints = "".join(output.text for output in outputs if output.output_type == "stream" and output.name == "stderr")
    assert complaints == "" or "Matplotlib is building the font cache" in complaints
