"""The hook channel (port 29900): how a test in another process calls `hooks`. A real controller has nothing like it.

A request is one JSON object on a line, `{"hook": name, "arguments": {...}}`. The reply is one JSON object on a line:
`{"ok": true, "result": ...}` or `{"ok": false, "error": message}`. An array comes as `{"ok": true, "array": {"shape":
..., "dtype": ...}, "t": clock}` followed by its bytes in C order. Replies come in the order of the requests. The
channel is not part of the network that `stall` and `drop` act on.
"""

from __future__ import annotations

import asyncio
import json
import math
import socket
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlasteer.errors import InputError, VlasteerError, WorldError
from vlasteer.robots.twin import hooks
from vlasteer.robots.twin.settings import HOOK_PORT

_MAX_REQUEST = 1 << 16
_QUIET = ("state", "log", "trace", "camera", "cameras", "hooks")  # reading is not logged


class HookConnection(asyncio.Protocol):
    """Server side: one test."""

    def __init__(self, twin: hooks.Twin) -> None:
        self._twin = twin
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        self._work: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A test is there."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._twin.channels.add(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """The test has gone."""
        if self._transport is not None:
            self._twin.channels.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        """Answer every complete request."""
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        if len(self._buffer) > _MAX_REQUEST and self._transport is not None:
            self._transport.abort()
            return
        for line in lines:
            self._work = asyncio.ensure_future(self._serve(line, self._work))

    async def _serve(self, line: bytes, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await before
        head, body = await self._reply(line)
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(json.dumps(head).encode() + b"\n" + body)

    async def _reply(self, line: bytes) -> tuple[dict[str, Any], bytes]:
        now = self._twin.controller.time_s  # of what is looked at, not of when it was ready to be sent
        try:
            name, arguments = _parse(line)
            if name not in _QUIET:
                self._twin.controller.log.add("hook", "hook channel", name=name, arguments=arguments)
            result = hooks.call(self._twin, name, arguments)
            if asyncio.isfuture(result):
                result = await result
        except VlasteerError as error:
            return {"ok": False, "error": str(error)}, b""
        # A test may hand a hook anything; what Python makes of it goes back to the test, and the twin lives.
        except (TypeError, ValueError, OverflowError) as error:
            return {"ok": False, "error": f"{type(error).__name__}: {error}"}, b""
        if isinstance(result, np.ndarray):
            shape = {"shape": list(result.shape), "dtype": str(result.dtype)}
            return {"ok": True, "array": shape, "t": now}, result.tobytes()
        return {"ok": True, "result": result}, b""


def _parse(line: bytes) -> tuple[str, dict[str, Any]]:
    try:
        request = json.loads(line)
        name, arguments = request["hook"], request.get("arguments", {})
    except (ValueError, TypeError, KeyError, RecursionError, AttributeError) as error:
        raise InputError("a request that is no JSON object with a 'hook'") from error
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise InputError("a request with a 'hook' that is no name, or 'arguments' that are no object")
    return name, arguments


class HookClient:
    """Test side: calls hooks of a twin in another process.

    Raises:
        WorldError: no twin answers there.
    """

    def __init__(self, host: str, timeout_s: float = 10.0) -> None:
        self.host = host
        try:
            self._socket = socket.create_connection((host, HOOK_PORT), timeout_s)
        except OSError as error:
            raise WorldError(
                f"no twin answers at {host}:{HOOK_PORT} ({error.strerror})", fix=f"Run: vlasteer twin --host {host}"
            ) from error
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self._socket.makefile("rb")

    def call(self, hook: str, **arguments: Any) -> Any:
        """Call a hook and return its result: JSON, or an array.

        Raises:
            InputError: the twin refuses the hook or its arguments.
            WorldError: the twin has gone.
        """
        return self.call_timed(hook, **arguments)[0]

    def call_timed(self, hook: str, **arguments: Any) -> tuple[Any, float]:
        """Like `call`, with the controller's clock beside an array (NaN beside everything else)."""
        try:
            self._socket.sendall(json.dumps({"hook": hook, "arguments": arguments}).encode() + b"\n")
            line = self._file.readline()
            if not line:
                raise WorldError("the twin closed its hook channel")
            reply = json.loads(line)
            if not reply["ok"]:
                raise InputError(f"twin: {reply['error']}")
            if "array" not in reply:
                return reply["result"], math.nan
            return _read_array(self._file.read, reply["array"]), reply["t"]
        except OSError as error:
            raise WorldError(f"the twin at {self.host} does not answer any more ({error})") from error

    def state(self) -> dict[str, Any]:
        """Everything of interest now; see `hooks.state`."""
        return self.call("state")

    def log(self, since: int = 0, kinds: tuple[str, ...] = ()) -> list[dict[str, Any]]:
        """The wire log from entry number `since` on; see `wire_log` for its entries."""
        entries: list[dict[str, Any]] = []
        until = None
        while until is None or since < until:
            portion = self.call("log", since=since, kinds=list(kinds))
            entries += portion["entries"]
            since, until = portion["next"], until or portion["count"]
        return entries

    def trace(self, since: float = 0.0) -> NDArray[np.float64]:
        """The motion trace from that controller clock on; see `MotionTrace`."""
        return self.call("trace", since=since)

    def camera(self, name: str) -> tuple[NDArray[np.uint8], float]:
        """A camera's picture, and the controller's clock at the moment that it shows."""
        return self.call_timed("camera", name=name)

    def close(self) -> None:
        """Close the channel. Idempotent."""
        self._file.close()
        self._socket.close()


def _read_array(read: Any, description: dict[str, Any]) -> NDArray[Any]:
    dtype, shape = np.dtype(description["dtype"]), tuple(description["shape"])
    size = dtype.itemsize * math.prod(shape)
    body = read(size)
    if len(body) != size:
        raise WorldError("the twin went away in the middle of an array")
    return np.frombuffer(body, dtype).reshape(shape).copy()
