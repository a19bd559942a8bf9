"""Places in buffers: affine integers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, init=False)
class Index:
    """An affine integer: `constant + sum(coefficient * variable)`, terms ordered by name, none zero."""

    constant: int
    terms: tuple[tuple[str, int], ...]

    def __init__(self, constant: int = 0, terms: tuple[tuple[str, int], ...] = ()) -> None:
        # Of all classes the most are made of this: past the slow way that a frozen class has for its fields.
        self.__dict__.update(constant=constant, terms=terms)

    @staticmethod
    def variable(name: str, coefficient: int = 1) -> Index:
        return Index(0, ((name, coefficient),) if coefficient else ())

    def __add__(self, other: Index | int) -> Index:
        if isinstance(other, int):
            return Index(self.constant + other, self.terms)
        if not (self.terms and other.terms):
            return Index(self.constant + other.constant, self.terms or other.terms)
        terms = dict(self.terms)
        for name, coefficient in other.terms:
            terms[name] = terms.get(name, 0) + coefficient
        return Index(self.constant + other.constant, _in_order(terms))

    def __mul__(self, factor: int) -> Index:
        if factor == 0:
            return Index()
        return Index(self.constant * factor, tuple((n, c * factor) for n, c in self.terms))

    def coefficient(self, name: str) -> int:
        return dict(self.terms).get(name, 0)

    def variables(self) -> set[str]:
        return {name for name, _ in self.terms}

    def substitute(self, values: Mapping[str, Index | int]) -> Index:
        constant, terms, changed = self.constant, dict[str, int](), False
        for name, coefficient in self.terms:
            value = values.get(name)
            changed = changed or value is not None
            if value is None:
                terms[name] = terms.get(name, 0) + coefficient
            elif isinstance(value, int):
                constant += value * coefficient
            else:
                constant += value.constant * coefficient
                for inner, factor in value.terms:
                    terms[inner] = terms.get(inner, 0) + factor * coefficient
        return Index(constant, _in_order(terms)) if changed else self

    def __str__(self) -> str:
        parts = [name if c == 1 else f"{c}*{name}" for name, c in self.terms]
        if self.constant or not parts:
            parts.append(str(self.constant))
        return " + ".join(parts)


def _in_order(terms: dict[str, int]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted([term for term in terms.items() if term[1]]))


#: The most places between a step of a loop and the next for what takes them all to be read and written at once.
MOST_BETWEEN = 4


def part_of_run(buffer: Any, index: Index, variable: str, accesses: Collection[tuple[Any, Index]]) -> int | None:
    """Which of the few places from one step of a loop to the next an access takes, where others take all the rest, as of the parts of
    complex numbers; else None. An access is a buffer and an index."""
    step = index.coefficient(variable)
    if not 2 <= step <= MOST_BETWEEN:
        return None
    runs = (part for part in range(step) if all((buffer, index + (other - part)) in accesses for other in range(step)))
    return next(runs, None)
