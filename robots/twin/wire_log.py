"""What went over the wire and what the controller made of it: what tests read.

An entry is one JSON object: `seq` (counts up from 0), `t` (controller clock, s), `wall` (monotonic clock of the
machine, s), `kind` and `source`, then what the kind brings:

| kind | source | further keys |
|---|---|---|
| `connect`, `disconnect` | service and peer, "rtde 127.0.0.1:5" | `why` |
| `rtde_outputs`, `rtde_inputs` | the connection | `recipe`, `names`, `types` as answered, `rate` |
| `rtde_start`, `rtde_pause` | the connection | |
| `input` | the connection | `recipe`, `values` (variable -> value); `command`, `name` where the command register was
written | | `script` | the connection | `program`, `bytes`, `path` (waypoints injected), `accepted` |
| `dashboard`, `gripper` | the connection | `line`, `reply` |
| `program` | "controller" | `state`, `program`, `why` |
| `safety` | "controller" | `robot_mode`, `safety_mode`, `why` |
| `watchdog` | "controller" | `armed`, `tripped`, `hz` |
| `hook` | the connection, or "api" | `name`, `arguments` |
| `protocol_error` | the connection | `why` |
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from vlasteer.errors import OutputError
from vlasteer.kinematics import Vector

CAPACITY = 400_000
"""Entries that are kept in memory: more than ten minutes of commands at 500 Hz."""

Decode = Callable[[bytes], dict[str, Any]]
_Entry = tuple[float, float, str, str, dict[str, Any] | tuple[Decode, bytes]]  # t, wall, kind, source, data


class WireLog:
    """Ring buffer of entries, also written to a file where one was given.

    Raises:
        OutputError: the file cannot be written.
    """

    def __init__(self, file: str = "", capacity: int = CAPACITY) -> None:
        self._entries: list[_Entry | None] = [None] * capacity
        self.count = 0
        """How many entries there ever were: the number of the next one."""
        self.time_s = 0.0
        """Controller clock, set by the controller every tick."""
        self._file: TextIO | None = None
        if file:
            try:
                self._file = Path(file).open("w", encoding="utf-8")  # noqa: SIM115 (open as long as the twin lives)
            except OSError as error:
                raise OutputError(f"the wire log cannot be written to {file} ({error.strerror})") from error

    def add(self, kind: str, source: str, **data: Any) -> None:
        """Append an entry; `data` has to be JSON."""
        self._append((self.time_s, time.monotonic(), kind, source, data))

    def add_packed(self, kind: str, source: str, decode: Decode, payload: bytes) -> None:
        """Append an entry whose data is `decode(payload)`, worked out only when somebody reads it."""
        self._append((self.time_s, time.monotonic(), kind, source, (decode, payload)))

    def read(self, since: int = 0, kinds: Collection[str] = (), scan: int = 1000) -> tuple[list[dict[str, Any]], int]:
        """Entries of these kinds (default: all) among the `scan` that begin with number `since`, and where to go on.

        In portions, because whoever serves the log has a control loop to keep at the same time.
        """
        capacity = len(self._entries)
        begin = max(since, self.count - capacity, 0)
        end = min(begin + scan, self.count)
        found = []
        for seq in range(begin, end):
            entry = self._entries[seq % capacity]
            if entry is not None and (not kinds or entry[2] in kinds):
                found.append(_as_json(seq, entry))
        return found, max(end, since)

    def flush(self) -> None:
        """Bring the file up to date."""
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        """Close the file. Idempotent."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _append(self, entry: _Entry) -> None:
        self._entries[self.count % len(self._entries)] = entry
        if self._file is not None:
            self._file.write(json.dumps(_as_json(self.count, entry)) + "\n")
        self.count += 1


def _as_json(seq: int, entry: _Entry) -> dict[str, Any]:
    t, wall, kind, source, data = entry
    if not isinstance(data, dict):
        decode, payload = data
        data = decode(payload)
    return {"seq": seq, "t": round(t, 6), "wall": wall, "kind": kind, "source": source, **data}


class MotionTrace:
    """Ring buffer of every control period's time, setpoint and measurement.

    A row is float64 [13]: controller clock (s), joint setpoint (6, rad), measured joint angles (6, rad).
    """

    COLUMNS = 13

    def __init__(self, rows: int = 150_000) -> None:
        # np.empty: pages that are never written cost nothing.
        self._rows, self._count = np.empty((rows, self.COLUMNS)), 0

    def add(self, t: float, target: Vector, actual: Vector) -> None:
        """Append a row."""
        row = self._rows[self._count % len(self._rows)]
        row[0], row[1:7], row[7:] = t, target, actual
        self._count += 1

    def since(self, t: float) -> Vector:
        """Rows [n, 13] with a clock of at least t, oldest first."""
        size = len(self._rows)
        head = self._count % size
        parts = [self._rows[:head]] if self._count < size else [self._rows[head:], self._rows[:head]]
        # The clock only goes forward, so each part is sorted by it.
        return np.concatenate([part[np.searchsorted(part[:, 0], t) :] for part in parts])
