"""The last seconds of an episode in numbers, for plots: a ring of rows in bounded memory."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from vlasteer.errors import ConfigError

Rows = NDArray[np.float64]


class History:
    """Rows of numbers with their time, the newest `capacity` of them. Every method may be called from any thread.

    Args:
        columns: numbers in a row.
        capacity: rows that are kept.
        spacing_s: a row that follows the one before it sooner than this replaces it.
    """

    def __init__(self, columns: int, capacity: int, spacing_s: float = 0.0) -> None:
        if columns < 1 or capacity < 2:
            raise ConfigError(f"a history of {capacity} rows of {columns}", expected="at least 2 rows of 1 number")
        self._ring = np.full((capacity, columns + 1), np.nan)
        self._count, self._spacing = 0, spacing_s
        self._started = -np.inf  # when the newest row began
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Memory of the rows; it never changes."""
        return self._ring.nbytes

    def add(self, time_s: float, row: Rows) -> None:
        """Append a row [columns]."""
        with self._lock:
            if time_s - self._started >= self._spacing or self._count == 0:
                self._count += 1
                self._started = time_s
            place = (self._count - 1) % len(self._ring)
            self._ring[place, 0], self._ring[place, 1:] = time_s, row

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._count, self._started = 0, -np.inf

    def since(self, time_s: float) -> Rows:
        """Rows [n, 1 + columns], time first, in the order of time, from `time_s` on."""
        with self._lock:
            capacity = len(self._ring)
            if self._count <= capacity:
                rows = self._ring[: self._count].copy()
            else:
                start = self._count % capacity
                rows = np.concatenate([self._ring[start:], self._ring[:start]])
        return rows[rows[:, 0] >= time_s]
