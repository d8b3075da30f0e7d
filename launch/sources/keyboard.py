"""The terminal's keyboard.

A terminal tells of characters, not of keys that go up: a key that is held down is a character that repeats, after a
first delay of 0.25 to 0.66 s (the keyboard's setting). Hold-to-run is therefore granted for `FIRST_S` by a press of
space, and for `REPEAT_S` by each repetition: a tap counts as held for 0.7 s, and a key that was repeating for 0.25 s
after it was let go. While held, the keys that turn knobs keep it up in the same way, since no terminal repeats two keys
at once; they never begin it. Any other key releases at once.
"""

from __future__ import annotations

import atexit
import math
import os
import select
import sys
import termios
import threading
import time
import tty
from collections.abc import Callable

from vlasteer.errors import ConfigError
from vlasteer.knobs import Knob, KnobBoard, KnobKind
from vlasteer.launch.sources.faders import turned

FIRST_S = 0.7
"""A first press counts for so long: longer than the longest usual delay before a key repeats."""
REPEAT_S = 0.25
"""A repeated one for so long."""
KEYS = "space: hold to run   [ ]: choose a knob   up down: turn it   0: off   r: record   m: mark   q, Esc: stop"

_POLL_S = 0.04
_REPEATS_S = 0.15
"""The same key after so short a time is the terminal's repetition, not a finger's."""
_ESCAPE_S = 0.03
"""The characters of an arrow key come together; an Esc that is followed by nothing for so long is the Esc key."""
_UP, _DOWN = b"\x1b[A", b"\x1b[B"
_ARROWS = {b"\x1bOA": _UP, b"\x1bOB": _DOWN, _UP: _UP, _DOWN: _DOWN}
_TURNS = {_UP: 1.0, b"+": 1.0, b"=": 1.0, _DOWN: -1.0, b"-": -1.0, b"_": -1.0}
_CHOICES = {b"[": -1, b"]": 1}


class Keyboard:
    """Reads a terminal in a thread of its own; leaving, and the end of the program, restores it.

    Args:
        board: what is turned.
        terminal: file descriptor of the terminal; default: standard input.
        clock: seconds.

    Attributes:
        chosen: name of the knob that the arrows turn.

    Raises:
        ConfigError: no terminal.
    """

    def __init__(
        self, board: KnobBoard, terminal: int | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._terminal = sys.stdin.fileno() if terminal is None else terminal
        if not os.isatty(self._terminal):
            raise ConfigError("standard input is no terminal", expected="a terminal to read keys from")
        self._board, self._clock = board, clock
        self._names = list(board.knobs)
        self.chosen = self._names[0] if self._names else ""
        self._until_s, self._last, self._last_s = -math.inf, b"", -math.inf
        self._before = termios.tcgetattr(self._terminal)
        self._ended, self._wake = os.pipe()
        self._source = board.source("keyboard", live=True)
        self._thread = threading.Thread(target=self._run, name="keyboard", daemon=True)
        atexit.register(self._restore)
        tty.setcbreak(self._terminal)  # characters at once, without echo; Ctrl-C stays Ctrl-C
        self._thread.start()

    def __enter__(self) -> Keyboard:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Restore the terminal and leave the board. Idempotent."""
        if self._wake >= 0:
            os.write(self._wake, b".")
            self._thread.join()
            os.close(self._wake)
            os.close(self._ended)
            self._wake = -1
            atexit.unregister(self._restore)
            self._restore()

    def press(self, key: bytes) -> None:
        """One key, as the terminal sends it; `Esc` is `b"\\x1b"`."""
        now = self._clock()
        knobs = key in _TURNS or key in _CHOICES or key == b"0"
        if key == b" " or (knobs and now < self._until_s):
            repeats = key == self._last and now - self._last_s <= _REPEATS_S
            self._until_s = now + (REPEAT_S if repeats else FIRST_S)
        else:
            self._until_s = now
        self._last, self._last_s = key, now
        self._tell(now)
        if knobs:
            self._turn(key)
        elif key in (b"q", b"Q", b"\x1b"):
            self._source.stop()
        elif key == b"r":
            self._source.record(not self._board.state().recording)
        elif key == b"m":
            self._source.mark()

    def _turn(self, key: bytes) -> None:
        if not self._names:
            return
        if key in _CHOICES:
            place = self._names.index(self.chosen) + _CHOICES[key]
            self.chosen = self._names[place % len(self._names)]
            return
        knob, state = self._board.knobs[self.chosen], self._board.state().knobs[self.chosen]
        if key in _TURNS:
            self._source.set(knob.name, turned(knob, state.setpoint, _TURNS[key]))
        else:
            self._source.set(knob.name, _off(knob))

    def _tell(self, now: float) -> None:
        self._source.hold(now < self._until_s)

    def _run(self) -> None:
        waiting = b""
        with self._source:
            while True:
                ready, _, _ = select.select([self._terminal, self._ended], [], [], _ESCAPE_S if waiting else _POLL_S)
                if self._ended in ready:
                    return
                if self._terminal in ready:
                    try:
                        read = os.read(self._terminal, 256)
                    except OSError:  # the terminal is gone
                        return
                    if not read:
                        return
                    waiting += read
                    keys, waiting = _split(waiting, last=False)
                else:
                    keys, waiting = _split(waiting, last=True)
                for key in keys:
                    self.press(key)
                self._tell(self._clock())

    def _restore(self) -> None:
        try:
            termios.tcsetattr(self._terminal, termios.TCSADRAIN, self._before)
        except termios.error:  # closed with its window
            return


def _off(knob: Knob) -> float | None:
    """What the key 0 sets: off, or the default of a knob that has no off."""
    return knob.default if knob.kind in (KnobKind.SPEED, KnobKind.REPLAN) else None


def _split(read: bytes, *, last: bool) -> tuple[list[bytes], bytes]:
    """Keys, and what may be the beginning of one unless nothing more is to come."""
    keys: list[bytes] = []
    while read:
        if not read.startswith(b"\x1b"):
            keys.append(read[:1])
            read = read[1:]
        elif read[:3] in _ARROWS:
            keys.append(_ARROWS[read[:3]])
            read = read[3:]
        elif len(read) < 3 and not last:
            return keys, read
        elif read[1:2] in (b"[", b"O"):
            keys.append(b"")  # another key of several characters, which means nothing here
            read = read[3:]
        else:
            keys.append(b"\x1b")
            read = read[1:]
    return keys, b""
