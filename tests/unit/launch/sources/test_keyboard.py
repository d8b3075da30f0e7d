"""Keys through a pseudo terminal: holding by repetition, knobs, restoring the terminal."""

from __future__ import annotations

import os
import pty
import termios
import time
from collections.abc import Callable, Iterator

import pytest
from toys import ToyClock

from vlasteer.errors import ConfigError
from vlasteer.knobs import Knob, KnobBoard
from vlasteer.launch.sources.keyboard import FIRST_S, REPEAT_S, Keyboard


def eventually(condition: Callable[[], bool]) -> bool:
    for _ in range(500):
        if condition():
            return True
        time.sleep(0.01)
    return False


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """The two ends: the person's and the program's."""
    person, program = pty.openpty()
    yield person, program
    for end in (person, program):
        os.close(end)


def board_of(clock: Callable[[], float] = time.monotonic) -> KnobBoard:
    return KnobBoard([Knob.feature("fast", 8.0), Knob.feature("up", 4.0), Knob.speed()], clock=clock)


class Keys:
    """A keyboard whose keys are pressed by the clock, not by its thread."""

    def __init__(self, program: int) -> None:
        self.clock = ToyClock()
        self.board = board_of(self.clock)
        self.keyboard = Keyboard(self.board, program, clock=self.clock)

    def press(self, key: bytes, after_s: float = 0.0) -> bool:
        """Whether it is held after the key."""
        self.wait(after_s)
        self.keyboard.press(key)
        return self.board.held()

    def wait(self, seconds: float) -> bool:
        """Whether it is held so much later, with the thread's renewals in between."""
        while seconds > 1e-9:
            part = min(seconds, 0.02)
            self.clock.sleep(part)
            self.keyboard._tell(self.clock())
            seconds -= part
        return self.board.held()


@pytest.fixture
def keys(terminal: tuple[int, int]) -> Iterator[Keys]:
    made = Keys(terminal[1])
    with made.keyboard:
        yield made


def test_a_tap_is_held_until_it_could_have_repeated(keys: Keys) -> None:
    assert keys.press(b" ")
    assert keys.wait(FIRST_S - 0.03)
    assert not keys.wait(0.05)


def test_a_key_held_down_is_held_and_ends_soon_after(keys: Keys) -> None:
    keys.press(b" ")
    assert keys.press(b" ", after_s=0.5)
    for _ in range(30):
        assert keys.press(b" ", after_s=0.033)
    assert keys.wait(REPEAT_S - 0.03)
    assert not keys.wait(0.05)


def test_other_keys_release_at_once_and_knobs_keep_but_never_begin(keys: Keys) -> None:
    assert not keys.press(b"+")
    assert keys.press(b" ")
    assert keys.press(b"+", after_s=0.3)
    assert keys.press(b"+", after_s=0.5), "the first of another key has to last until it repeats"
    assert not keys.press(b"x")
    assert not keys.press(b"+", after_s=0.02)
    assert keys.press(b" ", after_s=0.02)


def test_knobs_are_chosen_turned_and_switched_off(terminal: tuple[int, int]) -> None:
    person, program = terminal
    board = board_of()
    with Keyboard(board, program) as keyboard:
        os.write(person, b"\x1b[A\x1b[A")
        assert eventually(lambda: board.state().knobs["fast"].setpoint == pytest.approx(2 * 32 / 20))
        os.write(person, b"\x1b[B")
        assert eventually(lambda: board.state().knobs["fast"].setpoint == pytest.approx(32 / 20))
        os.write(person, b"0")
        assert eventually(lambda: board.state().knobs["fast"].setpoint is None)
        os.write(person, b"]-")
        assert eventually(lambda: board.state().knobs["up"].setpoint == pytest.approx(-16 / 20))
        os.write(person, b"[[")
        assert eventually(lambda: keyboard.chosen == "speed")
        os.write(person, b"-0")
        assert eventually(lambda: board.state().knobs["speed"].setpoint == 1.0)


@pytest.mark.parametrize("key", [b"q", b"\x1b"])
def test_q_and_escape_stop(terminal: tuple[int, int], key: bytes) -> None:
    person, program = terminal
    board = board_of()
    with Keyboard(board, program):
        os.write(person, b"\x1b[C")  # an arrow that means nothing is no Esc
        os.write(person, b"r")
        assert eventually(lambda: not board.state().recording)
        assert not board.stopping
        os.write(person, key)
        assert eventually(lambda: board.stopping)


def test_space_holds_through_a_real_terminal(terminal: tuple[int, int]) -> None:
    person, program = terminal
    board = board_of()
    with Keyboard(board, program):
        os.write(person, b" ")
        assert eventually(board.held)
        os.write(person, b"x")
        assert eventually(lambda: not board.held())


def test_the_terminal_is_as_before_and_the_source_gone(terminal: tuple[int, int]) -> None:
    _, program = terminal
    board, before = board_of(), termios.tcgetattr(program)
    keyboard = Keyboard(board, program)
    assert termios.tcgetattr(program) != before
    keyboard.close()
    keyboard.close()
    assert termios.tcgetattr(program) == before
    assert board.state().sources == ()


def test_a_terminal_that_closes_releases() -> None:
    person, program = pty.openpty()
    board = board_of()
    keyboard = Keyboard(board, program)
    os.write(person, b" ")
    assert eventually(board.held)
    os.close(person)
    assert eventually(lambda: not board.held())
    assert eventually(lambda: board.state().sources == ())
    keyboard.close()
    os.close(program)


def test_something_else_is_refused() -> None:
    read, write = os.pipe()
    with pytest.raises(ConfigError, match="no terminal"):
        Keyboard(board_of(), read)
    os.close(read)
    os.close(write)
