"""Who turns the knobs and who holds: keyboard, OSC, MIDI, game controller, a schedule. The page is opened apart."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vlasteer.errors import ConfigError
from vlasteer.launch.driving.permission import at_terminal
from vlasteer.launch.interruption import interruptible_at_steps

if TYPE_CHECKING:
    from pathlib import Path

    from vlasteer.knobs import KnobBoard
    from vlasteer.launch.drive import Drive
    from vlasteer.launch.sources.schedule import Schedule
    from vlasteer.live import LiveStatus


@dataclass
class Attendance:
    """The sources that are open.

    Attributes:
        hints: what people have to know about them, a line each.
        ticks: those that act with the loop's every status.
        chosen: name of the knob that the keyboard's arrows turn; "" without a keyboard.
    """

    hints: list[str] = field(default_factory=list)
    ticks: list[Callable[[LiveStatus], None]] = field(default_factory=list)
    chosen: Callable[[], str] = lambda: ""


@contextmanager
def attend(board: KnobBoard, options: Drive) -> Iterator[Attendance]:
    """Open every source that was asked for; the keyboard wherever there is a terminal.

    Raises:
        VlasteerError: one cannot be opened, or a schedule that would hold a robot.
    """
    present = Attendance()
    with ExitStack() as stack:
        if options.schedule is not None:
            schedule = _schedule(board, options.schedule, real=options.real)
            present.ticks.append(stack.enter_context(schedule).tick)
            present.hints.append(f"Schedule: {options.schedule}")
        if options.osc is not None:
            from vlasteer.launch.sources.osc import PREFIX, Osc

            osc = stack.enter_context(Osc(board, options.osc_host, options.osc))
            present.hints.append(f"OSC: {PREFIX}knob/NAME at {osc.address[0]}:{osc.address[1]}")
        if options.midi is not None:
            from vlasteer.launch.sources.midi import Midi

            midi = stack.enter_context(Midi(board, options.midi or None))
            present.hints.append(f"MIDI: {midi.name}")
        if options.gamepad:
            from vlasteer.launch.sources.gamepad import Gamepad

            stack.enter_context(Gamepad(board))
            present.hints.append("Game controller: the right shoulder button holds, button 1 stops")
        if at_terminal():
            from vlasteer.launch.sources.keyboard import KEYS, Keyboard

            keyboard = stack.enter_context(Keyboard(board))
            present.chosen = lambda: keyboard.chosen
            present.hints.append(f"The keys of this terminal are read from now on. {KEYS}")
        yield present


@contextmanager
def stopping_at_signals(board: KnobBoard) -> Iterator[Callable[[], None]]:
    """A signal stops the board's episode in order, within a step of the loop; a second one interrupts at once.

    Yields a check for afterwards, which raises KeyboardInterrupt if there was one. The stop comes from a thread of its
    own: a signal's handler may find the main thread in the middle of anything, and the hold has to end at once.
    """
    asked, source = threading.Event(), board.source("signal", live=False)

    def stop() -> None:
        asked.wait()
        source.stop()

    thread = threading.Thread(target=stop, name="signals", daemon=True)
    with source, interruptible_at_steps(asked) as check:
        thread.start()
        yield check


def _schedule(board: KnobBoard, path: Path, *, real: bool) -> Schedule:
    from vlasteer.launch.sources.schedule import Schedule

    schedule = Schedule(board, path)
    if real and any(entry.actions.get("hold") for entry in schedule.entries):
        schedule.close()
        raise ConfigError(f"the schedule {path} holds to run", expected="only knobs: a person holds a robot")
    return schedule
