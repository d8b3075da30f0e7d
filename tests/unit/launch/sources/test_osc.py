"""OSC over the loopback, sent by the library's own client."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator

import pytest

pytest.importorskip("pythonosc", reason="the extra `live` is not installed")

from pythonosc.udp_client import SimpleUDPClient

from vlasteer.errors import OutputError
from vlasteer.knobs import Knob, KnobBoard
from vlasteer.launch.sources.osc import Osc


def eventually(condition: Callable[[], bool]) -> bool:
    for _ in range(500):
        if condition():
            return True
        time.sleep(0.01)
    return False


@pytest.fixture
def board() -> KnobBoard:
    return KnobBoard([Knob.feature("fast", 8.0), Knob.speed(), Knob.replan()])


@pytest.fixture
def osc(board: KnobBoard) -> Iterator[Osc]:
    with Osc(board, port=0) as server:
        yield server


@pytest.fixture
def client(osc: Osc) -> SimpleUDPClient:
    return SimpleUDPClient(*osc.address)


def test_knobs_and_faders(board: KnobBoard, client: SimpleUDPClient) -> None:
    def setpoint(name: str) -> float | None:
        return board.state().knobs[name].setpoint

    client.send_message("/vlasteer/knob/fast", 5.0)
    assert eventually(lambda: setpoint("fast") == 5.0)
    assert board.state().knobs["fast"].source == "osc"
    client.send_message("/vlasteer/fader/fast", 1.0)
    assert eventually(lambda: setpoint("fast") == 16.0)
    client.send_message("/vlasteer/fader/fast", 0.5)
    assert eventually(lambda: setpoint("fast") is None)
    client.send_message("/vlasteer/fader/speed", 0.0)
    assert eventually(lambda: setpoint("speed") == 0.05)
    client.send_message("/vlasteer/knob/fast", -3)
    assert eventually(lambda: setpoint("fast") == -3.0)
    client.send_message("/vlasteer/knob/fast", [])
    assert eventually(lambda: setpoint("fast") is None)


def test_hold_needs_repetition_and_stop_stops(board: KnobBoard, client: SimpleUDPClient) -> None:
    client.send_message("/vlasteer/hold", 1)
    assert eventually(board.held)
    assert eventually(lambda: not board.held()), "nothing was heard any more"
    client.send_message("/vlasteer/hold", 1)
    client.send_message("/vlasteer/mark", "after")
    assert eventually(lambda: "after" in board.read().marks)
    assert not board.held(), "a new press is needed"
    client.send_message("/vlasteer/hold", 0)
    client.send_message("/vlasteer/hold", 1)
    assert eventually(board.held)
    client.send_message("/vlasteer/stop", 0)
    client.send_message("/vlasteer/instruction", "push the red cube")
    assert eventually(lambda: board.state().instruction == "push the red cube")
    assert not board.stopping
    client.send_message("/vlasteer/stop", [])
    assert eventually(lambda: board.stopping)


def test_nonsense_is_remembered_and_survived(board: KnobBoard, osc: Osc, client: SimpleUDPClient) -> None:
    for address, value, said in [
        ("/vlasteer/knob/quick", 1.0, "unknown knob"),
        ("/vlasteer/knob/fast", "loud", "float"),
        ("/vlasteer/knob/fast", float("nan"), "NaN"),
        ("/vlasteer/dance", 1, "dance"),
        ("/vlasteer/fader/fast", [], "fader"),
    ]:
        client.send_message(address, value)
        assert eventually(lambda said=said: said in osc.refused), osc.refused
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as raw:
        for garbage in (b"", b"\xff" * 9, b"/vlasteer/knob/fast\x00,f\x00\x00\x01"):
            raw.sendto(garbage, osc.address)
    client.send_message("/vlasteer/knob/fast", 2.0)
    assert eventually(lambda: board.state().knobs["fast"].setpoint == 2.0)


def test_a_port_that_is_taken_is_said(board: KnobBoard) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(OutputError, match="cannot listen"):
            Osc(board, port=taken.getsockname()[1])
