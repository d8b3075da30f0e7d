"""The controller: safety, program, motion and plant, advanced together once per control period. No sockets here.

`tick` is deterministic and looks at no clock of the machine, so tests can run a controller far faster than real time;
`service` calls it at the control rate. The order of a period: safety transitions, watchdog, program, motion, plant.

Approximations beside those of the parts: a program stop brakes with 10 rad/s^2 and a safety stop with 20 rad/s^2, in
joint space (stopping distances of a real arm depend on its load and settings); a tracking error over 0.2 rad or a force
over 250 N is a protective stop.
"""

from __future__ import annotations

import numpy as np

from vlasteer.robots.twin.control_script import ControlScript
from vlasteer.robots.twin.motion import MotionError
from vlasteer.robots.twin.plant import Plant
from vlasteer.robots.twin.program import Program, ScriptError
from vlasteer.robots.twin.readings import Readings
from vlasteer.robots.twin.robot import PROGRAM_STOP, Robot
from vlasteer.robots.twin.settings import TwinSettings
from vlasteer.robots.twin.statements import StatementProgram
from vlasteer.robots.twin.states import MAY_MOVE, UNPOWERED, RobotMode, RuntimeState, SafetyMode
from vlasteer.robots.twin.urscript import ScriptSyntaxError, Upload
from vlasteer.robots.twin.wire_log import MotionTrace, WireLog

SAFETY_STOP = 20.0
"""Deceleration of protective and emergency stops, rad/s^2."""
TRACKING_LIMIT = 0.2
"""Largest difference between setpoint and measured joint angle, rad."""
FORCE_LIMIT = 250.0
"""Largest force on the TCP, N."""


