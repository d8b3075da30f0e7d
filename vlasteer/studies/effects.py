"""Effects between conditions, paired by episode, at equal length; and where a null lies.

Both members of a pair are cut to the length of the shorter one, since an episode that lasts longer drags every mean. An
effect is told as its size with an interval; a rank among draws can come with a difference of nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vlasteer.comparison import EpisodeMotion, bootstrap_interval
from vlasteer.errors import InputError
from vlasteer.types import Outcome

Measure = Callable[[EpisodeMotion, int | None], float]


def mean_step_mm(episode: EpisodeMotion, steps: int | None = None) -> float:
    """Mean length of a step that was really made (mm), over the first `steps` positions or all."""
    return 1e3 * float(episode.moved(steps)[3])


def peak_height_mm(episode: EpisodeMotion, steps: int | None = None) -> float:
    """Largest height (mm) among the first `steps` positions or all."""
    return 1e3 * float(episode.positions[:steps, 2].max())


def lowest_height_mm(episode: EpisodeMotion, steps: int | None = None) -> float:
    """Smallest height (mm) among the first `steps` positions or all."""
    return 1e3 * float(episode.positions[:steps, 2].min())


def mean_height_mm(episode: EpisodeMotion, steps: int | None = None) -> float:
    """Mean height (mm) of the first `steps` positions or all."""
    return 1e3 * float(episode.positions[:steps, 2].mean())


def commanded_step_mm(episode: EpisodeMotion, steps: int | None = None) -> float:
    """Mean length (mm) of a commanded step: the paper's measure of fast and slow, `|a[:3]|`."""
    return 1e3 * episode.commanded_length(steps)


def commanded_axis_mm(axis: int) -> Measure:
    """Mean size (mm) of the commanded step along x, y or z (0, 1, 2)."""

    def measure(episode: EpisodeMotion, steps: int | None = None) -> float:
        return 1e3 * float(np.abs(episode.commanded[:steps, axis]).mean())

    return measure


def commanded_rise_mm(episode: EpisodeMotion, steps: int | None = None) -> float:
    """Mean commanded step along z (mm), upwards positive."""
    return 1e3 * float(episode.commanded[:steps, 2].mean())


COMMANDED: Mapping[str, Measure] = {
    "commanded step (mm)": commanded_step_mm,
    **{f"commanded |d{name}| (mm)": commanded_axis_mm(axis) for axis, name in enumerate("xyz")},
    "commanded dz (mm)": commanded_rise_mm,
}
"""What was asked for, per step."""

MEASURES: Mapping[str, Measure] = {
    "mean step (mm)": mean_step_mm,
    "peak height (mm)": peak_height_mm,
    "lowest height (mm)": lowest_height_mm,
    "mean height (mm)": mean_height_mm,
    **COMMANDED,
}
"""Name with unit -> measure of an episode."""


@dataclass(frozen=True)
class Effect:
    """A condition beside its reference.

    Attributes:
        mean, reference: of the measure over the pairs, at equal length.
        difference: mean paired difference, and `interval`, its 95 % percentile-bootstrap interval over pairs.
        pairs: how many.
        success, reference_success: share of successful episodes.
        foreign: share of generated tokens that are no action token, in the condition.
    """

    mean: float
    reference: float
    difference: float
    interval: tuple[float, float]
    pairs: int
    success: float
    reference_success: float
    foreign: float

    @property
    def relative(self) -> float:
        """The difference as a share of the reference."""
        return self.difference / self.reference


def effect_of(episodes: Sequence[EpisodeMotion], reference: Sequence[EpisodeMotion], measure: Measure) -> Effect:
    """The effect on a measure.

    Raises:
        InputError: no episode of the one has a counterpart of the same key in the other.
    """
    others = {episode.key: episode for episode in reference}
    pairs = [(episode, others[episode.key]) for episode in episodes if episode.key in others]
    if not pairs:
        raise InputError("an effect of episodes without counterparts", expected="the same tasks, starts and seeds")
    values = []
    for one, other in pairs:
        steps = min(len(one.positions), len(other.positions))
        values.append((measure(one, steps), measure(other, steps)))
    table = np.array(values)
    differences = table[:, 0] - table[:, 1]
    interval = bootstrap_interval(differences)
    mean, base = table.mean(0)
    return Effect(
        mean=float(mean),
        reference=float(base),
        difference=float(differences.mean()),
        interval=interval or (float("nan"), float("nan")),
        pairs=len(pairs),
        success=success_rate([one for one, _ in pairs]),
        reference_success=success_rate([other for _, other in pairs]),
        foreign=sum(e.non_action_tokens for e in episodes) / max(sum(e.tokens for e in episodes), 1),
    )


def success_rate(episodes: Sequence[EpisodeMotion]) -> float:
    """Share of successful episodes."""
    return float(np.mean([episode.outcome is Outcome.SUCCESS for episode in episodes]))


@dataclass(frozen=True)
class NullBand:
    """Effects of draws.

    Attributes:
        count: draws.
        mean, deviation, lowest, highest: of their differences.
        success: mean over draws.
        foreign: highest share of tokens that are no action token.
    """

    count: int
    mean: float
    deviation: float
    lowest: float
    highest: float
    success: float
    foreign: float

    def beyond(self, difference: float, sign: int) -> bool:
        """Whether a difference lies beyond all draws in the direction of `sign`."""
        return difference > self.highest if sign > 0 else difference < self.lowest


def null_band(effects: Sequence[Effect]) -> NullBand:
    """The band of the draws' effects.

    Raises:
        InputError: no draws.
    """
    if not effects:
        raise InputError("a null of no draws", expected="at least one")
    values = np.array([effect.difference for effect in effects])
    return NullBand(
        count=len(values),
        mean=float(values.mean()),
        deviation=float(values.std()),
        lowest=float(values.min()),
        highest=float(values.max()),
        success=float(np.mean([effect.success for effect in effects])),
        foreign=max(effect.foreign for effect in effects),
    )
