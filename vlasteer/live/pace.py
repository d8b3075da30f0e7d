"""Keeping a rate by absolute times, and measuring the one that was kept."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

_MEASURED = 20
"""Steps that the measured rate is taken over."""


class Pace:
    """Waits for the ends of periods.

    Periods follow each other without drift; one that took too long is not made up for by shorter ones.

    Args:
        clock: seconds.
        sleep: waits so many seconds.
    """

    def __init__(self, clock: Callable[[], float], sleep: Callable[[float], None]) -> None:
        self._clock, self._sleep = clock, sleep
        self._end: float | None = None
        self._steps: deque[float] = deque(maxlen=_MEASURED)

    def wait(self, period_s: float) -> None:
        """Wait for the end of a period that began at the end of the last one."""
        now = self._clock()
        end = (now if self._end is None else self._end) + period_s
        self._end = max(end, now)
        if end > now:
            self._sleep(end - now)

    def stepped(self) -> None:
        """A control step was made."""
        self._steps.append(self._clock())

    def rest(self) -> None:
        """A pause begins; it is not part of the rate."""
        self._steps.clear()

    @property
    def rate_hz(self) -> float:
        """Of the latest steps; NaN before there are two."""
        span = self._steps[-1] - self._steps[0] if self._steps else 0.0
        return (len(self._steps) - 1) / span if span > 0 else math.nan
