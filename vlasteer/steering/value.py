"""A steering: features x operators x coefficients x scopes, as an immutable value with arithmetic.

s = Steering.of(pack["fast"], 8) + Steering.of(pack["up"], 4, scope="decode")
s / 2        every coefficient halved
s - s        the terms stay, their coefficients are 0
Steering()   steers nothing
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from vlasteer.errors import SteeringError, UnknownNameError
from vlasteer.steering.features import Feature, Operator

if TYPE_CHECKING:
    from vlasteer.steering.packs import FeaturePack


@dataclass(frozen=True)
class Quantile:
    """A quantile of each neuron's natural activation, times `factor`; written `q0.99` or `-q0.99`."""

    probability: float
    factor: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise SteeringError(f"quantile q{self.probability}", expected="a probability from 0 to 1")

    def __mul__(self, other: float) -> Quantile:
        return replace(self, factor=self.factor * other)

    def __str__(self) -> str:
        sign = "" if self.factor == 1 else "-" if self.factor == -1 else f"{self.factor:g}*"
        return f"{sign}q{self.probability:g}"


Coefficient = float | Quantile


def parse_coefficient(text: str | float) -> Coefficient:
    """`8`, `-2.5`, `q0.99` or `-q0.99`.

    Raises:
        SteeringError: not a finite number and not a quantile.
    """
    raw = str(text).strip()
    body, factor = (raw[1:], -1.0) if raw.startswith("-q") else (raw, 1.0)
    try:
        if body.startswith("q"):
            return Quantile(float(body[1:]), factor)
        value = float(raw)
    except ValueError:
        raise SteeringError(
            f"coefficient '{raw}'", expected="a number such as 8, or a quantile such as q0.99"
        ) from None
    return check_coefficient(value)


def check_coefficient(value: float) -> float:
    """`value` as a float.

    Raises:
        SteeringError: NaN or infinite.
    """
    if not math.isfinite(value):
        raise SteeringError(f"coefficient {value}", expected="a finite number")
    return float(value)


@dataclass(frozen=True)
class Term:
    """One feature turned by one coefficient.

    Attributes:
        feature: what is turned.
        coefficient: how far; None is off (nothing is written, unlike 0 with `set`).
        operator: what the coefficient does.
        scope: where it acts.
    """

    feature: Feature
    coefficient: Coefficient | None
    operator: Operator
    scope: str

    def __post_init__(self) -> None:
        if isinstance(self.coefficient, int | float):
            check_coefficient(self.coefficient)

    @property
    def name(self) -> str:
        """The knob's name: the feature's."""
        return self.feature.name

    def targets(self, kind: str = "") -> tuple[float, ...]:
        """Per neuron, the number that a coefficient of 1 stands for: its weight at positions of that kind (default:
        its own), or its natural quantile.

        Raises:
            SteeringError: the coefficient is a quantile and a neuron was not calibrated.
        """
        if not isinstance(self.coefficient, Quantile):
            return self.feature.weights(kind)
        return tuple(_quantile_of(self.feature, i, self.coefficient.probability) for i in range(len(self.feature)))

    @property
    def factor(self) -> float | None:
        """The number that `targets` are multiplied by; None is off."""
        if isinstance(self.coefficient, Quantile):
            return self.coefficient.factor
        return self.coefficient


def _quantile_of(feature: Feature, index: int, probability: float) -> float:
    item = feature.neurons[index]
    if not item.quantiles:
        raise SteeringError(
            f"feature '{feature.name}' has no natural activations for neuron {item.neuron}",
            expected="a calibrated feature for a coefficient such as q0.99",
            fix="Run: vlasteer find ... --calibrate RUN, or give a plain number",
        )
    points = sorted(item.quantiles.items())
    for (p0, v0), (p1, v1) in pairwise(points):
        if p0 <= probability <= p1:
            return v0 + (v1 - v0) * (probability - p0) / (p1 - p0)
    return points[0][1] if probability < points[0][0] else points[-1][1]


