"""`ur_rtde` with its traps in one place. Used in the servo process only: its constructors hold the interpreter lock,
and it may hang or crash its process when a controller misbehaves.

What it does that nobody expects (each is a test in tests/system/twin, test_hazards.py or test_watchdog.py), and where
that is dealt with:

| trap | dealt with |
|---|---|
| reconnects by itself after a drop, uploads its script unasked, crashes | the process leaves first (`servo`) |
| getters repeat the last value in a stall, `isConnected` says True | `RobotState.age_s`, by the controller's clock |
| the arm of a client that died moves on | `ControlClient.arm_watchdog` |
| a watchdog without heartbeats trips, and so does a blocking move | armed when targets flow; no blocking move here |
| a heartbeat goes to the register of commands, and there it replaces a target that was not read | targets alone |
| NaN, and limits of 3.14 rad/s and 40 rad/s² | the safety filter is in front of `servo` |
| servoL out of reach kills the script and says True | servoJ only |
| stopL/stopJ do not end a servo command | `ControlClient.stop` |
| a protective stop takes the script and the watchdog with it | `upload`, then `arm_watchdog` again |
| `waitPeriod` waits by the constructor's frequency | not used: the loop keeps its own time |
| setting the speed slider to 0 and back is a protective stop | it is read and never set |
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from vlasteer.errors import MissingDependencyError, VlasteerError, WorldError
from vlasteer.kinematics import Vector

LOOKAHEAD_S, GAIN = 0.1, 300.0
"""Of servoJ: the gentle end of what it takes (0.03 to 0.2 s, 100 to 2000)."""
SERVO_STOP_RAD_S2 = 5.0
PLAYING, STOPPED = 2, 1
"""Runtime states."""
ROBOT_MODE_RUNNING = 7
SAFETY_BITS = (
    "normal",
    "reduced mode",
    "protective stop",
    "recovery mode",
    "safeguard stop",
    "system emergency stop",
    "robot emergency stop",
    "emergency stop",
    "violation",
    "fault",
    "stopped for safety",
)
_MAY_MOVE = 0b11  # normal, reduced

_AT_REST = 0.02
"""rad/s. Motion begins at zero speed: an arm that is moved by hand meanwhile would be jerked."""


@dataclass(frozen=True)
class RobotState:
    """What the controller reports, and how old that is.

    Attributes:
        timestamp: the controller's clock, s.
        age_s: since that clock was last seen to advance, s; the only thing that tells a stall.
        connected: what the client thinks.
        q, qd: float64 [6] measured, rad and rad/s.
        tcp_pose: float64 [6] measured, base frame: m, rotation vector.
        tcp_speed: float64 [6] measured, m/s and rad/s.
        tcp_force: float64 [6] at the tool, N and N m.
        safety_bits, runtime_state, robot_mode: as the controller numbers them.
        speed_fraction: the speed slider, 0 to 1.
        received_s: monotonic clock when it was read.
    """

    timestamp: float
    age_s: float
    connected: bool
    q: Vector
    qd: Vector
    tcp_pose: Vector
    tcp_speed: Vector
    tcp_force: Vector
    safety_bits: int
    runtime_state: int
    robot_mode: int
    speed_fraction: float
    received_s: float

    @property
    def may_move(self) -> bool:
        """Whether nothing in the safety system or the arm's power is against it."""
        return self.safety_bits & ~_MAY_MOVE == 0 and self.robot_mode == ROBOT_MODE_RUNNING

    @property
    def at_rest(self) -> bool:
        """Whether the arm stands, by its measured joint speeds."""
        return bool(np.all(np.abs(self.qd) <= _AT_REST))

    @property
    def safety(self) -> str:
        """The safety state in words; the gravest first."""
        names = [name for bit, name in enumerate(SAFETY_BITS) if self.safety_bits >> bit & 1]
        grave = [name for name in names if name not in ("stopped for safety", "normal", "emergency stop")]
        if grave:
            return grave[0]
        if "emergency stop" in names:
            return "emergency stop"
        return "normal" if self.robot_mode == ROBOT_MODE_RUNNING else "not powered"

    @property
    def force_n(self) -> float:
        """Magnitude of the force at the tool, N."""
        return float(np.linalg.norm(self.tcp_force[:3]))


