"""The servo log: what went in, what came out and what the arm did, one JSON object a line (safety row 20).

Three kinds of lines, by their first key:

    input     "configure", "start", "permit", "submit" or "tick", with its arguments (see `motion`); chunks come with
              the time of their observation
    command   the filtered joint angles of the tick before it, `qd`, `reasons` (flags), `held`; and `state`, by which
              that tick went: `timestamp`, `age_s`, `q`, `force_n`, `safety_bits`, `runtime_state`
    event     engaged, disengaged, halted, ended, left; with the reason

All times are of the monotonic clock, the same as in `knobs.jsonl` and in the dataset. Numbers are written so that
reading them gives the same bits: `verify` replays the inputs and compares.
"""

from __future__ import annotations

import json
import queue
import threading
from pathlib import Path
from typing import Any

from vlasteer.errors import InputError, OutputError
from vlasteer.robots.ur.motion import replay

_FLUSH_S = 0.5


class Journal:
    """Writes a servo log in a thread of its own, so that no tick waits for a disk. A kill loses the last half second.

    Raises:
        OutputError: the file cannot be written, or exists.
    """

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("x", encoding="utf-8")  # closed by the thread
        except OSError as error:
            raise OutputError(f"the servo log cannot be written to {path} ({error.strerror})") from error
        self._entries: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="servo log", daemon=True)
        self._thread.start()

    def __call__(self, entry: dict[str, Any]) -> None:
        """Append; never waits. The entry must not be changed afterwards."""
        self._entries.put(entry)

    def close(self, timeout_s: float = 2.0) -> None:
        """Write what is left and close, as far as that time suffices. Idempotent."""
        self._entries.put(None)
        self._thread.join(timeout_s)

    def _run(self) -> None:
        with self._file as file:
            while True:
                try:
                    entry = self._entries.get(timeout=_FLUSH_S)
                except queue.Empty:
                    file.flush()
                    continue
                if entry is None:
                    return
                file.write(json.dumps(entry) + "\n")


def read(path: Path) -> list[dict[str, Any]]:
    """The entries of a servo log; a last line that was cut off by a kill is left out.

    Raises:
        InputError: it cannot be read, or is none.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(f"the servo log {path} cannot be read ({error.strerror})") from error
    entries = []
    for number, line in enumerate(lines, 1):
        try:
            entries.append(json.loads(line))
        except ValueError:
            if number < len(lines):
                raise InputError(f"{path}, line {number} is no JSON") from None
    return entries


def verify(path: Path) -> int:
    """Replay a servo log; how many commands came out the same bit for bit.

    Raises:
        InputError: a command differs, or it is no servo log.
    """
    entries = read(path)
    commands = [entry for entry in entries if "command" in entry]
    again = replay(entry for entry in entries if "input" in entry)
    for number, (was, now) in enumerate(zip(commands, again, strict=False)):
        if was["command"] != now.q.tolist() or was["qd"] != now.qd.tolist() or was["reasons"] != int(now.reasons):
            raise InputError(
                f"{path}: command {number} was {was['command']}, its replay is {now.q.tolist()}",
                expected="the same bits",
                fix="Replay with the version that wrote it",
            )
    return len(commands)
