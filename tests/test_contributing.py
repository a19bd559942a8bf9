"""CONTRIBUTING.md, taken literally: each walk-through works in a fresh copy, and fails where a part of it is forgotten."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@dataclass
class Edit:
    """`text` goes into a file: below or above the first line that starts with `anchor`, indented or not."""

    file: str
    where: str
    anchor: str
    text: str

    def apply(self, folder: Path) -> None:
        path = folder / self.file
        if self.where == "new":
            path.write_text(self.text)
            return
        lines = path.read_text().split("\n")
        (place, *_) = [number for number, line in enumerate(lines) if line.strip().startswith(self.anchor)]
        lines.insert(place + (self.where == "below"), self.text.rstrip("\n"))
        path.write_text("\n".join(lines))


def walkthroughs() -> dict[str, tuple[list[Edit], str]]:
    """By their titles: the edits, and what to run."""
    found = {}
    for part in (ROOT / "CONTRIBUTING.md").read_text().split("\n## ")[1:]:
        title, _, text = part.partition("\n")
        blocks = re.findall(r"<!-- (.+?) -->\n```\w+\n(.*?)```", text, re.S)
        edits, command = [], ""
        for what, body in blocks:
            if what == "run":
                command = body.strip()
                continue
            file, _, place = what.partition(", ")
            where, _, anchor = place.partition(": ")
            edits.append(Edit(file, where, anchor, body))
        if command:
            found[title] = (edits, command)
    return found


def passes(edits: list[Edit], command: str, folder: Path) -> tuple[bool, str]:
    shutil.copytree(ROOT / "irdl", folder / "irdl")  # with what Python has compiled of it: it takes anew what an edit has changed
    for part in ("tests", "examples"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    for edit in edits:
        edit.apply(folder)
    command = command.replace("pytest", f"{sys.executable} -m pytest -p no:cacheprovider -x")
    result = subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True, timeout=600, check=False)
    return result.returncode == 0, result.stdout[-3000:] + result.stderr[-500:]


WALKTHROUGHS = walkthroughs()


def test_there_are_walkthroughs() -> None:
    assert [len(edits) for edits, _ in WALKTHROUGHS.values()] == [3, 4, 5]


@pytest.mark.parametrize("title", WALKTHROUGHS)
def test_walkthrough(title: str, tmp_path: Path) -> None:
    edits, command = WALKTHROUGHS[title]
    good, output = passes(edits, command, tmp_path)
    assert good, output


@pytest.mark.slow
@pytest.mark.parametrize(("title", "left_out"), [(title, n) for title, (edits, _) in WALKTHROUGHS.items() for n in range(len(edits))])
def test_a_forgotten_part_is_noticed(title: str, left_out: int, tmp_path: Path) -> None:
    edits, command = WALKTHROUGHS[title]
    good, output = passes([edit for number, edit in enumerate(edits) if number != left_out], command, tmp_path)
    assert not good, output
