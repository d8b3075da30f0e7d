"""A feature: a named, weighted set of neurons, with the evidence for its name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from vlasteer.anatomy import Neuron
from vlasteer.errors import SteeringError, UnknownNameError


class Operator(StrEnum):
    """What a coefficient `c` does to the activation `f` of a neuron with weight `w`. All are affine in `f`."""

    SET = "set"
    """f := c * w. The paper's intervention; c = 0 silences the neuron, which is not the same as off."""
    ADD = "add"
    """f := f + c * w."""
    SCALE = "scale"
    """f := f * (1 + (c - 1) * w); with w = 1 simply c * f."""
    ABLATE = "ablate"
    """f := 0, whatever c is."""

    @classmethod
    def parse(cls, name: str) -> Operator:
        """The operator of that name.

        Raises:
            UnknownNameError: there is none.
        """
        try:
            return cls(name)
        except ValueError:
            raise UnknownNameError.among("operator", name, [o.value for o in cls]) from None


@dataclass(frozen=True)
class WeightedNeuron:
    """A neuron of a feature.

    Attributes:
        neuron: which one.
        weight: its share; 1 for the paper's clusters.
        quantiles: natural activation at ascending probabilities, probability -> value, or empty when not calibrated.
    """

    neuron: Neuron
    weight: float = 1.0
    quantiles: Mapping[float, float] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if not math.isfinite(self.weight):
            raise SteeringError(f"weight {self.weight} of neuron {self.neuron}", expected="a finite number")


@dataclass(frozen=True)
class Feature:
    """A concept as neurons.

    Attributes:
        name: what people call it, e.g. "fast".
        neurons: which ones, each once.
        operator: what a coefficient does unless a steering says otherwise.
        scope: where it acts unless a steering says otherwise (see `vlasteer.steering.scopes`).
        evidence: why these neurons: method, options, words, tokens, scores. JSON types.
        weights_at: kind of position (`PassContext.kind_names`) -> weight of every neuron there, in their order, in
            place of its own; kinds that are absent keep the neurons' own weights.
    """

    name: str
    neurons: tuple[WeightedNeuron, ...]
    operator: Operator = Operator.SET
    scope: str = "all"
    evidence: Mapping[str, Any] = field(default_factory=dict, compare=False)
    weights_at: Mapping[str, tuple[float, ...]] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if not self.name or "=" in self.name or "," in self.name:
            raise SteeringError(f"feature name '{self.name}'", expected="a non-empty name without '=' and ','")
        if not self.neurons:
            raise SteeringError(f"feature '{self.name}' has no neurons", expected="at least one")
        seen: set[Neuron] = set()
        for item in self.neurons:
            if item.neuron in seen:
                raise SteeringError(
                    f"feature '{self.name}' lists neuron {item.neuron} twice", expected="each neuron once"
                )
            seen.add(item.neuron)
        for kind, weights in self.weights_at.items():
            if len(weights) != len(self.neurons) or not all(map(math.isfinite, weights)):
                raise SteeringError(
                    f"feature '{self.name}' has {len(weights)} weights at positions '{kind}'",
                    expected=f"{len(self.neurons)} finite numbers, one for each neuron",
                )

    @classmethod
    def of(cls, name: str, neurons: list[Neuron] | tuple[Neuron, ...], **changes: Any) -> Feature:
        """A feature of equally weighted neurons; `changes` are further fields."""
        return cls(name, tuple(WeightedNeuron(n) for n in neurons), **changes)

    def renamed(self, name: str) -> Feature:
        """The same feature under another name."""
        return replace(self, name=name)

    def weights(self, kind: str) -> tuple[float, ...]:
        """The neurons' weights at positions of that kind."""
        return self.weights_at[kind] if kind in self.weights_at else tuple(item.weight for item in self.neurons)

    def __len__(self) -> int:
        return len(self.neurons)
