"""Connections of the line services and the network's faults, over a pretended transport."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twin_bench import CONTROL_SCRIPT, Bench

from vlasteer.robots.twin.connections import (
    Connection,
    DashboardConnection,
    GripperConnection,
    Network,
    ScriptConnection,
)

SERVICES = (DashboardConnection, GripperConnection, ScriptConnection)


class Wire(asyncio.Transport):
    """A transport that remembers."""

    def __init__(self) -> None:
        super().__init__()
        self.sent, self.aborted, self.reading, self.waiting = b"", False, True, 0

    def write(self, data: Any) -> None:
        self.sent += bytes(data)

    def abort(self) -> None:
        self.aborted = True

    def close(self) -> None:
        self.aborted = True

    def is_closing(self) -> bool:
        return self.aborted

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 5) if name == "peername" else default


@pytest.fixture
def network() -> Network:
    return Network(Bench().controller)


def connect(network: Network, kind: type[Connection]) -> tuple[Connection, Wire]:
    connection, wire = kind(network), Wire()
    connection.connection_made(wire)
    return connection, wire


def test_the_dashboard_greets_and_answers(network: Network) -> None:
    connection, wire = connect(network, DashboardConnection)
    assert wire.sent == b"Connected: Universal Robots Dashboard Server\n"
    connection.data_received(b"robotmo")
    connection.data_received(b"de\nrunning\nquit\n")
    assert wire.sent.split(b"\n")[1:] == [b"Robotmode: RUNNING", b"Program running: false", b"Disconnected", b""]
    assert wire.aborted
    entries, _ = network.controller.log.read(0, ("dashboard",))
    assert [entry["line"] for entry in entries] == ["robotmode", "running", "quit"]


def test_gripper_lines_in_one_piece_are_answered_one_by_one(network: Network) -> None:
    connection, wire = connect(network, GripperConnection)
    connection.data_received(b"GET ACT\nGET POS\nSET ACT 1\n")
    assert wire.sent == b"ACT 0\nPOS 0\nack"


def test_scripts_run_when_they_are_complete(network: Network) -> None:
    connection, _ = connect(network, ScriptConnection)
    text = CONTROL_SCRIPT.format(offset=0, path="").encode()
    connection.data_received(text[:100])
    assert not network.controller.program_running
    connection.data_received(text[100:])
    assert network.controller.program_running


@pytest.mark.parametrize("kind", [DashboardConnection, GripperConnection])
def test_endless_lines_end_the_connection(network: Network, kind: type[Connection]) -> None:
    connection, wire = connect(network, kind)
    for _ in range(10):
        connection.data_received(b"x" * 1000)
    assert wire.aborted


@given(kind=st.sampled_from(SERVICES), pieces=st.lists(st.binary(max_size=200), max_size=10))
def test_random_bytes_never_get_further_than_the_connection(kind: type[Connection], pieces: list[bytes]) -> None:
    bench = Bench()
    connection, wire = connect(Network(bench.controller), kind)
    for piece in pieces:
        if not wire.aborted:
            connection.data_received(piece)
    bench.run(0.05)


def test_a_stall_keeps_connections_and_says_nothing(network: Network) -> None:
    _, wire = connect(network, DashboardConnection)
    network.stall(True)
    assert not wire.reading
    assert not wire.aborted
    _, late = connect(network, DashboardConnection)
    assert late.sent == b""
    network.stall(False)
    assert wire.reading
    assert late.sent.startswith(b"Connected")


def test_a_drop_resets_everything_and_refusing_keeps_newcomers_out(network: Network) -> None:
    wires = [connect(network, kind)[1] for kind in SERVICES]
    network.refusing = True
    network.drop()
    assert all(wire.aborted for wire in wires)
    assert connect(network, DashboardConnection)[1].aborted
    network.refusing = False
    assert not connect(network, DashboardConnection)[1].aborted


def test_a_client_that_does_not_read_is_not_waited_for(network: Network) -> None:
    connection, wire = connect(network, DashboardConnection)
    wire.waiting = 1 << 30
    sent = wire.sent
    connection.data_received(b"robotmode\n")
    assert wire.sent == sent
