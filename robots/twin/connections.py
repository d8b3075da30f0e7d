"""Client connections of a twin, and the network faults that befall them all at once.

Everything runs in one event loop, so nothing here needs locks. A connection whose client sends what is no protocol is
closed, logged, and forgotten; the twin goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeVar

from vlasteer.robots.twin import dashboard, gripper
from vlasteer.robots.twin.rtde_frames import FrameError
from vlasteer.robots.twin.urscript import ScriptSyntaxError, UploadReader

if TYPE_CHECKING:
    from vlasteer.robots.twin.controller import Controller

SEND_BUFFER = 1 << 20
"""Bytes that may wait for a client that does not read, before its stream is interrupted."""


Kind = TypeVar("Kind", bound="Connection")


class Network:
    """All connections, and the faults of the wire.

    Attributes:
        controller: what the services serve.
        connections: those that are open.
        stalled: nothing is read or sent; connections stay open, as with a cable pulled from the switch behind.
        refusing: new connections are closed at once.
    """

    def __init__(self, controller: Controller) -> None:
        self.controller = controller
        self.connections: set[Connection] = set()
        self.stalled = self.refusing = False

    def stall(self, on: bool) -> None:
        """Begin or end a stall. What clients sent meanwhile arrives when it ends."""
        self.stalled = on
        for connection in self.connections:
            connection.stall(on)

    def drop(self) -> None:
        """Reset every connection but the hook channel's."""
        for connection in list(self.connections):
            connection.drop("dropped by a hook")

    def of(self, kind: type[Kind]) -> Iterator[Kind]:
        """Open connections of one service."""
        return (connection for connection in self.connections if isinstance(connection, kind))


class Connection(asyncio.Protocol):
    """One client. Subclasses give `receive`."""

    service = ""

    def __init__(self, network: Network) -> None:
        self.network, self.controller = network, network.controller
        self.transport: asyncio.Transport | None = None
        self.name = self.service
        self._why = "closed by the client"
        self._greeted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        host, port, *_ = transport.get_extra_info("peername") or ("?", 0)
        self.name = f"{self.service} {host}:{port}"
        if self.network.refusing:
            self.drop("refused by a hook")
            return
        self.network.connections.add(self)
        self.controller.log.add("connect", self.name)
        if self.network.stalled:
            self.stall(True)
        else:
            self._greeted = True
            self.greet()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone, or was sent away."""
        if self in self.network.connections:
            self.network.connections.discard(self)
            self.controller.log.add("disconnect", self.name, why=self._why if exc is None else str(exc))

    def data_received(self, data: bytes) -> None:
        """Bytes from the client."""
        try:
            self.receive(data)
        except (FrameError, ScriptSyntaxError) as error:
            self.controller.log.add("protocol_error", self.name, why=str(error))
            self.drop(f"protocol error: {error}")

    def receive(self, data: bytes) -> None:
        """Handle bytes.

        Raises:
            FrameError, ScriptSyntaxError: they cannot be; the connection is closed.
        """
        raise FrameError("this service takes nothing")

    def greet(self) -> None:
        """Say what is said first."""

    def send(self, data: bytes) -> bool:
        """Send, unless the wire is stalled or the client stopped reading; False then."""
        transport = self.transport
        if transport is None or self.network.stalled or transport.is_closing():
            return False
        if transport.get_write_buffer_size() > SEND_BUFFER:
            return False
        transport.write(data)
        return True

    def stall(self, on: bool) -> None:
        """Stop reading, or go on."""
        if self.transport is not None and not self.transport.is_closing():
            (self.transport.pause_reading if on else self.transport.resume_reading)()
        if not on and not self._greeted:
            self._greeted = True
            self.greet()

    def drop(self, why: str) -> None:
        """Reset the connection."""
        self._why = why
        if self.transport is not None:
            self.transport.abort()

    def close(self) -> None:
        """Close the connection when what was sent has gone out."""
        self._why = "closed by the twin"
        if self.transport is not None:
            self.transport.close()


class ScriptConnection(Connection):
    """Ports 30001-30003: takes scripts. Approximation: the streams that real controllers send there are missing."""

    service = "script"

    def __init__(self, network: Network) -> None:
        super().__init__(network)
        self._reader = UploadReader()

    def receive(self, data: bytes) -> None:
        """Run every program that is complete."""
        for upload in self._reader.feed(data):
            self.controller.load(upload, self.name)


class LineConnection(Connection):
    """A service of text lines."""

    max_line = 1024

    def __init__(self, network: Network) -> None:
        super().__init__(network)
        self._buffer = b""

    def receive(self, data: bytes) -> None:
        """Answer every complete line."""
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        if len(self._buffer) > self.max_line or any(len(line) > self.max_line for line in lines):
            raise FrameError(f"a line of more than {self.max_line} bytes")
        for line in lines:
            self.line(line.decode("utf-8", errors="replace").strip())

    def line(self, text: str) -> None:
        """Handle one line."""


class DashboardConnection(LineConnection):
    """Port 29999."""

    service, max_line = "dashboard", dashboard.MAX_LINE

    def greet(self) -> None:
        """The banner."""
        self.send(dashboard.BANNER.encode() + b"\n")

    def line(self, text: str) -> None:
        """Carry out a command."""
        reply = dashboard.answer(self.controller, text)
        self.controller.log.add("dashboard", self.name, line=text, reply=reply)
        self.send(reply.encode() + b"\n")
        if dashboard.closes(text):
            self.close()


class GripperConnection(LineConnection):
    """Port 63352."""

    service, max_line = "gripper", gripper.MAX_LINE

    def line(self, text: str) -> None:
        """Read or write gripper registers."""
        reply = self.controller.gripper.answer(text, powered=self.controller.safety.powered)
        if text.startswith("SET"):  # GETs are polled, and would fill the log
            self.controller.log.add("gripper", self.name, line=text, reply=reply)
        self.send(reply.encode())