class ReceiveClient:
    """Reads the arm; needs no right to move it.

    Raises:
        WorldError: nobody answers at that address.
        MissingDependencyError: `ur_rtde` is not installed.
    """

    def __init__(self, host: str, rate_hz: float) -> None:
        try:
            import rtde_receive
        except ImportError as error:
            raise MissingDependencyError.for_extra("ur_rtde", "ur") from error
        self._client: Any = _connect(lambda: rtde_receive.RTDEReceiveInterface(host, rate_hz), host, "RTDE")
        self._timestamp, self._advanced_s = math.nan, time.monotonic()

    def read(self) -> RobotState:
        """The newest state; never waits."""
        client, now = self._client, time.monotonic()
        timestamp = client.getTimestamp()
        if timestamp != self._timestamp:
            self._timestamp, self._advanced_s = timestamp, now
        return RobotState(
            timestamp=timestamp,
            age_s=now - self._advanced_s,
            connected=client.isConnected(),
            q=np.array(client.getActualQ()),
            qd=np.array(client.getActualQd()),
            tcp_pose=np.array(client.getActualTCPPose()),
            tcp_speed=np.array(client.getActualTCPSpeed()),
            tcp_force=np.array(client.getActualTCPForce()),
            safety_bits=client.getSafetyStatusBits(),
            runtime_state=client.getRuntimeState(),
            robot_mode=client.getRobotMode(),
            speed_fraction=client.getTargetSpeedFraction(),
            received_s=now,
        )

    def payload(self) -> tuple[float, list[float]] | None:
        """Mass (kg) and centre of gravity (m) of the installation; None where the controller does not report them."""
        try:
            return float(self._client.getPayload()), list(self._client.getPayloadCog())
        except RuntimeError:  # controllers before 5.6 (3.11) have no such variables
            return None

    def runtime_state(self) -> int:
        """Whether a program runs, now."""
        return self._client.getRuntimeState()


class ControlClient:
    """Moves the arm by servoJ, and by nothing else. Making one uploads the control script and starts it.

    Every command returns whether the controller took it. Targets take 0.1 ms; the others wait for the script's answers,
    and so does the first target behind one of them, in a busy loop: not at a high priority.

    Raises:
        WorldError: in local control, the registers belong to somebody else, or the script does not start; the message
            says which.
    """

    def __init__(self, host: str, rate_hz: float, receive: ReceiveClient) -> None:
        import rtde_control

        self._receive, self._period = receive, 1.0 / rate_hz
        # At the controller's own rate: the answers to commands come with it.
        self._client: Any = _connect(lambda: rtde_control.RTDEControlInterface(host), host, "control")

    @property
    def connected(self) -> bool:
        """What the client thinks; see `RobotState.age_s` for what is so."""
        return self._client.isConnected()

    def servo(self, q: Vector) -> bool:
        """Joint angles (rad) to be at in one period. Feeds the watchdog, too, which waits for any command."""
        return self._client.servoJ(q.tolist(), 0.0, 0.0, self._period, LOOKAHEAD_S, GAIN)

    def arm_watchdog(self, hz: float) -> bool:
        """From now on the controller ends the program when no command comes for 1/hz s. Until the next upload."""
        return self._client.setWatchdog(hz)

    def stop(self) -> bool:
        """End the servo command, then the program. Waits until the arm stands (about 0.1 s)."""
        stopped = self._client.servoStop(SERVO_STOP_RAD_S2)
        self._client.stopScript()
        return stopped

    def upload(self, timeout_s: float = 3.0) -> bool:
        """Start the control script anew, without a watchdog; whether it runs."""
        if not self._client.reuploadScript():
            return False
        deadline = time.monotonic() + timeout_s
        while self._receive.runtime_state() != PLAYING or not self._client.isProgramRunning():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.002)
        return True

    def tcp_offset(self) -> Vector:
        """Pose [6] of the tool in the flange's frame that the controller computes with."""
        return np.array(self._client.getTCPOffset())

    def disconnect(self) -> None:
        """End the connection; half a second."""
        self._client.disconnect()


def _connect(make: Callable[[], Any], host: str, what: str) -> Any:
    try:
        return make()
    except (RuntimeError, ValueError, IndexError) as error:  # what the C++ side throws arrives as one of these
        raise _translated(str(error), host, what) from error


def _translated(message: str, host: str, what: str) -> VlasteerError:
    lower = message.lower()
    if "already in use" in lower:
        return WorldError(
            f"registers of {host} belong to somebody else",
            expected="no other client of the control registers",
            fix="End the other program, or switch off EtherNet/IP, Profinet and Modbus in the installation",
        )
    if "remote control" in lower:
        return WorldError(f"{host} is in local control", fix="Switch it to remote control at the pendant")
    if "control script" in lower or "timeout of 5 seconds" in lower:
        return WorldError(
            f"the control script does not start on {host}",
            expected="an arm that is powered, with its brakes released, and in no safety stop",
            fix="Look at the pendant",
        )
    return WorldError(f"no {what} connection to {host} ({message.strip()})", fix="Check the address and the cable")
