"""What an end effector did in an episode: speeds, heights, lengths. Defined once, for every world and robot.

All measures are made of one series of positions, taken once per control step. They say nothing about success, which
always has to stand beside them: a damaged policy is slow, too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from vlasteer.errors import InputError


@dataclass(frozen=True)
class Motion:
    """Measures of one episode. Axes are the world's; z points up and its zero is the world's (the table, the base).

    Attributes:
        steps: how many control steps are counted, one less than positions.
        duration_s: their duration.
        path_length_m: sum of the steps' lengths.
        mean_speed_m_s: path length over duration.
        peak_speed_m_s: length of the longest step over the control period.
        peak_height_m, lowest_height_m: largest and smallest z of any position, the first included.
        mean_step_m: mean |dx|, |dy|, |dz| of a step.
        displacement_m: last position less the first, x, y, z.
    """

    steps: int
    duration_s: float
    path_length_m: float
    mean_speed_m_s: float
    peak_speed_m_s: float
    peak_height_m: float
    lowest_height_m: float
    mean_step_m: tuple[float, float, float]
    displacement_m: tuple[float, float, float]

    @property
    def mean_step_length_m(self) -> float:
        """Mean length of a step."""
        return self.path_length_m / self.steps


def measure_motion(positions: ArrayLike, rate_hz: float, *, first: int | None = None) -> Motion:
    """Measure an episode.

    Args:
        positions: [n, 3] end-effector positions (m), x, y, z up, one before every control step and one after the last.
        rate_hz: control rate.
        first: count the first so many steps only, or all where there are fewer. Episodes of different length are to be
            compared at equal length: a longer one has more of the slow end.

    Raises:
        InputError: not [n >= 2, 3] finite numbers, a rate that is not positive, or `first` below 1.
    """
    series = np.asarray(positions, dtype=np.float64)
    if series.ndim != 2 or series.shape[1] != 3 or len(series) < 2:
        raise InputError(f"positions of shape {series.shape}", expected="[n, 3] with at least two positions")
    if not np.all(np.isfinite(series)):
        raise InputError("the positions contain NaN or infinity", expected="finite metres")
    if not (math.isfinite(rate_hz) and rate_hz > 0):
        raise InputError(f"control rate {rate_hz} Hz", expected="a positive number")
    if first is not None and first < 1:
        raise InputError(f"{first} steps to be measured", expected="at least 1")
    if first is not None:
        series = series[: first + 1]
    moves = np.diff(series, axis=0)
    lengths = np.linalg.norm(moves, axis=1)
    path, duration = float(lengths.sum()), len(moves) / rate_hz
    return Motion(
        steps=len(moves),
        duration_s=duration,
        path_length_m=path,
        mean_speed_m_s=path / duration,
        peak_speed_m_s=float(lengths.max()) * rate_hz,
        peak_height_m=float(series[:, 2].max()),
        lowest_height_m=float(series[:, 2].min()),
        mean_step_m=_triple(np.abs(moves).mean(axis=0)),
        displacement_m=_triple(series[-1] - series[0]),
    )


def _triple(values: ArrayLike) -> tuple[float, float, float]:
    x, y, z = np.asarray(values, dtype=np.float64)
    return float(x), float(y), float(z)
