"""The gripper's thread: against a server that can be told to misbehave, and against the twin's gripper."""

from __future__ import annotations

import math
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from vlasteer.errors import ConfigError, WorldError
from vlasteer.robots.twin import TwinProcess
from vlasteer.robots.ur.gripper import Grasp, GripperConfig, GripperThread


class FakeGripper(socketserver.ThreadingTCPServer):
    """Answers like a URCap; `lines` is what it was sent. `silent` takes questions and gives no answer."""

    allow_reuse_address = daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Session)
        self.registers = {"STA": 3, "ACT": 1, "POS": 0, "OBJ": 3, "FLT": 0}
        self.lines: list[str] = []
        self.silent = False
        self.sessions: set[socket.socket] = set()
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def port(self) -> int:
        return self.server_address[1]

    @property
    def sets(self) -> list[str]:
        return [line for line in list(self.lines) if line.startswith("SET")]

    def drop(self) -> None:
        for session in list(self.sessions):
            session.shutdown(socket.SHUT_RDWR)


class _Session(socketserver.StreamRequestHandler):
    server: FakeGripper

    def handle(self) -> None:
        self.server.sessions.add(self.request)
        try:
            for raw in self.rfile:
                self.answer(raw.decode().strip())
        except OSError:
            return
        finally:
            self.server.sessions.discard(self.request)

    def answer(self, line: str) -> None:
        self.server.lines.append(line)
        if self.server.silent:
            return
        word, *rest = line.split()
        if word == "GET":
            self.wfile.write(f"{rest[0]} {self.server.registers.get(rest[0], '?')}\n".encode())
            return
        values = dict(zip(rest[::2], map(int, rest[1::2]), strict=True))
        self.server.registers |= values
        if values.get("ACT") == 1:
            self.server.registers["STA"] = 3
        self.wfile.write(b"ack")


@pytest.fixture
def server() -> Iterator[FakeGripper]:
    with FakeGripper() as fake:
        yield fake
        fake.shutdown()


@pytest.fixture
def start(server: FakeGripper) -> Iterator[Callable[..., GripperThread]]:
    started: list[GripperThread] = []

    def begin(*, read_only: bool = False, **options: object) -> GripperThread:
        config = GripperConfig(port=server.port, **options)  # pyright: ignore[reportArgumentType]
        started.append(GripperThread("127.0.0.1", config, read_only=read_only))
        return started[-1]

    yield begin
    for gripper in started:
        gripper.close()


def until(condition: Callable[[], bool], timeout_s: float = 5.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


def test_an_opening_becomes_counts_speed_and_force(server, start) -> None:
    gripper = start(speed=1.0, force=0.2, open_count=3, closed_count=230)
    gripper.wait_ready()
    gripper.command(0.0)
    until(lambda: server.sets == ["SET POS 230 SPE 255 FOR 51 GTO 1"])
    gripper.command(2.0)
    until(lambda: server.sets[-1] == "SET POS 3 SPE 255 FOR 51 GTO 1")
    until(lambda: gripper.opening == 1.0)
    assert gripper.reading.grasp is Grasp.AT_TARGET
    assert gripper.problem == ""
    assert gripper.age_s < 5.0


def test_a_repeated_command_is_sent_once_a_second(server, start) -> None:
    gripper = start()
    gripper.wait_ready()
    for _ in range(20):
        gripper.command(0.0)
        time.sleep(0.01)
    until(lambda: bool(server.sets))
    assert len(server.sets) == 1
    time.sleep(1.0)
    gripper.command(0.0)  # the fingers may have been moved by hand
    until(lambda: len(server.sets) == 2)


@pytest.mark.parametrize("opening", [math.nan, math.inf])
def test_no_number_reaches_no_wire(server, start, opening) -> None:
    gripper = start()
    gripper.wait_ready()
    with pytest.raises(WorldError, match="opening"):
        gripper.command(opening)
    time.sleep(0.1)
    assert server.sets == []


def test_it_is_not_activated_unless_that_is_allowed(server, start) -> None:
    server.registers |= {"STA": 0, "ACT": 0}
    gripper = start()
    gripper.command(0.0)
    with pytest.raises(WorldError, match="not activated"):
        gripper.wait_ready(0.3)
    assert server.sets == []
    start(allow_activation=True).wait_ready()
    assert server.sets == ["SET ACT 1"]


def test_a_dry_run_only_reads(server, start) -> None:
    server.registers |= {"STA": 0, "ACT": 0}
    gripper = start(read_only=True, allow_activation=True)
    gripper.wait_ready()
    gripper.command(0.0)
    time.sleep(0.15)
    assert gripper.opening == 1.0
    assert server.sets == []


def test_after_a_loss_it_reads_again_and_repeats_no_command(server, start) -> None:
    gripper = start()
    gripper.wait_ready()
    gripper.command(0.0)
    until(lambda: len(server.sets) == 1)
    server.registers["STA"] = "?"  # as without power at the tool
    until(lambda: "does not answer" in gripper.problem)
    server.registers["STA"] = 3
    until(lambda: gripper.problem == "")
    assert len(server.sets) == 1
    gripper.command(0.0)  # the gripper may have been moved by hand meanwhile
    until(lambda: len(server.sets) == 2)


def test_a_command_that_could_not_be_sent_lapses(server, start) -> None:
    server.registers["STA"] = 1
    gripper = start()
    gripper.command(0.0)
    time.sleep(0.6)
    server.registers["STA"] = 3
    gripper.wait_ready()
    time.sleep(0.1)
    assert server.sets == []


def test_a_dropped_connection_is_seen_and_made_again(server, start) -> None:
    gripper = start()
    gripper.wait_ready()
    server.drop()
    until(lambda: gripper.problem != "")
    until(lambda: gripper.problem == "")


def test_a_gripper_that_says_nothing_delays_nobody(server, start) -> None:
    server.silent = True
    gripper = start()
    before = time.monotonic()
    for _ in range(100):
        gripper.command(0.5)
        assert math.isnan(gripper.opening)
    assert gripper.age_s == math.inf
    assert time.monotonic() - before < 1.0  # a hundred answers would take 100 s
    until(lambda: "does not answer" in gripper.problem)


def test_a_fault_is_told(server, start) -> None:
    server.registers["FLT"] = 14
    gripper = start()
    until(lambda: "fault 14" in gripper.problem)


def test_no_gripper_at_all() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        gripper = GripperThread("127.0.0.1", GripperConfig(port=free.getsockname()[1]))
        with pytest.raises(WorldError, match="not ready"):
            gripper.wait_ready(0.2)
        gripper.close()


def test_the_gripper_of_a_twin_closes_on_a_block_and_opens() -> None:
    with TwinProcess() as twin:
        twin.call("gripper_block", opening=0.5)
        gripper = GripperThread(twin.host, GripperConfig(speed=1.0, allow_activation=True))
        gripper.wait_ready()
        gripper.command(0.0)
        until(lambda: gripper.reading is not None and gripper.reading.grasp is Grasp.OBJECT_INSIDE)
        assert gripper.opening == pytest.approx(0.5, abs=0.01)
        gripper.command(1.0)
        until(lambda: gripper.opening > 0.98)
        gripper.close()
        assert [e["line"] for e in twin.log(0, "gripper") if "ACT 1" in e["line"]] == ["SET ACT 1"]


@pytest.mark.parametrize(
    "values", [{"speed": 1.5}, {"force": -0.1}, {"port": 0}, {"open_count": 200, "closed_count": 100}]
)
def test_configurations_that_cannot_be(values) -> None:
    with pytest.raises(ConfigError):
        GripperConfig(**values)
