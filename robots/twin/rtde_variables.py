"""Every RTDE variable that a twin knows: its type, the software that introduced it, and where its value comes from.

Source: the tables of Universal Robots' RTDE guide. Left out, and so `NOT_FOUND` as on a controller without them:
EuroMap67, tool analogue channels, encoders, and the few newest diagnostics. Approximations: temperatures and voltages
are nominal constants; currents, moments and execution time read zero; the accelerometer reads gravity only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from vlasteer.robots.twin.io_state import REGISTERS
from vlasteer.robots.twin.readings import Readings
from vlasteer.robots.twin.rtde_frames import IN_USE, NOT_FOUND, TYPE_LENGTHS
from vlasteer.robots.twin.settings import ControllerVersion
from vlasteer.robots.twin.states import robot_status_bits, safety_status_bits

Since = tuple[int, int] | None
_ALWAYS: Since = (0, 0)
_UPPER = (3, 9), (5, 3)  # registers from 24 on
_ECHOED = (3, 4), (5, 0)  # inputs as outputs


@dataclass(frozen=True)
class Variable:
    """One variable.

    Attributes:
        type: RTDE data type.
        cb3, e_series: (major, minor) version that introduced it; None: not in that series.
        read: its value of one moment (outputs only): a number, or as many as the type holds.
    """

    type: str
    cb3: Since = _ALWAYS
    e_series: Since = _ALWAYS
    read: Callable[[Readings], Any] = lambda r: 0

    def exists(self, version: ControllerVersion) -> bool:
        """Whether that software has it."""
        return version.has(self.cb3, self.e_series)


OUTPUTS: dict[str, Variable] = {
    "timestamp": Variable("DOUBLE", read=lambda r: r.robot.time_s),
    "target_q": Variable("VECTOR6D", read=lambda r: r.robot.engine.q),
    "target_qd": Variable("VECTOR6D", read=lambda r: r.robot.engine.qd),
    "target_qdd": Variable("VECTOR6D", read=lambda r: r.robot.engine.qdd),
    "target_current": Variable("VECTOR6D", read=lambda r: (0.0,) * 6),
    "target_moment": Variable("VECTOR6D", read=lambda r: (0.0,) * 6),
    "actual_q": Variable("VECTOR6D", read=lambda r: r.robot.plant.q),
    "actual_qd": Variable("VECTOR6D", read=lambda r: r.robot.plant.qd),
    "actual_current": Variable("VECTOR6D", read=lambda r: (0.0,) * 6),
    "actual_current_as_torque": Variable("VECTOR6D", None, (5, 23), read=lambda r: (0.0,) * 6),
    "actual_current_window": Variable("VECTOR6D", read=lambda r: (1.0,) * 6),
    "joint_control_output": Variable("VECTOR6D", read=lambda r: (0.0,) * 6),
    "actual_TCP_pose": Variable("VECTOR6D", read=lambda r: r.tcp_pose),
    "actual_TCP_speed": Variable("VECTOR6D", read=lambda r: r.tcp_speed),
    "actual_TCP_force": Variable("VECTOR6D", read=lambda r: r.tcp_force),
    "target_TCP_pose": Variable("VECTOR6D", read=lambda r: r.target_tcp_pose),
    "target_TCP_speed": Variable("VECTOR6D", read=lambda r: r.target_tcp_speed),
    "actual_digital_input_bits": Variable("UINT64", read=lambda r: r.robot.io.digital_in),
    "joint_temperatures": Variable("VECTOR6D", read=lambda r: (30.0,) * 6),
    "actual_execution_time": Variable("DOUBLE", read=lambda r: 0.0),
    "robot_mode": Variable("INT32", read=lambda r: r.robot.safety.robot_mode),
    "joint_mode": Variable("VECTOR6INT32", read=lambda r: (r.joint_mode,) * 6),
    "safety_mode": Variable("INT32", read=lambda r: r.robot.safety.safety_mode),
    "safety_status": Variable("INT32", (3, 10), (5, 4), read=lambda r: r.robot.safety.safety_mode),
    "actual_tool_accelerometer": Variable("VECTOR3D", read=lambda r: r.tool_acceleration),
    "speed_scaling": Variable("DOUBLE", read=lambda r: r.robot.speed_scaling),
    "target_speed_fraction": Variable("DOUBLE", read=lambda r: r.robot.io.speed_slider),
    "actual_momentum": Variable("DOUBLE", read=lambda r: 0.0),
    "actual_main_voltage": Variable("DOUBLE", read=lambda r: 48.0),
    "actual_robot_voltage": Variable("DOUBLE", read=lambda r: 48.0 if r.robot.safety.powered else 0.0),
    "actual_robot_current": Variable("DOUBLE", read=lambda r: 0.5 if r.robot.safety.powered else 0.0),
    "actual_joint_voltage": Variable("VECTOR6D", read=lambda r: (48.0 if r.robot.safety.powered else 0.0,) * 6),
    "actual_digital_output_bits": Variable("UINT64", read=lambda r: r.robot.io.digital_out),
    "runtime_state": Variable("UINT32", read=lambda r: r.robot.runtime_state),
    "elbow_position": Variable("VECTOR3D", (3, 5), (5, 0), read=lambda r: r.elbow_position),
    "elbow_velocity": Variable("VECTOR3D", (3, 5), (5, 0), read=lambda r: r.elbow_velocity),
    "robot_status_bits": Variable(
        "UINT32",
        read=lambda r: robot_status_bits(
            powered=r.robot.safety.powered, program_running=r.robot.program_running, freedrive=r.robot.freedrive
        ),
    ),
    "safety_status_bits": Variable("UINT32", read=lambda r: safety_status_bits(r.robot.safety.safety_mode)),
    "analog_io_types": Variable("UINT32", read=lambda r: r.analog_io_types),
    "standard_analog_input0": Variable("DOUBLE", read=lambda r: r.robot.io.analog_in[0]),
    "standard_analog_input1": Variable("DOUBLE", read=lambda r: r.robot.io.analog_in[1]),
    "standard_analog_output0": Variable("DOUBLE", read=lambda r: r.robot.io.analog_out[0]),
    "standard_analog_output1": Variable("DOUBLE", read=lambda r: r.robot.io.analog_out[1]),
    "io_current": Variable("DOUBLE", read=lambda r: 0.0),
    "tcp_force_scalar": Variable("DOUBLE", read=lambda r: r.tcp_force_scalar),
    "output_bit_registers0_to_31": Variable("UINT32", read=lambda r: r.robot.io.bit_out & 0xFFFFFFFF),
    "output_bit_registers32_to_63": Variable("UINT32", read=lambda r: r.robot.io.bit_out >> 32 & 0xFFFFFFFF),
    "input_bit_registers0_to_31": Variable("UINT32", *_ECHOED, read=lambda r: r.robot.io.bit_in & 0xFFFFFFFF),
    "input_bit_registers32_to_63": Variable("UINT32", *_ECHOED, read=lambda r: r.robot.io.bit_in >> 32 & 0xFFFFFFFF),
    "payload": Variable("DOUBLE", (3, 11), (5, 6), read=lambda r: r.robot.payload),
    "payload_cog": Variable("VECTOR3D", (3, 11), (5, 6), read=lambda r: r.robot.payload_cog),
    "payload_inertia": Variable("VECTOR6D", (3, 15), (5, 11), read=lambda r: r.robot.payload_inertia),
    "script_control_line": Variable("UINT32", (3, 14), (5, 9), read=lambda r: 0),
    "ft_raw_wrench": Variable("VECTOR6D", None, (5, 9), read=lambda r: r.flange_wrench),
}
"""Variables that a client can ask for."""

INPUTS: dict[str, Variable] = {
    "speed_slider_mask": Variable("UINT32"),
    "speed_slider_fraction": Variable("DOUBLE"),
    "standard_digital_output_mask": Variable("UINT8"),
    "standard_digital_output": Variable("UINT8"),
    "configurable_digital_output_mask": Variable("UINT8"),
    "configurable_digital_output": Variable("UINT8"),
    "tool_digital_output_mask": Variable("UINT8"),
    "tool_digital_output": Variable("UINT8"),
    "standard_analog_output_mask": Variable("UINT8"),
    "standard_analog_output_type": Variable("UINT8"),
    "standard_analog_output_0": Variable("DOUBLE"),
    "standard_analog_output_1": Variable("DOUBLE"),
    "input_bit_registers0_to_31": Variable("UINT32"),
    "input_bit_registers32_to_63": Variable("UINT32"),
    "external_force_torque": Variable("VECTOR6D", (3, 3), (5, 0)),
}
"""Variables that a client can write."""


def _register(kind: str, index: int, readings: Readings) -> Any:
    return getattr(readings.robot.io, kind)[index]


def _bit(kind: str, index: int, readings: Readings) -> bool:
    return bool(getattr(readings.robot.io, kind) >> index & 1)


for _index in range(REGISTERS):
    _since = _UPPER if _index >= 24 else (_ALWAYS, _ALWAYS)
    _echo = _UPPER if _index >= 24 else _ECHOED
    for _name, _kind, _type in (("int", "int", "INT32"), ("double", "float", "DOUBLE")):
        OUTPUTS[f"output_{_name}_register_{_index}"] = Variable(
            _type, *_since, partial(_register, f"{_kind}_out", _index)
        )
        OUTPUTS[f"input_{_name}_register_{_index}"] = Variable(_type, *_echo, partial(_register, f"{_kind}_in", _index))
        INPUTS[f"input_{_name}_register_{_index}"] = Variable(_type, *_since)
for _index in range(64, 128):
    OUTPUTS[f"output_bit_register_{_index}"] = Variable("BOOL", *_UPPER, partial(_bit, "bit_out", _index))
    OUTPUTS[f"input_bit_register_{_index}"] = Variable("BOOL", *_UPPER, partial(_bit, "bit_in", _index))
    INPUTS[f"input_bit_register_{_index}"] = Variable("BOOL", *_UPPER)


def output_types(names: tuple[str, ...], version: ControllerVersion) -> tuple[str, ...]:
    """Type of each output, `NOT_FOUND` where that software has no such variable."""
    found = (OUTPUTS.get(name) for name in names)
    return tuple(v.type if v is not None and v.exists(version) else NOT_FOUND for v in found)


def input_types(names: tuple[str, ...], version: ControllerVersion, taken: frozenset[str]) -> tuple[str, ...]:
    """Type of each input, `NOT_FOUND` where there is none, `IN_USE` where another connection (`taken`) owns it."""
    types = []
    for name in names:
        variable = INPUTS.get(name)
        if variable is None or not variable.exists(version):
            types.append(NOT_FOUND)
        else:
            types.append(IN_USE if name in taken else variable.type)
    return tuple(types)


def output_reader(names: tuple[str, ...]) -> Callable[[Readings], list[Any]]:
    """Function that collects the values of existing outputs, flat, in order."""
    reads = [(OUTPUTS[name].read, TYPE_LENGTHS[OUTPUTS[name].type] > 1) for name in names]

    def read_all(readings: Readings) -> list[Any]:
        values: list[Any] = []
        for read, several in reads:
            if several:
                values.extend(read(readings))
            else:
                values.append(read(readings))
        return values

    return read_all
