"""Knobs that are turned while an episode runs: how the arm moved at each of their values.

Steps follow one another, so they are no independent samples: a stretch, that is a knob standing at one value for a
while, counts as one. Nothing here is paired and other things change meanwhile (reaching, grasping, carrying), so what
comes out describes a session and proves no effect.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vlasteer.analysis.episodes import Episode
from vlasteer.comparison import bootstrap_interval

STANDING_S = 0.5
"""So long a knob has to stay at a value for that to count as one."""
_NAN = float("nan")


@dataclass(frozen=True)
class Level:
    """Motion while a knob stood at a value.

    Attributes:
        knob: name.
        value: coefficient, or the middle of its bin; NaN is off.
        seconds: time spent there, in all episodes.
        stretches: how many times it came to stand there.
        speed_mm_s: mean over that time; speed_low, speed_high: interval over stretches, NaN with fewer than two.
        height_mm: mean height over that time.
    """

    knob: str
    value: float
    seconds: float
    stretches: int
    speed_mm_s: float
    speed_low: float
    speed_high: float
    height_mm: float


def turned_knobs(episodes: Sequence[Episode]) -> list[str]:
    """Knobs whose value changes within some episode."""
    found = []
    for name in dict.fromkeys(name for episode in episodes for name in episode.knobs):
        series = [episode.knobs[name] for episode in episodes if len(episode)]
        if any(not np.array_equal(v, np.full_like(v, v[0]), equal_nan=True) for v in series):
            found.append(name)
    return found


def knob_levels(episodes: Sequence[Episode], knob: str, *, bins: int = 8) -> list[Level]:
    """Speed and height at each value of a knob, off first, then ascending.

    Args:
        episodes: of one run; those without positions or with a single step are passed over.
        knob: name of a feature.
        bins: what is counted are values at which the knob stood for `STANDING_S`, and what lies between is left out;
            where there are none of them, or more than `bins`, all values are rounded to so many equally wide bins.
    """
    moving = [e for e in episodes if e.positions is not None and len(e) > 1 and knob in e.knobs]
    if not moving:
        return []
    stood = _standing(moving, knob)
    exact = 0 < len(stood) <= bins
    series = [e.knobs[knob][:-1] if exact else _binned(e.knobs[knob][:-1], moving, knob, bins) for e in moving]
    gathered: dict[float | None, list[tuple[float, float, float]]] = {}
    for episode, values in zip(moving, series, strict=True):
        assert episode.positions is not None
        periods, heights = np.diff(episode.time_s), 1e3 * episode.positions[:-1, 2]
        moved = 1e3 * np.linalg.norm(np.diff(episode.positions, axis=0), axis=1)
        for start, stop in _stretches(values):
            seconds = float(periods[start:stop].sum())
            value = None if np.isnan(values[start]) else float(values[start])
            if exact and value is not None and value not in stood:
                continue
            height = float(np.average(heights[start:stop], weights=periods[start:stop]))
            gathered.setdefault(value, []).append((seconds, float(moved[start:stop].sum()), height))
    ordered = sorted(gathered.items(), key=lambda item: (item[0] is not None, item[0] or 0.0))
    return [_level(knob, _NAN if value is None else value, np.array(stretches)) for value, stretches in ordered]


def _level(knob: str, value: float, stretches: NDArray[np.float64]) -> Level:
    seconds, path, height = stretches.T
    low, high = bootstrap_interval(path / seconds) or (_NAN, _NAN)
    return Level(
        knob=knob,
        value=value,
        seconds=float(seconds.sum()),
        stretches=len(stretches),
        speed_mm_s=float(path.sum() / seconds.sum()),
        speed_low=low,
        speed_high=high,
        height_mm=float(np.average(height, weights=seconds)),
    )


def _standing(episodes: Sequence[Episode], knob: str) -> set[float]:
    """Values at which the knob stood for a while."""
    found = set()
    for episode in episodes:
        values = episode.knobs[knob]
        for start, stop in _stretches(values):
            if not np.isnan(values[start]) and (stop - start) / episode.rate_hz >= STANDING_S:
                found.add(float(values[start]))
    return found


def _binned(values: NDArray[np.float64], episodes: Sequence[Episode], knob: str, bins: int) -> NDArray[np.float64]:
    everything = np.concatenate([episode.knobs[knob] for episode in episodes])
    known = np.unique(everything[~np.isnan(everything)])
    if len(known) <= bins:
        return values
    edges = np.linspace(known[0], known[-1], bins + 1)
    middles = (edges[:-1] + edges[1:]) / 2
    place = np.clip(np.searchsorted(edges, np.nan_to_num(values), side="right") - 1, 0, bins - 1)
    return np.where(np.isnan(values), _NAN, middles[place])


def _stretches(values: NDArray[np.float64]) -> list[tuple[int, int]]:
    same = (values[1:] == values[:-1]) | (np.isnan(values[1:]) & np.isnan(values[:-1]))
    edges = [0, *(np.flatnonzero(~same) + 1).tolist(), len(values)]
    return list(pairwise(edges))
