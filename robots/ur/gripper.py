"""A Robotiq gripper over the socket of its URCap (port 63352), in a thread of its own: it never delays the servo loop.

Protocol: lines of ASCII. `GET POS` answers `POS 3` with a newline, `SET POS 255 SPE 128 FOR 76 GTO 1` answers `ack`
without one. Registers, from Robotiq's 2F-85 manual: STA 3 is activated; OBJ 0 moving, 1 and 2 stopped at an object,
3 at the target; FLT 0 is no fault; positions count from 0 (open) to 255 (closed).

Losing the gripper is seen in `problem`; it hinders nobody from stopping the arm. After a loss it is connected to again,
but what was commanded before is not: a command that could not be sent at once lapses.
"""

from __future__ import annotations

import math
import socket
import threading
import time
from dataclasses import dataclass
from enum import IntEnum

from vlasteer.errors import ConfigError, WorldError


@dataclass(frozen=True, kw_only=True)
class GripperConfig:
    """A Robotiq gripper on the controller's port 63352 (its URCap has to be installed).

    Attributes:
        port: TCP port of the URCap.
        speed: fraction of its largest speed, 0 to 1.
        force: fraction of its largest force, 0 to 1.
        open_count: what it reports as its position when it is open, 0 to 255.
        closed_count: the same when it is closed; a real 2F-85 comes to about 3 and 230.
        allow_activation: whether it may be activated if it is not. Activating opens and closes a real gripper all the
            way: it drops what it holds and pinches what is between. Off: activate it on the pendant.
    """

    port: int = 63352
    speed: float = 0.5
    force: float = 0.3
    open_count: int = 0
    closed_count: int = 255
    allow_activation: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.port < 65536:
            raise ConfigError(f"port {self.port}", expected="1 to 65535")
        for name, value in (("speed", self.speed), ("force", self.force)):
            if not 0 <= value <= 1:
                raise ConfigError(f"{name} {value}", expected="a fraction from 0 to 1")
        if not 0 <= self.open_count < self.closed_count <= 255:
            raise ConfigError(
                f"open_count {self.open_count}, closed_count {self.closed_count}",
                expected="0 to 255 each, the first below the second",
            )


class Grasp(IntEnum):
    """The register OBJ: what the fingers are at."""

    MOVING = 0
    OBJECT_OUTSIDE = 1
    """Stopped by something while opening."""
    OBJECT_INSIDE = 2
    """Stopped by something while closing: holding it."""
    AT_TARGET = 3


@dataclass(frozen=True)
class GripperReading:
    """One reading.

    Attributes:
        opening: 0 closed to 1 open.
        grasp: what the fingers are at.
        active: whether it is activated; one that is not takes no commands.
        time_s: monotonic clock.
    """

    opening: float
    grasp: Grasp
    active: bool
    time_s: float


