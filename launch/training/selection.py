"""Which candidate a card reports: chosen on episodes that it does not report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vlasteer.steering import Feature
from vlasteer.studies import Effect

SUFFICIENT = 0.75
"""Share of the adverb's effect that a choice aims at: half of it is asked of what is reported, and more than is needed
costs success."""

SUCCESS_LOSS = 0.05
FOREIGN = 0.01
ROUNDING = 1e-9


@dataclass(frozen=True)
class Tried:
    """A candidate on the seed of selection.

    Attributes:
        coefficient, layers: what was turned how far, and in how many layers.
        effect: in the concept's direction.
        loss: of success, 0 where none was lost.
        sound: whether it keeps success and action tokens.
    """

    coefficient: float
    layers: int
    effect: float
    loss: float
    sound: bool

    @classmethod
    def of(cls, coefficient: float, feature: Feature, effect: Effect, sign: int) -> Tried:
        """What that feature did with that coefficient."""
        foreign_kept = effect.foreign <= FOREIGN
        loss = max(0.0, effect.reference_success - effect.success)
        sound = foreign_kept and loss <= SUCCESS_LOSS + ROUNDING
        return cls(coefficient, len(layers_of(feature)), sign * effect.difference, loss, sound)


def best_of(tried: Sequence[Tried], wanted: float) -> int:
    """Which one to report: of those that reach the effect `wanted` and are sound the one that loses least success, then
    the smallest coefficient, then the fewest layers; else the largest effect among those that are sound; else among
    all."""
    sound = [i for i, one in enumerate(tried) if one.sound]
    enough = [i for i in sound if tried[i].effect >= wanted]
    if enough:
        return min(enough, key=lambda i: (tried[i].loss, tried[i].coefficient, tried[i].layers))
    return max(sound or range(len(tried)), key=lambda i: tried[i].effect)


def is_settled(tried: Sequence[Tried], wanted: float) -> bool:
    """Whether no larger coefficient than those tried can be the best: one reaches the effect and loses nothing."""
    return any(one.sound and one.loss == 0 and one.effect >= wanted for one in tried)


def layers_of(feature: Feature) -> list[int]:
    """Layers of its neurons, ascending."""
    return sorted({item.neuron.layer for item in feature.neurons})
