"""Conditions beside their reference: paired differences with intervals, and success and tokens beside them.

Episodes of equal task, start and seed are pairs. Motion is compared in two ways (`vlasteer.comparison`): over whole
episodes, and at equal length, both members cut to the shorter one, because an episode that lasts longer drags every
mean. Intervals are 95 % percentile-bootstrap intervals of the mean difference over pairs; those of a success rate are
Wilson's, which do not shrink to nothing where all episodes succeed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vlasteer.analysis.episodes import Episode
from vlasteer.analysis.quantities import QUANTITIES
from vlasteer.analysis.runs import AnalysedRun
from vlasteer.comparison import UNSTEERED, bootstrap_interval
from vlasteer.types import EpisodeKey, Outcome

WHOLE, EQUAL = "whole episode", "equal length"
_NAN = float("nan")
_Z = 1.959964  # of a two-sided 95 % interval


@dataclass(frozen=True)
class Effect:
    """One quantity of one condition beside its reference.

    Attributes:
        run, condition: which; `draw` is the random draw or None.
        reference_run: where the reference episodes come from.
        quantity: key of `QUANTITIES`.
        counting: `WHOLE` or `EQUAL`.
        pairs: how many.
        mean, reference: means over the pairs, in the quantity's unit.
        difference: mean paired difference; low, high: its interval, NaN with fewer than two pairs.
    """

    run: str
    condition: str
    draw: str | None
    reference_run: str
    quantity: str
    counting: str
    pairs: int
    mean: float
    reference: float
    difference: float
    low: float
    high: float

    @property
    def relative(self) -> float:
        """The difference as a share of the reference; NaN where that is 0."""
        return self.difference / self.reference if self.reference else _NAN

    @property
    def sure(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Summary:
    """What the episodes of a condition did, without any reference.

    Attributes:
        run, condition, draw: which; `draw` None with a condition of draws means all of them together.
        episodes: finished ones; `left_out`: those that broke, were stopped or interrupted.
        successes: how many succeeded; low, high: Wilson interval of the rate (%).
        non_action_tokens: % of all tokens generated in the measured episodes, NaN for policies without tokens.
        measured: how many episodes the means are over: the finished ones, or all of them where none is finished.
        means: quantity key -> mean over those, whole.
    """

    run: str
    condition: str
    draw: str | None
    episodes: int
    left_out: int
    successes: int
    low: float
    high: float
    non_action_tokens: float
    measured: int
    means: dict[str, float]

    @property
    def rate(self) -> float:
        """Success (%)."""
        return 100 * self.successes / self.episodes if self.episodes else _NAN


def reference_of(run: AnalysedRun, runs: Sequence[AnalysedRun]) -> tuple[AnalysedRun, list[Episode]] | None:
    """Where the unsteered counterparts of a run's episodes are: in itself, or in another run that fits."""
    if run.unsteered and len(run.conditions) > 1:
        return run, run.unsteered
    keys = {episode.key for episode in run.finished}
    for other in runs:
        plain = [e for e in other.unsteered if e.condition == UNSTEERED and e.key in keys]
        if other is not run and plain and run.comparable(other):
            return other, plain
    return None


def effects_of(run: AnalysedRun, runs: Sequence[AnalysedRun] = ()) -> list[Effect]:
    """Every quantity of every condition and draw beside the unsteered episodes; empty without any.

    Args:
        run: which.
        runs: where unsteered episodes are looked for if the run itself has none.
    """
    found = reference_of(run, runs)
    if found is None:
        return []
    source, reference = found
    plain = {episode.key: episode for episode in reference}
    effects = []
    for (condition, draw), episodes in _groups(run).items():
        if source is run and episodes[0].arm == UNSTEERED:
            continue
        pairs = [(episode, plain[episode.key]) for episode in episodes if episode.key in plain]
        if not pairs:
            continue
        whole = [(one.measures(), other.measures()) for one, other in pairs]
        cuts = [min(len(one), len(other)) for one, other in pairs]
        equal = [(a.measures(n), b.measures(n)) for (a, b), n in zip(pairs, cuts, strict=True)]
        for counting, values in ((WHOLE, whole), (EQUAL, equal)):
            for key, quantity in QUANTITIES.items():
                if counting == EQUAL and not quantity.motion:
                    continue
                if all(key in one and key in other for one, other in values):
                    table = np.array([(one[key], other[key]) for one, other in values])
                    effects.append(_effect(run.name, condition, draw, source.name, key, counting, table))
    return effects


