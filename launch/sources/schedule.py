"""A file that turns knobs at given steps or times.

As YAML, a list; every entry has `step` (the control step that it is in force for) or `time` (seconds since the episode
began to run) and what to do: knob values (`off` for off), and `hold`, `say`, `mark`, `record`, `stop`.

    - {step: 0, hold: true}
    - {step: 20, fast: 8}
    - {step: 60, fast: off, mark: "off again"}
    - {step: 80, stop: true}

As CSV, a first line with `step` or `time` and knob names, then one line per entry; empty cells change nothing.

Entries by step act at that very step in every run, whatever the clock does; those by time act at the first step after
it. A schedule may hold for simulations; `vlasteer drive` does not let it hold a robot.
"""

from __future__ import annotations

import csv
import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlasteer.errors import ConfigError, InputError, UnknownNameError
from vlasteer.knobs import Knob, KnobBoard
from vlasteer.launch.sources.callback import SCRIPT_RANK
from vlasteer.live import LivePhase, LiveStatus

_RENEW_S = 0.05
_ACTIONS = ("hold", "say", "mark", "record", "stop")


@dataclass(frozen=True)
class Entry:
    """What happens at one moment.

    Attributes:
        step: at this control step, or
        time_s: so many seconds after the episode began to run; the other is infinite.
        values: knobs.
        actions: of `hold`, `say`, `mark`, `record`, `stop`.
    """

    step: float
    time_s: float
    values: Mapping[str, float | None]
    actions: Mapping[str, Any]


class Schedule:
    """Does what a file says, one episode after the other.

    `tick` acts from the loop's thread; a hold is renewed by a thread of its own, so that a slow policy does not look
    like a released key.

    Args:
        board: what is turned.
        path: .yaml, .yml or .csv.

    Raises:
        InputError: a file that cannot be read, or an entry that says nothing sensible.
        UnknownNameError: it names no knob and no action.
    """

    def __init__(self, board: KnobBoard, path: Path | str) -> None:
        self.entries = read_schedule(Path(path), board.knobs)
        self._board = board
        self._source = board.source("schedule", live=False, rank=SCRIPT_RANK)
        self._waiting: list[Entry] = []
        self._began_s: float | None = None
        self._step = math.inf
        self._holding, self._ended = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._renew, name="schedule", daemon=True)
        self._thread.start()

    def tick(self, status: LiveStatus) -> None:
        """For `run_live(on_tick=...)`: does what is due for the step that comes next."""
        if status.phase is LivePhase.ENDED:
            self._hold(False)
            self._step = math.inf
            return
        if status.step < self._step:  # another episode
            self._waiting, self._began_s = list(self.entries), None
        self._step = status.step
        now = self._board.clock()
        if self._began_s is None and status.phase is LivePhase.RUNNING:
            self._began_s = now
        ran_s = 0.0 if self._began_s is None else now - self._began_s
        due = [e for e in self._waiting if e.step <= status.step or e.time_s <= ran_s]
        self._waiting = [e for e in self._waiting if e not in due]
        for entry in due:
            self._do(entry)

    def __enter__(self) -> Schedule:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the board. Idempotent."""
        self._ended.set()
        self._thread.join()
        self._source.close()

    def _do(self, entry: Entry) -> None:
        for knob, value in entry.values.items():
            self._source.set(knob, value)
        for action, value in entry.actions.items():
            if action == "hold":
                self._hold(bool(value))
            elif action == "say":
                self._source.say(str(value))
            elif action == "mark":
                self._source.mark(str(value))
            elif action == "record":
                self._source.record(bool(value))
            elif value:
                self._source.stop()

    def _hold(self, held: bool) -> None:
        (self._holding.set if held else self._holding.clear)()
        self._source.hold(held)

    def _renew(self) -> None:
        while not self._ended.wait(_RENEW_S):
            if self._holding.is_set():
                self._source.hold(True)


def read_schedule(path: Path, knobs: Mapping[str, Knob]) -> tuple[Entry, ...]:
    """The entries of a file.

    Args:
        path: .yaml, .yml or .csv.
        knobs: that there are.

    Raises:
        InputError, UnknownNameError: see `Schedule`.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the schedule {path} cannot be read ({error})", expected="a .yaml or .csv file") from error
    rows = _csv_rows(text) if path.suffix.lower() == ".csv" else _yaml_rows(text, path)
    return tuple(_entry(row, f"entry {i} of {path}", knobs) for i, row in enumerate(rows, 1))


def _yaml_rows(text: str, path: Path) -> list[Any]:
    import yaml

    try:
        rows = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"the schedule {path} is no YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(rows, list):
        raise InputError(f"the schedule {path} is no list", expected='entries such as "- {step: 20, fast: 8}"')
    return rows


def _csv_rows(text: str) -> list[dict[str, str]]:
    rows = csv.DictReader(text.splitlines(), skipinitialspace=True)
    return [{str(k).strip(): v.strip() for k, v in row.items() if isinstance(v, str) and v.strip()} for row in rows]


def _entry(row: Any, where: str, knobs: Mapping[str, Knob]) -> Entry:
    if not isinstance(row, dict) or ("step" in row) == ("time" in row):
        raise InputError(f"{where}: {row!r}", expected="step or time, and what to do then")
    values: dict[str, float | None] = {}
    actions: dict[str, Any] = {}
    moment = math.inf
    for key, value in row.items():
        if key in ("step", "time"):
            moment = _number(value, f"{where}, {key}")
        elif key in knobs:
            # YAML reads the word off as false.
            off = value is None or value is False or value == "off"
            values[key] = knobs[key].taken(None if off else _number(value, f"{where}, {key}"))
        elif key in _ACTIONS:
            actions[key] = value not in ("0", "false", "off", "no") and value if isinstance(value, str) else value
        else:
            raise UnknownNameError.among(f"word in {where}", key, [*knobs, *_ACTIONS])
    if not math.isfinite(moment) or moment < 0:
        raise ConfigError(f"{where} is at {moment}", expected="a number from 0")
    by_step = "step" in row
    return Entry(moment if by_step else math.inf, math.inf if by_step else moment, values, actions)


def _number(value: Any, where: str) -> float:
    try:
        if isinstance(value, bool):
            raise ValueError
        return float(value)
    except (TypeError, ValueError):
        raise InputError(f"{where}: {value!r}", expected="a number") from None
