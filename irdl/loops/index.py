"""Places in buffers: affine integers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Index:
    """An affine integer: `constant + sum(coefficient * variable)`, terms ordered by name, none zero."""

    constant: int = 0
    terms: tuple[tuple[str, int], ...] = ()

    @staticmethod
    def variable(name: str, coefficient: int = 1) -> Index:
        return Index(0, ((name, coefficient),) if coefficient else ())

    def __add__(self, other: Index | int) -> Index:
        if isinstance(other, int):
            return Index(self.constant + other, self.terms)
        terms = dict(self.terms)
        for name, coefficient in other.terms:
            terms[name] = terms.get(name, 0) + coefficient
        return Index(self.constant + other.constant, tuple(sorted((n, c) for n, c in terms.items() if c)))

    def __mul__(self, factor: int) -> Index:
        if factor == 0:
            return Index()
        return Index(self.constant * factor, tuple((n, c * factor) for n, c in self.terms))

    def coefficient(self, name: str) -> int:
        return dict(self.terms).get(name, 0)

    def variables(self) -> set[str]:
        return {name for name, _ in self.terms}

    def substitute(self, values: Mapping[str, Index | int]) -> Index:
        result = Index(self.constant)
        for name, coefficient in self.terms:
            value = values.get(name)
            if value is None:
                result = result + Index.variable(name, coefficient)
            else:
                result = result + value * coefficient
        return result

    def __str__(self) -> str:
        parts = [name if c == 1 else f"{c}*{name}" for name, c in self.terms]
        if self.constant or not parts:
            parts.append(str(self.constant))
        return " + ".join(parts)