def _effect(
    run: str, condition: str, draw: str | None, source: str, key: str, counting: str, table: np.ndarray
) -> Effect:
    differences = table[:, 0] - table[:, 1]
    low, high = bootstrap_interval(differences) or (_NAN, _NAN)
    mean, reference = table.mean(0)
    difference = float(differences.mean())
    return Effect(
        run, condition, draw, source, key, counting, len(table), float(mean), float(reference), difference, low, high
    )


def effect_of_quantity(
    effects: Sequence[Effect], quantity: str, condition: str, *, counting: str = EQUAL, draw: str | None = None
) -> Effect | None:
    """The one effect of that name among those of a run; quantities without equal length are found as whole."""
    counting = counting if QUANTITIES[quantity].motion else WHOLE
    return next(
        (e for e in effects if (e.quantity, e.condition, e.counting, e.draw) == (quantity, condition, counting, draw)),
        None,
    )


def draw_differences(effects: Sequence[Effect], quantity: str, counting: str = EQUAL) -> list[float]:
    """Differences of the random draws of a run: the null."""
    counting = counting if QUANTITIES[quantity].motion else WHOLE
    return [e.difference for e in effects if e.draw is not None and e.quantity == quantity and e.counting == counting]


def summaries_of(run: AnalysedRun) -> list[Summary]:
    """One summary per condition, in the order of the run; draws of random neurons as one and each by itself."""
    summaries = []
    for condition in run.conditions:
        episodes = [episode for episode in run.episodes if episode.condition == condition]
        summaries.append(_summary(run.name, condition, None, episodes))
        draws = dict.fromkeys(episode.draw for episode in episodes if episode.draw is not None)
        for draw in draws:
            summaries.append(_summary(run.name, condition, draw, [e for e in episodes if e.draw == draw]))
    return summaries


def _summary(run: str, condition: str, draw: str | None, episodes: Sequence[Episode]) -> Summary:
    finished = [episode for episode in episodes if episode.finished]
    counted = finished or [episode for episode in episodes if len(episode) > 1]
    measured = [episode.measures() for episode in counted]
    successes = sum(episode.outcome is Outcome.SUCCESS for episode in finished)
    tokens = sum(episode.tokens for episode in counted)
    means = {
        key: float(np.mean([values[key] for values in measured]))
        for key in QUANTITIES
        if measured and all(key in values for values in measured)
    }
    low, high = wilson_interval(successes, len(finished))
    return Summary(
        run=run,
        condition=condition,
        draw=draw,
        episodes=len(finished),
        left_out=len(episodes) - len(finished),
        successes=successes,
        low=100 * low,
        high=100 * high,
        non_action_tokens=100 * sum(e.non_action_tokens for e in counted) / tokens if tokens else _NAN,
        measured=len(counted),
        means=means,
    )


def wilson_interval(successes: int, count: int) -> tuple[float, float]:
    """95 % interval of a share; NaN for nothing counted."""
    if not count:
        return _NAN, _NAN
    share, z2 = successes / count, _Z**2
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = _Z / (1 + z2 / count) * math.sqrt(share * (1 - share) / count + z2 / (4 * count**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def unequal_lengths(run: AnalysedRun, condition: str, plain: Sequence[Episode]) -> float:
    """Mean ratio of lengths condition / reference over pairs; NaN without pairs."""
    lengths: dict[EpisodeKey, int] = {episode.key: len(episode) for episode in plain}
    ratios = [len(e) / lengths[e.key] for e in run.of(condition) if e.key in lengths]
    return float(np.mean(ratios)) if ratios else _NAN


def _groups(run: AnalysedRun) -> dict[tuple[str, str | None], list[Episode]]:
    groups: dict[tuple[str, str | None], list[Episode]] = {}
    for episode in run.finished:
        groups.setdefault((episode.condition, episode.draw), []).append(episode)
    return groups
