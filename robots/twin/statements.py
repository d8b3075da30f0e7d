"""Programs that are a straight line of URScript calls, and the paths that `ur_rtde` injects into its control script."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from vlasteer.kinematics import pose_matrix
from vlasteer.robots.twin.io_state import REGISTERS
from vlasteer.robots.twin.motion import Waypoint
from vlasteer.robots.twin.program import Program, ScriptError, Thread
from vlasteer.robots.twin.robot import Robot
from vlasteer.robots.twin.urscript import Call, Pose, ScriptSyntaxError, Upload, Value

MOVES = ("movej", "movel", "movep")
_JOINT_DEFAULTS = {"a": 1.4, "v": 1.05, "r": 0.0}
_TOOL_DEFAULTS = {"a": 1.2, "v": 0.25, "r": 0.0}


class StatementProgram(Program):
    """A program of calls, one after the other.

    Raises:
        ScriptSyntaxError: a call that a twin does not know; a real controller knows all of URScript.
    """

    def __init__(self, upload: Upload, robot: Robot) -> None:
        self._statements = upload.statements()
        for call in self._statements:
            if call.name not in MOVES and call.name not in _FUNCTIONS:
                raise ScriptSyntaxError(f"a twin does not know '{call.name}'")
        super().__init__(upload.name, robot)

    def main(self) -> Thread:
        yield from run_statements(self, self._statements)


def run_statements(
    program: Program, statements: Sequence[Call], on_progress: Callable[[int], None] = lambda value: None
) -> Thread:
    """Run them, blended where consecutive moves of one kind ask for it.

    `on_progress` receives the argument of each `signal_async_progress` when the move behind it begins.

    Raises:
        ScriptError: arguments that do not fit, or a target without inverse kinematics.
    """
    for group in _groups(statements):
        if group[-1].name not in MOVES:
            for call in group:
                if call.name == "signal_async_progress":
                    on_progress(_index(call, 1 << 15))
                else:
                    yield from _FUNCTIONS[call.name](program, call)
            continue
        waypoints, signals = [], dict[int, int]()
        for call in group:
            if call.name in MOVES:
                waypoints.append(_waypoint(program, call))
            else:
                signals[len(waypoints)] = _index(call, 1 << 15)
        yield from program.move(waypoints, lambda index, at=signals: on_progress(at[index]) if index in at else None)


def _groups(statements: Sequence[Call]) -> Iterator[list[Call]]:
    """Runs of moves of one kind that blend into each other, with the progress signals between them; the rest singly."""
    group: list[Call] = []
    blending = linear = False
    pending: list[Call] = []
    for call in statements:
        if call.name == "signal_async_progress":
            pending.append(call)
        elif call.name in MOVES:
            if not (group and blending and linear == _is_linear(call)):
                if group:
                    yield group
                group = []
            group, pending = [*group, *pending, call], []
            blending, linear = _keyword(call, "r") > 0, _is_linear(call)
        else:
            if group:
                yield group
            group = []
            yield [*pending, call]
            pending = []
    if group:
        yield group
    if pending:
        yield pending


def _is_linear(call: Call) -> bool:
    return call.name != "movej"


def _waypoint(program: Program, call: Call) -> Waypoint:
    arm, here = program.robot.arm, program.robot.engine.q
    target = call.arguments[0] if call.arguments else None
    speed, acceleration, blend = _keyword(call, "v"), _keyword(call, "a"), _keyword(call, "r")
    if isinstance(target, Pose):
        pose = pose_matrix(target.values)
        if _is_linear(call):
            return Waypoint(speed, acceleration, pose=pose, blend=blend)
        joints = arm.inverse(pose, here)
        if joints is None:
            raise ScriptError("inverse kinematics found no solution")
    else:
        joints = np.array(_vector(call, target))
    if _is_linear(call):
        return Waypoint(speed, acceleration, pose=arm.forward(joints), blend=blend)
    return Waypoint(speed, acceleration, joints=joints, blend=blend)


def _keyword(call: Call, name: str) -> float:
    defaults = _TOOL_DEFAULTS if _is_linear(call) else _JOINT_DEFAULTS
    position = {"a": 1, "v": 2, "r": 4}[name]
    value = call.keywords.get(name, call.arguments[position] if len(call.arguments) > position else defaults[name])
    if not isinstance(value, float):
        raise ScriptError(f"{call.name}: {name} is no number")
    return value


def _vector(call: Call, value: Value | None) -> list[float]:
    if not isinstance(value, list) or len(value) != 6 or not all(isinstance(v, float) for v in value):
        raise ScriptError(f"{call.name} wants six joint angles or a pose")
    return [v for v in value if isinstance(v, float)]


def _number(call: Call, index: int) -> float:
    value = call.arguments[index] if index < len(call.arguments) else None
    if not isinstance(value, bool | float):
        raise ScriptError(f"{call.name}: argument {index} is no number")
    return float(value)


def _index(call: Call, count: int) -> int:
    value = _number(call, 0)
    if not 0 <= value < count:
        raise ScriptError(f"{call.name}: there are {count} of them, not a number {value:g}")
    return int(value)


def _sleep(program: Program, call: Call) -> Thread:
    end = program.robot.time_s + _number(call, 0)
    while program.robot.time_s < end:
        yield


def _sync(program: Program, call: Call) -> Thread:
    yield


def _ignored(program: Program, call: Call) -> Thread:
    yield from ()


def _stop(program: Program, call: Call) -> Thread:
    yield from (program.stop_tool if call.name == "stopl" else program.stop_joints)(_number(call, 0))


def _write_register(program: Program, call: Call) -> Thread:
    io, index, value = program.robot.io, _index(call, REGISTERS), _number(call, 1)
    if call.name == "write_output_integer_register":
        io.set_int_out(index, value)
    else:
        io.float_out[index] = value
    yield from ()


_BITS = {"set_configurable_digital_out": (8, 8), "set_tool_digital_out": (16, 2)}


def _digital_out(program: Program, call: Call) -> Thread:
    first, count = _BITS.get(call.name, (0, 8))
    bit = 1 << (_index(call, count) + first)
    io = program.robot.io
    io.digital_out = io.digital_out | bit if _number(call, 1) else io.digital_out & ~bit
    yield from ()


def _set_tcp(program: Program, call: Call) -> Thread:
    pose = call.arguments[0] if call.arguments else None
    if not isinstance(pose, Pose):
        raise ScriptError("set_tcp wants a pose")
    program.robot.set_tcp(np.array(pose.values))
    yield from ()


def _set_payload(program: Program, call: Call) -> Thread:
    program.robot.payload = _number(call, 0)
    yield from ()


_FUNCTIONS: dict[str, Callable[[Program, Call], Thread]] = {
    "signal_async_progress": _ignored,
    "textmsg": _ignored,
    "popup": _ignored,
    "sleep": _sleep,
    "sync": _sync,
    "stopj": _stop,
    "stopl": _stop,
    "write_output_integer_register": _write_register,
    "write_output_float_register": _write_register,
    "set_digital_out": _digital_out,
    "set_standard_digital_out": _digital_out,
    "set_configurable_digital_out": _digital_out,
    "set_tool_digital_out": _digital_out,
    "set_tcp": _set_tcp,
    "set_payload": _set_payload,
}
