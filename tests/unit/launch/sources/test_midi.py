"""MIDI over mido's TCP port on the loopback."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator

import pytest

mido = pytest.importorskip("mido", reason="the extra `live` is not installed")

from mido.sockets import connect  # noqa: E402

from vlasteer.errors import OutputError, UnknownNameError  # noqa: E402
from vlasteer.knobs import Knob, KnobBoard  # noqa: E402
from vlasteer.launch.sources.midi import Midi  # noqa: E402


def eventually(condition: Callable[[], bool]) -> bool:
    for _ in range(500):
        if condition():
            return True
        time.sleep(0.01)
    return False


@pytest.fixture
def board() -> KnobBoard:
    return KnobBoard([Knob.feature("fast", 8.0), Knob.feature("up", 4.0), Knob.speed()])


@pytest.fixture
def address() -> tuple[str, int]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()


@pytest.fixture
def faders(board: KnobBoard, address: tuple[str, int]) -> Iterator:
    with Midi(board, "{}:{}".format(*address)):
        port = connect(*address)
        yield port
        port.close()


def change(control: int, value: int):
    return mido.Message("control_change", control=control, value=value)


def test_control_changes_turn_the_knobs_in_order(board: KnobBoard, faders) -> None:
    def setpoint(name: str) -> float | None:
        return board.state().knobs[name].setpoint

    faders.send(change(1, 127))
    assert eventually(lambda: setpoint("fast") == 16.0)
    faders.send(change(2, 0))
    assert eventually(lambda: setpoint("up") == -8.0)
    faders.send(change(3, 0))
    assert eventually(lambda: setpoint("speed") == 0.05)
    faders.send(change(1, 64))
    assert eventually(lambda: setpoint("fast") is None)
    faders.send(change(99, 5))  # nobody's
    faders.send(change(1, 96))
    assert eventually(lambda: (setpoint("fast") or 0) == pytest.approx(16 * (2 * 96 / 127 - 1)))


def test_a_pad_or_pedal_holds_until_it_is_let_go(board: KnobBoard, faders) -> None:
    faders.send(mido.Message("note_on", note=36, velocity=90))
    assert eventually(board.held)
    time.sleep(0.4)
    assert board.held(), "renewed though MIDI says nothing meanwhile"
    faders.send(change(64, 127))
    faders.send(mido.Message("note_off", note=36))
    faders.send(change(2, 127))
    assert eventually(lambda: board.state().knobs["up"].setpoint == 8.0)
    assert board.held(), "the pedal is down"
    faders.send(change(64, 0))
    assert eventually(lambda: not board.held())
    faders.send(mido.Message("note_on", note=37, velocity=1))
    assert eventually(lambda: board.stopping)


def test_a_connection_that_is_lost_releases(board: KnobBoard, address: tuple[str, int]) -> None:
    with Midi(board, "{}:{}".format(*address)):
        with socket.create_connection(address) as wire:
            wire.sendall(bytes(mido.Message("note_on", note=36, velocity=90).bytes()))
            assert eventually(board.held)
        assert eventually(lambda: not board.held())
        assert eventually(lambda: board.state().sources[0].age_s > 0.2), "no sign of life without a connection"
        with socket.create_connection(address) as wire:
            wire.sendall(bytes(mido.Message("note_on", note=36, velocity=90).bytes()))
            assert eventually(board.held), "a new press over a new connection"


def test_wrong_ports_and_mappings_are_refused(board: KnobBoard, address: tuple[str, int]) -> None:
    with pytest.raises(UnknownNameError, match="quick"):
        Midi(board, "{}:{}".format(*address), {1: "quick"})
    with socket.socket() as taken:
        taken.bind(address)
        taken.listen()
        with pytest.raises(OutputError, match="cannot listen"):
            Midi(board, "{}:{}".format(*address))
