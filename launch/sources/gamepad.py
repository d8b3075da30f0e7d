"""A game controller: the right shoulder button holds, the left stick turns the chosen knob.

| | |
|---|---|
| right shoulder (button 5) | hold to run |
| left stick, up and down (axis 1) | turn the chosen knob; fully pressed, from one end to the other in 4 s |
| left and right on the pad, or buttons 2 and 3 | choose a knob |
| button 0 | the chosen knob off |
| button 1 | stop |

Numbers are those of controllers that SDL knows as Xbox controllers.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Protocol

from vlasteer.errors import ConfigError, MissingDependencyError
from vlasteer.knobs import KnobBoard, KnobKind

HOLD, OFF, STOP, PREVIOUS, NEXT = 5, 0, 1, 2, 3
STICK = 1
_DEAD_ZONE = 0.15
_WAY_S = 4.0
_POLL_S = 0.02


class Pad(Protocol):
    """What is needed of a controller."""

    def connected(self) -> bool:
        """Whether it is there; takes in its newest state."""
        ...

    def button(self, number: int) -> bool:
        """Whether a button is down."""
        ...

    def axis(self, number: int) -> float:
        """A stick, from -1 (up, left) to 1."""
        ...

    def hat(self) -> int:
        """The pad's horizontal direction: -1, 0, 1."""
        ...


class Gamepad:
    """Reads a controller in a thread of its own.

    Args:
        board: what is turned.
        pad: the controller; default: the first that SDL finds.

    Attributes:
        chosen: name of the knob that the stick turns.

    Raises:
        MissingDependencyError: pygame is not installed.
        ConfigError: there is no controller.
    """

    def __init__(self, board: KnobBoard, pad: Pad | None = None) -> None:
        self._pad = SdlPad() if pad is None else pad
        self._board, self._names = board, list(board.knobs)
        self.chosen = self._names[0] if self._names else ""
        self._down: frozenset[int] = frozenset()
        self._source = board.source("gamepad", live=True)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gamepad", daemon=True)
        self._thread.start()

    def __enter__(self) -> Gamepad:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the board. Idempotent."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        before = time.monotonic()
        with self._source:
            while not self._ended.wait(_POLL_S) and self._pad.connected():
                now = time.monotonic()
                self._look(now - before)
                before = now

    def _look(self, elapsed_s: float) -> None:
        pad, source = self._pad, self._source
        source.beat()
        source.hold(pad.button(HOLD))
        down = frozenset(n for n in (OFF, STOP, PREVIOUS, NEXT) if pad.button(n))
        hat = pad.hat()
        down |= {PREVIOUS} if hat < 0 else {NEXT} if hat > 0 else set()
        pressed, self._down = down - self._down, down
        if STOP in pressed:
            source.stop()
        if not self._names:
            return
        if choice := (NEXT in pressed) - (PREVIOUS in pressed):
            self.chosen = self._names[(self._names.index(self.chosen) + choice) % len(self._names)]
        knob = self._board.knobs[self.chosen]
        if OFF in pressed:
            source.set(knob.name, knob.default if knob.kind in (KnobKind.SPEED, KnobKind.REPLAN) else None)
        push = -pad.axis(STICK)
        if abs(push) > _DEAD_ZONE:
            setpoint = self._board.state().knobs[knob.name].setpoint
            start = knob.rest if setpoint is None else setpoint
            value = start + push * elapsed_s / _WAY_S * (knob.high - knob.low)
            source.set(knob.name, min(max(value, knob.low), knob.high))


class SdlPad:
    """The first controller that SDL finds, through pygame.

    Raises:
        MissingDependencyError: pygame is not installed.
        ConfigError: there is no controller.
    """

    def __init__(self) -> None:
        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # no window is needed, and there may be no display
        os.environ.setdefault("SDL_JOYSTICK_ALLOW_BACKGROUND_EVENTS", "1")
        try:
            import pygame  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise MissingDependencyError.for_extra("pygame", "gamepad") from error
        self._pygame = pygame
        pygame.display.init()
        pygame.joystick.init()
        if pygame.joystick.get_count() == 0:
            raise ConfigError("no game controller was found", fix="Connect one, and see that you may read /dev/input")
        self._joystick = pygame.joystick.Joystick(0)

    def connected(self) -> bool:
        """Whether it is there."""
        gone = self._pygame.JOYDEVICEREMOVED
        return all(event.type != gone for event in self._pygame.event.get())

    def button(self, number: int) -> bool:
        """Whether a button is down; one that the controller lacks is not."""
        return number < self._joystick.get_numbuttons() and bool(self._joystick.get_button(number))

    def axis(self, number: int) -> float:
        """A stick; one that the controller lacks is in the middle."""
        return float(self._joystick.get_axis(number)) if number < self._joystick.get_numaxes() else 0.0

    def hat(self) -> int:
        """The pad's horizontal direction."""
        return self._joystick.get_hat(0)[0] if self._joystick.get_numhats() else 0
