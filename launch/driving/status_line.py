"""The live line on the terminal: what the loop, the robot and the knobs are at, several times a second, in place."""

from __future__ import annotations

import math
import shutil
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

from vlasteer.types import Phase

if TYPE_CHECKING:
    from vlasteer.live import LiveStatus

_PERIOD_S = 0.1
_HINTS = {"waiting": "press and hold to run", "paused": "press and hold to go on"}


class StatusLine:
    """Shows every `LiveStatus` that it is told: in place on a terminal, else a line whenever phase or safety change.

    Args:
        chosen: name of the knob that is shown as the keyboard's.
        dry_run: whether to begin with the badge.
        stream: where to; default standard error.

    Attributes:
        note: what the newest status had to say; of a robot that stopped itself, why.
    """

    def __init__(
        self, chosen: Callable[[], str] = lambda: "", *, dry_run: bool = False, stream: TextIO | None = None
    ) -> None:
        self.note = ""
        self._chosen = chosen
        self._dry_run, self._stream = dry_run, stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._shown_s, self._said = -math.inf, ""

    def tick(self, status: LiveStatus) -> None:
        """Show it, if it is time."""
        robot = status.robot
        if status.note or robot is None or robot.phase is not Phase.STOPPED:
            self.note = status.note
        elif not self.note:
            self.note = robot.reason  # the first: what follows from a stop is told later and says less
        state = f"{status.phase} {robot.phase if robot else ''} {robot.safety if robot else ''}"
        if self._terminal:
            if time.monotonic() - self._shown_s >= _PERIOD_S or state != self._said:
                width = shutil.get_terminal_size().columns - 1
                line = describe(status, self._chosen(), dry_run=self._dry_run)
                self._write(f"\r\x1b[K{line[:width]}")
                self._shown_s = time.monotonic()
        elif state != self._said:
            self._write(f"{describe(status, self._chosen(), dry_run=self._dry_run)}\n")
        self._said = state

    def close(self) -> None:
        """Leave the last line standing."""
        if self._terminal and self._said:
            self._write("\n")
        self._said = ""

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:  # a terminal that was closed; the arm is stopped by its signal, not by this line
            self._terminal = False


def describe(status: LiveStatus, chosen: str = "", *, dry_run: bool = False) -> str:
    """One line about a status; the chosen knob has a mark."""
    parts = ["DRY RUN"] if dry_run else []
    parts.append(f"{status.phase} ({_HINTS[status.phase]})" if status.phase in _HINTS else status.phase)
    parts.append(f"step {max(status.step, 0)}")
    parts.append(f"{_number(status.rate_hz, '.1f')} Hz")
    parts.append(f"policy {_number(1e3 * status.inference_s, '.0f')} ms")
    if status.robot is not None:
        parts += _of_robot(status)
    reading = status.reading
    knobs = {**reading.values, "speed": reading.speed} | ({} if reading.replan is None else {"replan": reading.replan})
    parts += [
        f"{'>' if name == chosen else ''}{name} {'off' if value is None else f'{value:.3g}'}"
        for name, value in knobs.items()
    ]
    if not reading.recording:
        parts.append("not recording")
    if status.note and (status.robot is None or status.note != status.robot.reason):
        parts.append(status.note)
    return " | ".join(parts)


def _of_robot(status: LiveStatus) -> list[str]:
    robot = status.robot
    assert robot is not None
    ages = [robot.state_age_s, *robot.camera_ages_s.values()]
    parts = [
        f"{robot.phase.value}, {robot.safety}{f': {robot.reason}' if robot.reason else ''}",
        f"latency {_number(1e3 * robot.latency_s, '.0f')} ms",
        f"oldest {_number(1e3 * max(ages), '.0f')} ms",
        f"tool {robot.tcp_speed_m_s:.2f} m/s",
        f"servo {_number(robot.loop_rate_hz, '.0f')} Hz",
    ]
    if status.underruns:
        parts.append(f"underruns {status.underruns}")
    return parts


def _number(value: float, form: str) -> str:
    return format(value, form) if math.isfinite(value) else "-"
