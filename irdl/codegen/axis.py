"""One axis of a group: an output axis or a reduced one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Axis:
    """A loop variable and how far it runs; merging neighbouring axes changes `extent`."""

    variable: str
    extent: int
