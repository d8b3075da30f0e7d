"""A controller that the test presses."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from vlasteer.errors import MissingDependencyError
from vlasteer.knobs import Knob, KnobBoard
from vlasteer.launch.sources.gamepad import HOLD, NEXT, OFF, STICK, STOP, Gamepad


def eventually(condition: Callable[[], bool]) -> bool:
    for _ in range(500):
        if condition():
            return True
        time.sleep(0.01)
    return False


class FakePad:
    """Buttons and sticks as they are set."""

    def __init__(self) -> None:
        self.there, self.down, self.stick = True, set(), 0.0

    def connected(self) -> bool:
        return self.there

    def button(self, number: int) -> bool:
        return number in self.down

    def axis(self, number: int) -> float:
        return self.stick if number == STICK else 0.0

    def hat(self) -> int:
        return 0


def test_buttons_and_stick() -> None:
    board, pad = KnobBoard([Knob.feature("fast", 8.0), Knob.feature("up", 4.0)]), FakePad()
    with Gamepad(board, pad) as gamepad:
        pad.stick = -1.0
        assert eventually(lambda: (board.state().knobs["fast"].setpoint or 0) > 0.5)
        pad.stick = 0.1
        pad.down = {OFF}
        assert eventually(lambda: board.state().knobs["fast"].setpoint is None)
        pad.down = {NEXT}
        assert eventually(lambda: gamepad.chosen == "up")
        time.sleep(0.1)
        assert gamepad.chosen == "up", "once per press"
        pad.down = {HOLD}
        assert eventually(board.held)
        pad.there = False
        assert eventually(lambda: not board.held())
        assert eventually(lambda: board.state().sources == ())


def test_stop() -> None:
    board, pad = KnobBoard([]), FakePad()
    with Gamepad(board, pad):
        pad.down = {STOP}
        assert eventually(lambda: board.stopping)


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pygame", None)
    with pytest.raises(MissingDependencyError, match=r"vlasteer\[gamepad\]"):
        Gamepad(KnobBoard([]))