class GripperThread:
    """Keeps one gripper read and commanded; `close` it.

    Args:
        host: the controller's address.
        config: port, speed, force, calibration.
        read_only: never send anything but `GET` (dry runs).

    Any thread may call any method; none of them waits for the network, but `wait_ready` and `close`.
    """

    def __init__(self, host: str, config: GripperConfig | None = None, *, read_only: bool = False) -> None:
        self.host, self.config, self.read_only = host, config or GripperConfig(), read_only
        self._lock = threading.Lock()
        self._woken, self._ready, self._ended = threading.Event(), threading.Event(), threading.Event()
        self._reading: GripperReading | None = None
        self._wanted: tuple[int, float] | None = None  # count, and when it was asked for
        self._sent: int | None = None
        self._sent_s = -math.inf
        self._problem = "not connected yet"
        self._thread = threading.Thread(target=self._run, name="gripper", daemon=True)
        self._thread.start()

    def command(self, opening: float) -> None:
        """Ask for an opening, 0 closed to 1 open; beyond that it is clipped.

        Repeating one sends it once a second: somebody else may have moved the fingers meanwhile.

        Raises:
            WorldError: it is not finite; nothing was sent.
        """
        if not math.isfinite(opening):
            raise WorldError(f"gripper opening {opening}", expected="a number from 0 to 1")
        if self.read_only:
            return
        c = self.config
        count = round(c.closed_count + (c.open_count - c.closed_count) * min(max(opening, 0.0), 1.0))
        now = time.monotonic()
        with self._lock:
            if count != self._sent or self._wanted is not None or now - self._sent_s > _REPEAT_S:
                self._wanted = (count, now)
                self._woken.set()

    @property
    def opening(self) -> float:
        """The newest measured opening, 0 closed to 1 open; NaN before the first."""
        reading = self.reading
        return math.nan if reading is None else reading.opening

    @property
    def reading(self) -> GripperReading | None:
        """The newest reading; None before the first."""
        with self._lock:
            return self._reading

    @property
    def age_s(self) -> float:
        """Age of the newest reading; infinite before the first."""
        reading = self.reading
        return math.inf if reading is None else time.monotonic() - reading.time_s

    @property
    def problem(self) -> str:
        """What is wrong, in words for people; "" when nothing is."""
        with self._lock:
            return self._problem

    def wait_ready(self, timeout_s: float = 5.0) -> None:
        """Wait until it is read and, unless `read_only`, activated.

        Raises:
            WorldError: it was not in that time.
        """
        if not self._ready.wait(timeout_s):
            raise WorldError(
                f"the gripper at {self.host}:{self.config.port} is not ready: {self.problem or 'it does not answer'}",
                fix="Activate it on the pendant, allow gripper.allow_activation, or set gripper to null",
            )

    def close(self) -> None:
        """End the thread and the connection; the gripper stays as it is. Idempotent."""
        self._ended.set()
        self._woken.set()
        self._thread.join(2 * _TIMEOUT_S)

    # --- the thread ---------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                with _Line(self.host, self.config.port) as line:
                    self._serve(line)
            except (OSError, ValueError) as error:  # ValueError: an answer that is no number
                with self._lock:
                    self._problem = f"the gripper does not answer ({error or type(error).__name__})"
                    self._sent = None
            self._ended.wait(_RECONNECT_S)

    def _serve(self, line: _Line) -> None:
        while not self._ended.is_set():
            self._woken.clear()
            active = self._activated(line)
            self._send(line, active)
            grasp = Grasp(line.get("OBJ"))
            fault = line.get("FLT")
            c = self.config
            opening = (c.closed_count - line.get("POS")) / (c.closed_count - c.open_count)
            with self._lock:
                self._reading = GripperReading(min(max(opening, 0.0), 1.0), grasp, active, time.monotonic())
                self._problem = f"the gripper reports fault {fault}" if fault else "" if active else "not activated"
            if active or self.read_only:
                self._ready.set()
            self._woken.wait(_PERIOD_S)

    def _activated(self, line: _Line) -> bool:
        if line.get("STA") == _ACTIVE:
            return True
        if self.config.allow_activation and not self.read_only and line.get("ACT") == 0:
            line.set(ACT=1)
        return False

    def _send(self, line: _Line, active: bool) -> None:
        with self._lock:
            wanted, self._wanted = self._wanted, None
        if wanted is None or not active or time.monotonic() - wanted[1] > _LAPSES_S:
            return
        count, _ = wanted
        line.set(POS=count, SPE=round(255 * self.config.speed), FOR=round(255 * self.config.force), GTO=1)
        with self._lock:
            self._sent, self._sent_s = count, time.monotonic()


_PERIOD_S = 0.05
_TIMEOUT_S = 1.0
_RECONNECT_S = 0.5
_LAPSES_S = 0.5
_REPEAT_S = 1.0
_ACTIVE = 3  # of the register STA


class _Line:
    """The connection: one question, one answer."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port), _TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> _Line:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def get(self, name: str) -> int:
        """Value of a register.

        Raises:
            OSError: the connection is gone.
            ValueError: an answer that is none; `POS ?` is what comes while the tool has no power.
        """
        answer = self._ask(f"GET {name}", b"\n")
        word, _, value = answer.partition(" ")
        if word != name or not value.isdecimal():
            raise ValueError(f"it answers '{answer}' to GET {name}")
        return int(value)

    def set(self, **values: int) -> None:
        """Write registers, in this order.

        Raises:
            OSError: the connection is gone.
            ValueError: it was refused.
        """
        answer = self._ask("SET " + " ".join(f"{name} {value}" for name, value in values.items()), b"ack")
        if answer != "ack":
            raise ValueError(f"it answers '{answer}' to SET")

    def _ask(self, line: str, end: bytes) -> str:
        self._socket.sendall(line.encode() + b"\n")
        answer, deadline = b"", time.monotonic() + _TIMEOUT_S
        while not answer.endswith((end, b"?\n")):
            self._socket.settimeout(max(deadline - time.monotonic(), 1e-3))
            more = self._socket.recv(256)
            if not more or len(answer) > _LONGEST:
                raise ConnectionError("it closed the connection" if not more else "it does not stop talking")
            answer += more
        return answer.decode("ascii", "replace").strip()


_LONGEST = 256
