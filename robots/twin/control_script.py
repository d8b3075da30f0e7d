"""`ur_rtde`'s control script, as a controller that runs it behaves.

The client uploads about 1300 lines of URScript and then writes commands into input registers; the script polls them
once per control period. This is its state machine, with the same command numbers, threads and registers, for client
1.6.5 (script of 14.02.2024). Command in `int_in[0]`, arguments in `float_in[0..]`, asynchronous flag in `int_in[1]`;
state in `int_out[0]` (1 ready, 2 done), results in `int_out[1]` and `float_out[0..]`, asynchronous status in
`int_out[2]`; all shifted by the register offset. Kinematic and other queries are in `script_queries`.

What a driver must know of it, all reproduced: servo and speed threads go on for ever with their last target, whether
the client lives or not; `stopL` and `stopJ` do not end them; a failing inverse kinematics ends the script, and with
it every motion; a synchronous `stopL` before any asynchronous stop brakes like `stopJ`, for so the script is written.

Approximations: force mode, teach mode and direct torque are accepted and move nothing; contact is felt where the
wrench on the TCP exceeds 15 N against the direction.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vlasteer.kinematics import Vector, pose_matrix
from vlasteer.robots.twin import script_queries
from vlasteer.robots.twin.motion import Hold, ServoJoints, SpeedJoints, SpeedTool, Waypoint
from vlasteer.robots.twin.program import ScriptError, Thread
from vlasteer.robots.twin.robot import Robot
from vlasteer.robots.twin.script_registers import RegisterProgram
from vlasteer.robots.twin.statements import run_statements
from vlasteer.robots.twin.urscript import Call, Upload

NO_COMMAND, STOP_SCRIPT = 0, 255
READY, DONE = 1, 2

REALTIME = frozenset({6, 9, 10, 11, 24, 25, 26, 27, 38, 58, 66, 67, 68, 69, 70, 71})
"""Commands that act in every period in which they stand in the register; the others act once, until it is cleared."""

_COUNT_MODULUS, _RUNNING_BIT, _MAX_PROGRESS = 128, 1 << 15, (1 << 15) - 1


class ControlScript(RegisterProgram):
    """The control script, running.

    Raises:
        ScriptSyntaxError: the upload has no register offset, or a path that cannot be read.
    """

    def __init__(self, upload: Upload, robot: Robot) -> None:
        self._path: list[Call] = upload.path()
        self._stop_is_linear = False
        self._operation = self._writes = self._contact = 0
        super().__init__(upload.name, robot, upload.register_offset)

    # --- main loop ----------------------------------------------------------------------------------------------------

    def main(self) -> Thread:
        self.signal_progress(None)
        self.set_int(0, READY)
        executed = False
        while True:
            command = self.int_in(0)
            if command in REALTIME:
                yield from self._process(command)
                self.set_int(0, READY)
            elif command == NO_COMMAND:
                executed = False
                self.set_int(0, READY)
            elif not executed:
                if command == STOP_SCRIPT:
                    return
                yield from self._process(command)
                self.set_int(0, DONE)
                executed = True
            yield

    def _process(self, command: int) -> Thread:
        if command in MOTIONS:
            yield from MOTIONS[command][1](self)
        elif command in script_queries.QUERIES:
            query = script_queries.QUERIES[command]
            if self.robot.version.has(query.cb3, query.e_series):
                query.answer(self)
        # Commands that this script version does not know are acknowledged and do nothing.

    def signal_progress(self, value: int | None) -> None:
        """Asynchronous status: bits 0-14 progress, 15 running, 16-22 count of writes, 24-30 count of operations."""
        self._writes = (self._writes + 1) % _COUNT_MODULUS
        if value == 0:
            self._operation = (self._operation + 1) % _COUNT_MODULUS
        word = self._writes << 16 | self._operation << 24
        self.set_int(2, word if value is None else word | _RUNNING_BIT | min(value, _MAX_PROGRESS))

    # --- moves and stops ----------------------------------------------------------------------------------------------

    def _move_joints(self) -> Thread:
        yield from self._order(self._waypoint(joints=self.floats_in(0)))

    def _move_joints_ik(self) -> Thread:
        yield from self._order(self._waypoint(joints=self.inverse(pose_matrix(self.floats_in(0)))))

    def _move_tool(self) -> Thread:
        yield from self._order(self._waypoint(pose=pose_matrix(self.floats_in(0))))

    def _move_tool_fk(self) -> Thread:
        yield from self._order(self._waypoint(pose=self.robot.arm.forward(self.floats_in(0))))

    def _waypoint(self, joints: Vector | None = None, pose: Vector | None = None) -> Waypoint:
        speed, acceleration = self.floats_in(6, 2)
        return Waypoint(float(speed), float(acceleration), joints=joints, pose=pose)

    def _order(self, waypoint: Waypoint) -> Thread:
        asynchronous = self.int_in(1) == 1
        if waypoint.pose is not None and self.robot.arm.inverse(waypoint.pose, self.robot.engine.q) is None:
            raise ScriptError("inverse kinematics found no solution for the target of a movel")
        self._stop_async_move()
        if asynchronous:
            self.run("move", self._asynchronous(self.move([waypoint])))
        else:
            yield from self.move([waypoint])

    def _move_path(self) -> Thread:
        asynchronous = self.int_in(1) == 1
        self._stop_async_move()
        path = run_statements(self, self._path, self.signal_progress)
        if asynchronous:
            self.run("move", self._asynchronous(path))
        else:
            yield from path

    def _asynchronous(self, work: Thread) -> Thread:
        self.signal_progress(0)
        yield from work
        self.signal_progress(None)

    def _stop_async_move(self) -> None:
        if self.kill("move"):
            self.signal_progress(None)

    def _stop(self) -> Thread:
        deceleration, asynchronous = float(self.floats_in(0, 1)[0]), self.int_in(1) == 1
        if self.kill("stop"):
            self.signal_progress(None)
        else:
            self._stop_async_move()
        if asynchronous:
            # The script sets its stop type only here, and always to the linear one.
            self._stop_is_linear = True
            self.run("stop", self._asynchronous(self._brake(deceleration, linear=True)))
        else:
            yield from self._brake(deceleration, linear=self._stop_is_linear)

    def _brake(self, deceleration: float, *, linear: bool) -> Thread:
        yield from (self.stop_tool if linear else self.stop_joints)(deceleration)

    # --- servo and speed ----------------------------------------------------------------------------------------------

    def _servo_joints(self) -> Thread:
        self._servo_to(self.floats_in(0))
        yield from ()

    def _servo_tool(self) -> Thread:
        self._servo_to(self.inverse(pose_matrix(self.floats_in(0))))
        yield from ()

    def _servo_to(self, target: Vector) -> None:
        lookahead, gain = (float(v) for v in self.floats_in(9, 2))
        self._servo = target, lookahead, gain
        if not self.running("servo"):
            self.run("servo", self._servo_thread())

    def _servo_thread(self) -> Thread:
        engine = self.robot.engine
        while True:
            if self.arm_free:
                if isinstance(engine.motion, ServoJoints):
                    engine.motion.retarget(*self._servo)
                else:
                    engine.motion = ServoJoints(engine.q, engine.qd, *self._servo)
            yield

    def _servo_circle(self) -> Thread:
        # servoc moves in circles through successive targets; here straight to the latest one, at the tool's speed.
        self._circle = pose_matrix(self.floats_in(0)), *(float(v) for v in self.floats_in(6, 2))
        if not self.running("servo"):
            self.run("servo", self._circle_thread())
        yield from ()

    def _circle_thread(self) -> Thread:
        while True:
            pose, speed, acceleration = aim = self._circle
            for _ in self.move([Waypoint(speed, acceleration, pose=pose)]):
                yield
                if self._circle is not aim:
                    break
            yield

    def _servo_stop(self) -> Thread:
        self.kill("servo")
        yield from self.stop_tool(float(self.floats_in(0, 1)[0]))

    def _speed_joints(self) -> Thread:
        self._speed_to("joints", self.floats_in(0), float(self.floats_in(6, 1)[0]))
        yield from ()

    def _speed_tool(self) -> Thread:
        self._speed_to("tool", self.floats_in(0), float(self.floats_in(6, 1)[0]))
        yield from ()

    def _speed_to(self, space: str, target: Vector, acceleration: float) -> None:
        self._speed = space, target, acceleration
        if not self.running("speed"):
            self.run("speed", self._speed_thread())

    def _speed_thread(self) -> Thread:
        while True:
            if self.arm_free:
                self._drive(*self._speed)
            yield

    def _drive(self, space: str, target: Vector, acceleration: float) -> None:
        engine = self.robot.engine
        if isinstance(engine.motion, SpeedJoints if space == "joints" else SpeedTool):
            engine.motion.target, engine.motion.acceleration = target, acceleration
        elif space == "joints":
            engine.motion = SpeedJoints(engine.q, engine.qd, target, acceleration)
        else:
            engine.motion = SpeedTool(engine.arm, engine.q, engine.qd, target, acceleration)

    def _speed_stop(self) -> Thread:
        self.kill("speed")
        deceleration = float(self.floats_in(0, 1)[0])
        linear = isinstance(self.robot.engine.motion, SpeedTool | Hold)
        yield from self._brake(deceleration, linear=linear)

    def _jog_start(self) -> Thread:
        speed, (feature, acceleration), custom = self.floats_in(0), self.floats_in(6, 2), self.floats_in(8)
        frame = np.eye(4)
        if feature == 1:
            frame = self.robot.arm.forward(self.robot.plant.q)
        elif feature == 2:
            frame = pose_matrix(custom)
        turn = frame[:3, :3]
        self._jog = np.concatenate([turn @ speed[:3], turn @ speed[3:]]), float(acceleration)
        self.run("jog", self._jog_thread())
        yield from ()

    def _jog_thread(self) -> Thread:
        while True:
            self._drive("tool", *self._jog)
            yield

    def _jog_stop(self) -> Thread:
        self.kill("jog")
        yield from self.stop_tool(1.2)

    # --- contact, watchdog, protective stop ---------------------------------------------------------------------------

    def _move_until_contact(self) -> Thread:
        velocity, direction, acceleration = self.floats_in(0), self.floats_in(6), float(self.floats_in(12, 1)[0])
        while not (steps := self.robot.contact_steps(direction)):
            self._drive("tool", velocity, acceleration)
            yield
        yield from self._back_off(steps)

    def _back_off(self, steps: int) -> Thread:
        back = self.robot.history(steps)
        yield from self.stop_tool(3.0)
        yield from self.move([Waypoint(0.25, 1.2, pose=self.robot.arm.forward(back))])

    def _contact_detection_start(self) -> Thread:
        self._contact = 0
        self.run("contact", self._contact_thread(self.floats_in(0)))
        yield from ()

    def _contact_thread(self, direction: Vector) -> Thread:
        while not (steps := self.robot.contact_steps(direction)):
            yield
        self._contact = steps
        self._stop_async_move()
        yield from self._back_off(steps)

    def _contact_detection_stop(self) -> Thread:
        self.kill("contact")
        self.set_int(1, self._contact)
        yield from ()

    def _contact_detection_read(self) -> Thread:
        self.set_int(1, self._contact)
        yield from ()

    def _watchdog(self) -> Thread:
        self.robot.arm_watchdog(f"input_int_register_{self.offset}", float(self.floats_in(0, 1)[0]))
        yield from ()

    def _protective_stop(self) -> Thread:
        self.robot.stop_request = "ordered by the script"
        yield from ()

    def _nothing(self) -> Thread:
        yield from ()


MOTIONS: dict[int, tuple[str, Callable[[ControlScript], Thread]]] = {
    1: ("moveJ", ControlScript._move_joints),
    2: ("moveJ_IK", ControlScript._move_joints_ik),
    3: ("moveL", ControlScript._move_tool),
    4: ("moveL_FK", ControlScript._move_tool_fk),
    6: ("forceMode", ControlScript._nothing),
    7: ("forceModeStop", ControlScript._nothing),
    9: ("speedJ", ControlScript._speed_joints),
    10: ("speedL", ControlScript._speed_tool),
    11: ("servoJ", ControlScript._servo_joints),
    12: ("servoC", ControlScript._servo_circle),
    15: ("speedStop", ControlScript._speed_stop),
    16: ("servoStop", ControlScript._servo_stop),
    24: ("servoL", ControlScript._servo_tool),
    31: ("triggerProtectiveStop", ControlScript._protective_stop),
    33: ("stopL", ControlScript._stop),
    34: ("stopJ", ControlScript._stop),
    35: ("setWatchdog", ControlScript._watchdog),
    41: ("jogStart", ControlScript._jog_start),
    42: ("jogStop", ControlScript._jog_stop),
    45: ("movePath", ControlScript._move_path),
    51: ("moveUntilContact", ControlScript._move_until_contact),
    62: ("startContactDetection", ControlScript._contact_detection_start),
    63: ("stopContactDetection", ControlScript._contact_detection_stop),
    64: ("readContactDetection", ControlScript._contact_detection_read),
    66: ("directTorque", ControlScript._nothing),
}
"""Command number -> the client's name for it, and what it does."""


def command_name(command: int) -> str:
    """The client's name for a command number."""
    if command in MOTIONS:
        return MOTIONS[command][0]
    if command in script_queries.QUERIES:
        return script_queries.QUERIES[command].name
    return {NO_COMMAND: "none", STOP_SCRIPT: "stopScript"}.get(command, str(command))
