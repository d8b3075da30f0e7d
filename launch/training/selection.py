"""Which candidate a card reports: chosen on episodes that it does not report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vlasteer.steering import Feature
from vlasteer.studies import Effect

SUCCESS_LOSS = 0.05
FOREIGN = 0.01
ROUNDING = 1e-9


@dataclass(frozen=True)
class Tried:
    """A candidate on the seed of selection.

    Attributes:
        coefficient, layers: what was turned how far, and in how many layers.
        effect: in the concept's direction.
        sound: whether it keeps success and action tokens.
    """

    coefficient: float
    layers: int
    effect: float
    sound: bool


def best_of(tried: Sequence[Tried], wanted: float) -> int:
    """Which one to report: the smallest coefficient, and of these the fewest layers, that reaches the effect `wanted`
    and is sound; else the largest effect among those that are sound; else among all."""
    sound = [i for i, one in enumerate(tried) if one.sound]
    enough = [i for i in sound if tried[i].effect >= wanted]
    if enough:
        return min(enough, key=lambda i: (tried[i].coefficient, tried[i].layers))
    return max(sound or range(len(tried)), key=lambda i: tried[i].effect)


def is_sound(effect: Effect) -> bool:
    """Whether success and action tokens are kept."""
    return effect.foreign <= FOREIGN and effect.success >= effect.reference_success - SUCCESS_LOSS - ROUNDING


def layers_of(feature: Feature) -> list[int]:
    """Layers of its neurons, ascending."""
    return sorted({item.neuron.layer for item in feature.neurons})
