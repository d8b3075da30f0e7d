"""Open Sound Control over UDP.

    /vlasteer/knob/<name>   value in the knob's units; without one, or "off": off
    /vlasteer/fader/<name>  position from 0 to 1
    /vlasteer/hold          1 at 10 Hz or faster while held, 0 when released
    /vlasteer/beat          a sign of life; any message is one
    /vlasteer/stop          without a value, or not 0
    /vlasteer/instruction   words
    /vlasteer/record        1 or 0
    /vlasteer/mark          a label, or nothing

UDP has no connection: a sender that falls silent for a knob's `stale_after_s` has lost it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from vlasteer.errors import ConfigError, InputError, MissingDependencyError, OutputError, UnknownNameError
from vlasteer.knobs import KnobBoard, Source
from vlasteer.launch.sources.faders import fader_value

if TYPE_CHECKING:
    from pythonosc.osc_server import BlockingOSCUDPServer

PREFIX = "/vlasteer/"
PORT = 9000


class Osc:
    """Serves in a thread of its own.

    Args:
        board: what is turned.
        host: address to listen at; whoever reaches it can turn knobs and hold, so keep it to this machine or a wire.
        port: 0 takes a free one.

    Attributes:
        address: where it listens, host and port.
        refused: the newest message that was not understood; "" for none.

    Raises:
        MissingDependencyError: python-osc is not installed.
        OutputError: the port is taken.
    """

    def __init__(self, board: KnobBoard, host: str = "127.0.0.1", port: int = PORT) -> None:
        self.refused = ""
        self._board = board
        try:
            self._server = _server(host, port, self._hear)
        except OSError as error:
            raise OutputError(
                f"OSC cannot listen at {host}:{port}: {error.strerror or error}", fix="Choose another port"
            ) from error
        self.address: tuple[str, int] = self._server.server_address[:2]  # pyright: ignore[reportAttributeAccessIssue]
        self._source = board.source("osc", live=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="osc", daemon=True)
        self._thread.start()

    def __enter__(self) -> Osc:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop serving and leave the board. Idempotent."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._source.close()

    def _hear(self, address: str, *values: Any) -> None:
        try:
            self._do(address, values)
        except (InputError, ValueError, TypeError) as error:
            self.refused = f"{address} {' '.join(map(str, values))}: {error}"

    def _do(self, address: str, values: tuple[Any, ...]) -> None:
        source, value = self._source, values[0] if values else None
        verb, _, name = address.removeprefix(PREFIX).partition("/")
        if verb == "knob":
            source.set(name, None if value is None or value == "off" else float(value))
        elif verb == "fader":
            if name not in self._board.knobs:
                raise UnknownNameError.among("knob", name, self._board.knobs)
            source.set(name, fader_value(self._board.knobs[name], float(value)))  # pyright: ignore[reportArgumentType]
        else:
            _simple(source, verb, value)


def _simple(source: Source, verb: str, value: Any) -> None:
    on = value is None or bool(value)
    if verb == "hold":
        source.hold(value is not None and on)
    elif verb == "beat":
        source.beat()
    elif verb == "stop":
        if on:
            source.stop()
    elif verb == "instruction":
        source.say(str(value or ""))
    elif verb == "record":
        source.record(on)
    elif verb == "mark":
        source.mark("" if value is None else str(value))
    else:
        known = ("knob", "fader", "hold", "beat", "stop", "instruction", "record", "mark")
        raise ConfigError(f"OSC address '{verb}'", expected=f"{PREFIX} and one of: {', '.join(known)}")


def _server(host: str, port: int, hear: Callable[..., None]) -> BlockingOSCUDPServer:
    try:
        from pythonosc.dispatcher import Dispatcher
        from pythonosc.osc_server import BlockingOSCUDPServer
    except ImportError as error:
        raise MissingDependencyError.for_extra("python-osc", "live") from error

    class Server(BlockingOSCUDPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """A datagram that is no OSC message is nobody's concern."""

    dispatcher = Dispatcher()
    dispatcher.set_default_handler(hear)
    return Server((host, port), dispatcher)