class Steering:
    """An immutable sum of terms. Later terms act on what earlier ones left, so a later `set` of a neuron wins."""

    __slots__ = ("terms",)

    terms: tuple[Term, ...]

    def __init__(self, terms: Sequence[Term] = ()) -> None:
        merged: list[Term] = []
        for term in terms:
            for i, other in enumerate(merged):
                if (other.feature, other.operator, other.scope) == (term.feature, term.operator, term.scope):
                    merged[i] = replace(other, coefficient=_sum(other.coefficient, term.coefficient))
                    break
                if other.name == term.name:
                    raise SteeringError(
                        f"two different terms are named '{term.name}'",
                        expected="one knob per name",
                        fix="Rename one: feature.renamed('...')",
                    )
            else:
                merged.append(term)
        object.__setattr__(self, "terms", tuple(merged))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a Steering is immutable; arithmetic makes new ones")

    @classmethod
    def of(
        cls,
        feature: Feature,
        coefficient: Coefficient | None,
        *,
        operator: Operator | str | None = None,
        scope: str | None = None,
    ) -> Steering:
        """One feature; operator and scope default to the feature's own."""
        chosen = feature.operator if operator is None else Operator.parse(str(operator))
        return cls((Term(feature, coefficient, chosen, scope or feature.scope),))

    @classmethod
    def parse(
        cls, expressions: Sequence[str], pack: FeaturePack, *, operator: str | None = None, scope: str | None = None
    ) -> Steering:
        """From `["fast=8", "up=q0.99"]`, features looked up in `pack`.

        Raises:
            SteeringError: an expression is not of the form name=coefficient.
            UnknownNameError: the pack has no such feature.
        """
        result = cls()
        for expression in expressions:
            name, equals, text = expression.partition("=")
            if not equals:
                raise SteeringError(f"steering '{expression}'", expected="feature=coefficient, e.g. fast=8")
            result = result + cls.of(pack[name.strip()], parse_coefficient(text), operator=operator, scope=scope)
        return result

    # -- arithmetic ----------------------------------------------------------------------------------------------------
    def __add__(self, other: Steering) -> Steering:
        return Steering((*self.terms, *other.terms))

    def __mul__(self, factor: float) -> Steering:
        check_coefficient(factor)
        return Steering(
            [replace(t, coefficient=None if t.coefficient is None else t.coefficient * factor) for t in self.terms]
        )

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> Steering:
        return self * (1 / divisor)

    def __neg__(self) -> Steering:
        return self * -1.0

    def __sub__(self, other: Steering) -> Steering:
        return self + (-other)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Steering) and self.terms == other.terms

    def __hash__(self) -> int:
        return hash(tuple(t.name for t in self.terms))

    def __iter__(self) -> Iterator[Term]:
        return iter(self.terms)

    def __len__(self) -> int:
        return len(self.terms)

    def __repr__(self) -> str:
        return f"Steering({', '.join(f'{t.name}={t.coefficient}[{t.operator.value}, {t.scope}]' for t in self.terms)})"

    # -- knobs ---------------------------------------------------------------------------------------------------------
    @property
    def names(self) -> tuple[str, ...]:
        """Knob names in order of the terms."""
        return tuple(t.name for t in self.terms)

    def term(self, name: str) -> Term:
        """The term of a knob.

        Raises:
            UnknownNameError: there is none.
        """
        for term in self.terms:
            if term.name == name:
                return term
        raise UnknownNameError.among("knob", name, self.names)

    def off(self) -> Steering:
        """The same knobs, all off."""
        return Steering([replace(t, coefficient=None) for t in self.terms])


def _sum(a: Coefficient | None, b: Coefficient | None) -> Coefficient | None:
    if a is None or b is None:
        return b if a is None else a
    if isinstance(a, Quantile) and isinstance(b, Quantile) and a.probability == b.probability:
        return Quantile(a.probability, a.factor + b.factor)
    if isinstance(a, Quantile) or isinstance(b, Quantile):
        raise SteeringError(
            f"coefficients {a} and {b} of one feature cannot be added", expected="two numbers or the same quantile"
        )
    return a + b