class Controller(Robot):
    """A robot that runs programs.

    Attributes:
        program: what plays or is paused.
        never_start: hook: uploads are taken and never run.
        readings: measurements of this control period.
        trace: every setpoint and measurement.
    """

    def __init__(self, settings: TwinSettings, plant: Plant, log: WireLog | None = None) -> None:
        self.trace = MotionTrace()
        super().__init__(settings, plant, log)

    def reset(self) -> None:
        """Back to the state that the settings describe; the clock, the log and the registers go on."""
        self.program: Program | None = None
        self.never_start = False
        self._reported: tuple[RobotMode, SafetyMode] | None = None
        super().reset()
        self.readings = Readings(self)

    def tick(self) -> None:
        """Let one control period pass."""
        self.ticks += 1
        self.log.time_s = self.time_s
        self.safety.tick(self.time_s)
        self._check_inputs()
        if self.program_running and self.program is not None:
            self._run(self.program)
        self._move()
        self._follow_up()
        self.readings = Readings(self)
        self.trace.add(self.time_s, self.engine.q, self.plant.q)
        self._report()

    def _check_inputs(self) -> None:
        if self.io.slider_fault:
            self.io.slider_fault = False
            if self.program_running:
                self.protective_stop("the speed slider left 0 while a program was playing")
        if self.watchdog is not None and self.watchdog_starved:
            name, period = self.watchdog
            self.log.add("watchdog", "controller", tripped=True, armed=False, hz=1 / period)
            self.stop_program(f"watchdog: {name} was not written for {period:.3f} s")
        if self.force > FORCE_LIMIT and self.safety.may_move:
            self.protective_stop(f"a force of {self.force:.0f} N on the TCP")

    def _run(self, program: Program) -> None:
        try:
            if not program.tick():
                self.stop_program("ended")
        except ScriptError as error:
            self.stop_program(f"script error: {error}")
        if self.stop_request:
            reason, self.stop_request = self.stop_request, ""
            self.protective_stop(reason)

    def _move(self) -> None:
        scale = self.io.speed_slider
        try:
            self.engine.tick(self.dt, scale)
        except MotionError as fault:
            self.protective_stop(str(fault))
            try:
                self.engine.tick(self.dt, scale)
            except MotionError:  # no room to brake before the end of a joint's range
                self.engine.place(self.engine.q)
        self.act()
        error = float(np.abs(self.engine.q - self.plant.q).max())
        if not error <= TRACKING_LIMIT and self.safety.may_move:  # also when a physics engine gave NaN
            self.protective_stop(f"the arm is {error:.2f} rad from where it should be")

    def _follow_up(self) -> None:
        if self.runtime_state == RuntimeState.RESUMING:
            self._set_runtime(RuntimeState.PLAYING)
        elif not self.engine.moving and self.runtime_state == RuntimeState.STOPPING:
            self._set_runtime(RuntimeState.STOPPED)
        elif not self.engine.moving and self.runtime_state == RuntimeState.PAUSING:
            self._set_runtime(RuntimeState.PAUSED)

    # --- programs -----------------------------------------------------------------------------------------------------

    def load(self, upload: Upload, source: str) -> bool:
        """Run an uploaded program in place of the one that runs; False when it is not taken or not started."""
        problem, program = self._refusal(), None
        if not problem:
            try:
                program = ControlScript(upload, self) if upload.is_control_script else StatementProgram(upload, self)
            except ScriptSyntaxError as error:
                problem = str(error)
        path = len(upload.path()) if isinstance(program, ControlScript) else 0
        entry = {"program": upload.name, "bytes": len(upload.source), "path": path}
        self.log.add("script", source, **entry, accepted=not problem, why=problem)
        if program is None or self.never_start:
            return False
        if self.engine.moving:
            self.engine.stop(PROGRAM_STOP)
        self.watchdog, self.program = None, program
        self._set_runtime(RuntimeState.PLAYING)
        return True

    def _refusal(self) -> str:
        if not self.remote_control and not self.version.cb3:
            return "not in remote control"
        return "" if self.safety.may_move else f"{self.safety.robot_mode.name}, {self.safety.safety_mode.name}"

    def stop_program(self, why: str) -> None:
        """End the program, playing or paused, and brake."""
        if self.program is None:
            return
        self.watchdog = None
        self.engine.stop(PROGRAM_STOP if self.safety.safety_mode in MAY_MOVE else SAFETY_STOP)
        self._set_runtime(RuntimeState.STOPPING, why)
        self.program = None

    def pause(self, why: str, deceleration: float = PROGRAM_STOP) -> bool:
        """Brake, and pause the program; False when none plays."""
        self.engine.stop(deceleration)
        playing = self.runtime_state in (RuntimeState.PLAYING, RuntimeState.RESUMING)
        if playing:
            self._set_runtime(RuntimeState.PAUSING, why)
        return playing

    def play(self) -> bool:
        """Go on with a paused program; False when there is none or it may not. Nothing else starts by itself."""
        if self.program is None or self._refusal() or self.runtime_state != RuntimeState.PAUSED:
            return False
        self.watched_since = self.time_s
        self._set_runtime(RuntimeState.RESUMING)
        return True

    def _set_runtime(self, state: RuntimeState, why: str = "") -> None:
        self.runtime_state = state
        name = self.program.name if self.program else ""
        self.log.add("program", "controller", state=state.name, program=name, why=why)

    # --- safety -------------------------------------------------------------------------------------------------------

    def protective_stop(self, why: str) -> None:
        """Brake, pause the program, and stay so until somebody unlocks."""
        self.enter(SafetyMode.PROTECTIVE_STOP, why)

    def enter(self, mode: SafetyMode, why: str) -> None:
        """Enter a safety mode, with what it does to program and power."""
        if mode in MAY_MOVE:
            self.safety.set_reduced(mode == SafetyMode.REDUCED)
            return
        self.safety.stop(mode, why)
        if mode in UNPOWERED:
            self.stop_program(why)
            self.engine.stop(SAFETY_STOP)
        else:
            self.pause(why, SAFETY_STOP)

    def power_off(self) -> None:
        """Take the arm's power; ends the program."""
        self.stop_program("powered off")
        self.safety.power_off()

    def _report(self) -> None:
        state = self.safety.robot_mode, self.safety.safety_mode
        if state != self._reported:
            self._reported = state
            why = self.safety.reason if state[1] not in MAY_MOVE else ""
            self.log.add("safety", "controller", robot_mode=state[0].name, safety_mode=state[1].name, why=why)
