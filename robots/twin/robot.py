"""The robot below its programs: arm, gripper, safety, registers, and what is measured of them.

Programs act on a `Robot`; what they cannot do themselves, ending or pausing a program, they ask for, and `Controller`
does it.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from vlasteer.kinematics import Vector
from vlasteer.robots.twin.arm import Arm
from vlasteer.robots.twin.gripper import RobotiqGripper
from vlasteer.robots.twin.io_state import IoState
from vlasteer.robots.twin.motion import MotionEngine, SpeedJoints
from vlasteer.robots.twin.plant import Plant
from vlasteer.robots.twin.safety import SafetySystem
from vlasteer.robots.twin.settings import TwinSettings
from vlasteer.robots.twin.states import RuntimeState
from vlasteer.robots.twin.wire_log import WireLog

PROGRAM_STOP = 10.0
"""Deceleration when a program ends or pauses, rad/s^2."""
CONTACT_FORCE = 15.0
"""Force against a direction that `tool_contact` calls contact, N."""

_HISTORY = 500  # control periods that joint positions are remembered


class Robot:
    """State and measurements.

    Attributes:
        settings, version, dt: what it is; its control period in s.
        ticks: control periods since the start.
        arm, plant, engine, gripper, io, safety: its parts.
        runtime_state: of the program; set by the controller.
        log: what tests read.
        payload, payload_cog, payload_inertia: kg, m, kg m^2.
        freedrive: whether a program put it into freedrive.
        remote_control: whether scripts and remote dashboard commands are taken.
        tcp_error: hook: what the measured TCP position [3] is off by, as on an arm with another calibration.
        force_offset: wrench [6] that `zero_ftsensor` took off.
        watchdog: input variable that has to be written, and the longest time between two writes in s; None: off.
        stop_request: reason of a protective stop that a program asked for; "" is none.
    """

    def __init__(self, settings: TwinSettings, plant: Plant, log: WireLog | None = None) -> None:
        self.settings, self.version = settings, settings.controller
        self.dt = 1.0 / self.version.rate_hz
        self.ticks = 0
        self.log = log or WireLog()
        self.io = IoState()
        self.plant, self.arm = plant, Arm(settings.arm)
        self.engine = MotionEngine(self.arm, np.array(settings.joints, np.float64))
        self.gripper = RobotiqGripper(plant)
        self._history: deque[Vector] = deque(maxlen=_HISTORY)
        self.reset()

    def reset(self) -> None:
        """Back to the state that the settings describe. Clock and log go on, and registers keep their values."""
        settings = self.settings
        self.runtime_state = RuntimeState.STOPPED
        self.safety = SafetySystem(powered=settings.powered)
        self.safety.tick(self.time_s)
        self.io.reset()
        self.remote_control, self.freedrive = settings.remote_control, False
        self.payload = settings.payload
        self.payload_cog: tuple[float, ...] = (0.0,) * 3
        self.payload_inertia: tuple[float, ...] = (0.0,) * 6
        self.tcp_error, self.force_offset = np.zeros(3), np.zeros(6)
        self.watchdog: tuple[str, float] | None = None
        self.watched_since = 0.0
        self.stop_request = ""
        self._pressed_for = 0
        self.inject_wrench(np.zeros(6), np.inf)
        self.arm.set_tcp(np.array(settings.tcp, np.float64))
        self.place(np.array(settings.joints, np.float64))
        self.gripper.reset()

    @property
    def time_s(self) -> float:
        """Clock since the start, s."""
        return self.ticks * self.dt

    @property
    def program_running(self) -> bool:
        """Whether a program plays."""
        return self.runtime_state == RuntimeState.PLAYING

    @property
    def speed_scaling(self) -> float:
        """What motions are scaled by: the slider while a program plays."""
        return self.io.speed_slider if self.program_running else 0.0

    def act(self) -> None:
        """Let the plant follow the setpoint for one control period, and take note of what it did."""
        self.plant.step(self.engine.q, self.engine.qd, self.dt)
        self.gripper.tick(self.dt)
        self._history.append(self.plant.q)
        if self.time_s > self._wrench_until:
            self.inject_wrench(np.zeros(6), np.inf)
        self._pressed_for = self._pressed_for + 1 if self.force > CONTACT_FORCE else 0

    def place(self, q: Vector) -> None:
        """Put the arm elsewhere at rest, as a hand would while the program is paused."""
        self.plant.place(q)
        self.engine.place(q)
        self._history.clear()
        self._history.append(q)

    def lead(self, speed: Vector | None) -> None:
        """Move the joints at that speed (rad/s) from now on, as a hand does in freedrive; None: the hand lets go."""
        engine = self.engine
        if speed is None:
            engine.stop(PROGRAM_STOP)
        else:
            engine.motion = SpeedJoints(engine.q, engine.qd, speed, PROGRAM_STOP)

    def set_tcp(self, tcp: Vector) -> None:
        """Change the tool; ignored when it is not finite."""
        if np.all(np.isfinite(tcp)):
            self.arm.set_tcp(tcp)

    def set_freedrive(self, on: bool) -> None:
        """Enter or leave freedrive; the arm stays where it is, for nobody is here to push it."""
        self.freedrive = on
        if on:
            self.engine.stop(PROGRAM_STOP)

    def arm_watchdog(self, variable: str, hz: float) -> None:
        """End the program when `variable` is not written at least `hz` times a second; 0 takes the watchdog off."""
        self.watchdog = (variable, 1.0 / hz) if hz > 0 else None
        self.watched_since = self.time_s
        self.log.add("watchdog", "controller", tripped=False, armed=hz > 0, hz=hz)

    @property
    def watchdog_starved(self) -> bool:
        """Whether the watchdog's variable was not written in time."""
        if self.watchdog is None:
            return False
        name, period = self.watchdog
        return self.time_s - max(self.io.written_at.get(name, 0.0), self.watched_since) > period + 1e-9

    # --- forces -------------------------------------------------------------------------------------------------------

    def inject_wrench(self, wrench: Vector, seconds: float) -> None:
        """Push the TCP with a wrench [6] (base frame, N and N m) for that long."""
        self._injected, self._wrench_until = wrench, self.time_s + seconds

    def wrench(self) -> Vector:
        """Wrench [6] on the TCP, base frame, N and N m: the plant's and the injected one."""
        return self.plant.wrench() + self._injected

    @property
    def force(self) -> float:
        """Magnitude of its force, N."""
        return float(np.linalg.norm(self.wrench()[:3]))

    def contact_steps(self, direction: Vector) -> int:
        """`tool_contact`: control periods since something presses against `direction` (zeros: any), 0 without."""
        force, towards = self.wrench()[:3], direction[:3]
        length = float(np.linalg.norm(towards))
        against = float(np.linalg.norm(force)) if length < 1e-9 else -float(force @ towards) / length
        return min(self._pressed_for, _HISTORY - 1) if against > CONTACT_FORCE else 0

    def history(self, steps: int) -> Vector:
        """Measured joint angles [6] that many control periods ago, as far as they are remembered."""
        return self._history[max(-len(self._history), -1 - max(0, steps))]
