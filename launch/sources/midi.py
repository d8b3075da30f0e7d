"""MIDI: control changes turn knobs, a pad or the sustain pedal holds.

Without a mapping, control change 1, 2, 3, ... turns the board's first, second, third, ... knob, from one end at 0 to
the other at 127; where a knob's rest lies inside of its range, 64 is the rest, or off if the knob begins off. Hold with
note 36 (the first pad of most pads) or the sustain pedal (control change 64); note 37 stops.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from vlasteer.errors import ConfigError, MissingDependencyError, OutputError, UnknownNameError
from vlasteer.knobs import KnobBoard
from vlasteer.launch.sources.faders import fader_value

HOLD_NOTE, STOP_NOTE, PEDAL = 36, 37, 64

_POLL_S = 0.005
_RENEW_S = 0.05
_CONNECTED_S = 0.5
"""How often a hardware port is asked whether it is still there."""


class Midi:
    """Listens in a thread of its own. A pad or pedal is no enabling device: MIDI does not notice a cut cable at once.

    Args:
        board: what is turned.
        port: name of a MIDI input, or part of it; host:port to listen there for a `mido` TCP client; default: the
            first input.
        mapping: control change -> knob name.

    Attributes:
        name: of the port that is listened to.
        mapping: as it is in force.

    Raises:
        MissingDependencyError: mido, or for hardware python-rtmidi, is not installed.
        UnknownNameError: there is no such port, or the mapping names no knob.
        OutputError: the TCP port is taken.
    """

    def __init__(self, board: KnobBoard, port: str | None = None, mapping: Mapping[int, str] | None = None) -> None:
        if mapping is None:
            mapping = {i + 1: name for i, name in enumerate(board.knobs) if i + 1 != PEDAL}
        for name in mapping.values():
            if name not in board.knobs:
                raise UnknownNameError.among("knob", name, board.knobs)
        self._board, self.mapping = board, dict(mapping)
        self._port, self.name = _open(port)
        self._source = board.source("midi", live=True)
        self._down: set[object] = set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="midi", daemon=True)
        self._thread.start()

    def __enter__(self) -> Midi:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the port and leave the board. Idempotent."""
        self._ended.set()
        self._thread.join()

    def hear(self, message: Any) -> None:
        """One `mido` message."""
        source = self._source
        if message.type == "control_change" and message.control == PEDAL and PEDAL not in self.mapping:
            self._key(PEDAL, message.value >= 64)
        elif message.type == "control_change" and message.control in self.mapping:
            knob = self._board.knobs[self.mapping[message.control]]
            position = 0.5 if message.value == 64 else message.value / 127
            source.set(knob.name, fader_value(knob, position))
        elif message.type in ("note_on", "note_off"):
            pressed = message.type == "note_on" and message.velocity > 0
            if message.note == HOLD_NOTE:
                self._key((message.channel, HOLD_NOTE), pressed)
            elif message.note == STOP_NOTE and pressed:
                source.stop()

    def _key(self, key: object, pressed: bool) -> None:
        (self._down.add if pressed else self._down.discard)(key)
        self._source.hold(bool(self._down))

    def _run(self) -> None:
        renewed = asked = time.monotonic()
        with self._source:
            while not self._ended.wait(_POLL_S):
                while (message := self._port.poll()) is not None:
                    self.hear(message)
                now = time.monotonic()
                if now - asked >= _CONNECTED_S or isinstance(self._port, _Network):
                    asked = now
                    if not self._connected():
                        if self._down:  # once: even a release is a sign of life
                            self._down.clear()
                            self._source.hold(False)
                        continue
                if now - renewed >= _RENEW_S:
                    renewed = now
                    self._source.beat()
                    if self._down:
                        self._source.hold(True)
            with suppress(OSError):
                self._port.close()

    def _connected(self) -> bool:
        if isinstance(self._port, _Network):
            return self._port.connected
        import mido

        return not self._port.closed and self.name in mido.get_input_names()  # pyright: ignore[reportAttributeAccessIssue]


class _Network:
    """A TCP port for `mido` clients. (`PortServer` itself waits for a message when it is polled.)"""

    def __init__(self, server: Any) -> None:
        self._server = server
        self._clients: list[Any] = []

    @property
    def connected(self) -> bool:
        """Whether a client is there."""
        return bool(self._clients)

    def poll(self) -> Any:
        """The next message, or None."""
        if (client := self._server.accept(block=False)) is not None:
            self._clients.append(client)
        for client in list(self._clients):
            try:
                if (message := client.poll()) is not None:
                    return message
            except (OSError, ValueError):  # reset, or closed
                client.close()
            if client.closed:
                self._clients.remove(client)
        return None

    def close(self) -> None:
        """Close the port and what is connected to it."""
        for client in self._clients:
            client.close()
        self._server.close()


def _open(wanted: str | None) -> tuple[Any, str]:
    """The port and its name."""
    try:
        import mido
        from mido.sockets import PortServer, parse_address
    except ImportError as error:
        raise MissingDependencyError.for_extra("mido", "live") from error
    if wanted is not None and ":" in wanted and wanted.rpartition(":")[2].isdigit() and " " not in wanted:
        try:
            host, number = parse_address(wanted)
            return _Network(PortServer(host, number)), wanted
        except ValueError as error:
            raise ConfigError(f"MIDI port '{wanted}'", expected="host:port, e.g. 127.0.0.1:9080") from error
        except OSError as error:
            raise OutputError(f"MIDI cannot listen at {wanted}: {error.strerror or error}") from error
    try:
        names: list[str] = mido.get_input_names()  # pyright: ignore[reportAttributeAccessIssue]
    except ImportError as error:
        raise MissingDependencyError.for_extra("python-rtmidi", "live") from error
    except OSError as error:  # what python-rtmidi raises where the system has no MIDI
        raise ConfigError(
            f"this machine has no MIDI ({error})",
            fix="Connect a device, or use --midi 127.0.0.1:9080 for MIDI over TCP",
        ) from error
    matching = [name for name in names if wanted is None or wanted.lower() in name.lower()]
    if not matching:
        raise UnknownNameError.among("MIDI input", wanted or "(any)", names)
    return mido.open_input(matching[0]), matching[0]  # pyright: ignore[reportAttributeAccessIssue]
