"""Hooks: what a test does to a twin that no client could do, and what it reads back.

Each function is one hook; its name and parameters are those of the command (`vlasteer twin --tell "stall seconds=2"`),
of the hook channel (`{"hook": "stall", "arguments": {"seconds": 2}}`), and of `HookClient.call("stall", seconds=2)`.
"""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vlasteer.errors import InputError, UnknownNameError
from vlasteer.kinematics import Vector
from vlasteer.robots.twin.connections import Network
from vlasteer.robots.twin.controller import Controller
from vlasteer.robots.twin.plant import KinematicPlant
from vlasteer.robots.twin.rtde_variables import INPUTS
from vlasteer.robots.twin.states import SafetyMode


class Twin(Protocol):
    """What hooks act on; `service.TwinService` is one."""

    controller: Controller
    network: Network
    channels: set[asyncio.Transport]
    late_periods: int

    def later(self, seconds: float, action: Callable[[], object], name: str) -> None:
        """Do something after that time, in place of what was planned under that name; never for infinity, now for 0."""
        ...

    def draw(self, camera: str) -> asyncio.Future[NDArray[np.uint8]]:
        """Picture of a camera at this moment."""
        ...

    def stop(self) -> None:
        """End the twin."""
        ...


HOOKS: dict[str, Callable[..., Any]] = {}
"""Name -> function of the service and the hook's arguments."""


def hook(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a function a hook."""
    HOOKS[function.__name__] = function
    return function


def call(twin: Twin, name: str, arguments: dict[str, Any]) -> Any:
    """Call a hook: the result is JSON, an array, or an awaitable of either.

    Raises:
        InputError: no such hook, or arguments that do not fit it.
    """
    if name not in HOOKS:
        raise UnknownNameError.among("hook", name, HOOKS)
    function = HOOKS[name]
    try:
        bound = inspect.signature(function).bind(twin, **arguments)
    except TypeError as error:
        wants = ", ".join(list(inspect.signature(function).parameters)[1:]) or "no arguments"
        raise InputError(f"hook '{name}': {error}", expected=wants) from error
    return function(*bound.args, **bound.kwargs)


# --- faults -----------------------------------------------------------------------------------------------------------


@hook
def protective_stop(twin: Twin, reason: str = "hook") -> None:
    """Stop as a real arm does when it hits something; unlocked over the dashboard, at the earliest 5 s later."""
    twin.controller.protective_stop(str(reason))


@hook
def emergency_stop(twin: Twin, system: bool = False) -> None:
    """Press the robot's emergency stop button, or the one of the system around it."""
    mode = SafetyMode.SYSTEM_EMERGENCY_STOP if system else SafetyMode.ROBOT_EMERGENCY_STOP
    twin.controller.enter(mode, "emergency stop button")


@hook
def release_stop(twin: Twin) -> None:
    """Release the emergency stop button or the safeguard; power stays off until somebody switches it on."""
    twin.controller.safety.release()


@hook
def safety_mode(twin: Twin, mode: str) -> None:
    """Enter any safety mode by name: REDUCED, NORMAL, SAFEGUARD_STOP, VIOLATION, FAULT, ..."""
    if mode not in SafetyMode.__members__:
        raise UnknownNameError.among("safety mode", mode, SafetyMode.__members__)
    twin.controller.enter(SafetyMode[mode], "hook")


@hook
def power(twin: Twin, on: bool) -> None:
    """Power the arm and release its brakes, or take its power, as at the pendant."""
    if on:
        twin.controller.safety.release_brakes()
    else:
        twin.controller.power_off()


@hook
def stall(twin: Twin, seconds: float = math.inf) -> None:
    """Send and read nothing on any port, connections staying open; the arm and the controller go on."""
    twin.network.stall(True)
    twin.later(seconds, lambda: twin.network.stall(False), "stall")


@hook
def resume(twin: Twin) -> None:
    """End a stall, and take connections again after a drop."""
    twin.later(0, lambda: twin.network.stall(False), "stall")
    twin.later(0, lambda: setattr(twin.network, "refusing", False), "drop")


@hook
def drop(twin: Twin, seconds: float = 0.0) -> None:
    """Reset every connection, and refuse new ones for that long."""
    twin.network.refusing = seconds > 0
    twin.network.drop()
    twin.later(seconds, lambda: setattr(twin.network, "refusing", False), "drop")


@hook
def remote_control(twin: Twin, on: bool) -> None:
    """Switch between remote and local control; in local control scripts and most dashboard commands are refused."""
    twin.controller.remote_control = bool(on)


@hook
def registers_in_use(twin: Twin, names: Sequence[str] = ("input_int_register_0",)) -> None:
    """Have something on the robot own these input variables (a fieldbus); an empty list gives them back."""
    for name in names:
        if name not in INPUTS:
            raise UnknownNameError.among("RTDE input", name, INPUTS)
    twin.controller.io.reserved = frozenset(names)


@hook
def script_never_starts(twin: Twin, on: bool = True) -> None:
    """Take uploads and run none of them."""
    twin.controller.never_start = bool(on)


@hook
def wrench(twin: Twin, values: Sequence[float], seconds: float = math.inf) -> None:
    """Push the TCP: force (N) and torque (N m) in the base frame."""
    twin.controller.inject_wrench(_vector(values, 6), _number(seconds))


@hook
def tcp_error(twin: Twin, offset: Sequence[float]) -> None:
    """Have the controller measure the TCP elsewhere by this much (m), as an arm with another calibration does."""
    twin.controller.tcp_error = _vector(offset, 3)


# --- the pendant and hands --------------------------------------------------------------------------------------------


@hook
def speed_slider(twin: Twin, fraction: float) -> None:
    """Move the speed slider, 0 to 1."""
    twin.controller.io.set_speed_slider(_number(fraction))


@hook
def digital_input(twin: Twin, index: int, on: bool) -> None:
    """Set a digital input: 0-7 standard, 8-15 configurable, 16-17 tool."""
    if not 0 <= int(index) < 18:
        raise InputError(f"digital input {index}", expected="0 to 17")
    io, bit = twin.controller.io, 1 << int(index)
    io.digital_in = io.digital_in | bit if on else io.digital_in & ~bit


@hook
def place(twin: Twin, q: Sequence[float]) -> None:
    """Put the arm at these joint angles (rad), at once and at rest, as if somebody had moved it."""
    twin.controller.place(_vector(q, 6))


@hook
def lead(twin: Twin, speed: Sequence[float], seconds: float = 1.0) -> None:
    """Lead the arm by hand, as in freedrive: its joints move at that speed (rad/s) for so long."""
    twin.controller.lead(_vector(speed, 6))
    twin.later(seconds, lambda: twin.controller.lead(None), "lead")


@hook
def arrange(twin: Twin, seed: int) -> None:
    """Put the things around the arm where the seed draws them; where there is a scene."""
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise InputError(f"seed {seed!r}", expected="a whole number that is not negative")
    twin.controller.plant.arrange(seed)


@hook
def tcp(twin: Twin, pose: Sequence[float]) -> None:
    """Set the tool of the installation: pose in the flange's frame."""
    twin.controller.set_tcp(_vector(pose, 6))


@hook
def payload(twin: Twin, mass: float, cog: Sequence[float] = (0.0, 0.0, 0.0)) -> None:
    """Set the payload of the installation: kg, and its centre of gravity in m."""
    twin.controller.payload = _number(mass)
    twin.controller.payload_cog = tuple(float(v) for v in _vector(cog, 3))


@hook
def gripper_block(twin: Twin, opening: float | None = None) -> None:
    """Put something between the fingers of a kinematic twin that stops them at an opening (0 to 1), or take it out."""
    plant = twin.controller.plant
    if not isinstance(plant, KinematicPlant):
        raise InputError("the gripper of this twin grasps real things", fix="Use the kinematic twin for blocks")
    plant.block = None if opening is None else _number(opening)


@hook
def reset(twin: Twin) -> None:
    """Go back to the state of the start: safety, program, pose, tool, faults. Connections and the clock go on."""
    resume(twin)
    twin.controller.io.reserved = frozenset()
    if isinstance(twin.controller.plant, KinematicPlant):
        twin.controller.plant.block = None
    twin.controller.reset()


# --- reading ----------------------------------------------------------------------------------------------------------


@hook
def state(twin: Twin) -> dict[str, Any]:
    """Everything of interest at this moment."""
    c = twin.controller
    return {
        "time_s": c.time_s,
        "model": c.settings.model,
        "version": str(c.version),
        "runtime_state": c.runtime_state.name,
        "program": c.program.name if c.program else "",
        "robot_mode": c.safety.robot_mode.name,
        "safety_mode": c.safety.safety_mode.name,
        "safety_reason": c.safety.reason,
        "q": c.plant.q.tolist(),
        "qd": c.plant.qd.tolist(),
        "target_q": c.engine.q.tolist(),
        "tcp_pose": c.readings.tcp_pose.tolist(),
        "moving": c.engine.moving,
        "tcp": c.arm.tcp.tolist(),
        "payload": c.payload,
        "speed_slider": c.io.speed_slider,
        "digital_out": c.io.digital_out,
        "gripper_opening": c.plant.opening,
        "remote_control": c.remote_control,
        "stalled": twin.network.stalled,
        "connections": sorted(connection.name for connection in twin.network.connections),
        "log_count": c.log.count,
        "late_periods": twin.late_periods,
    }


@hook
def log(twin: Twin, since: int = 0, kinds: Collection[str] = (), scan: int = 1000) -> dict[str, Any]:
    """A portion of the wire log: entries, the number to go on from, and the number of the next entry there will be."""
    entries, following = twin.controller.log.read(int(since), tuple(kinds), max(1, min(int(scan), 5000)))
    return {"entries": entries, "next": following, "count": twin.controller.log.count}


@hook
def trace(twin: Twin, since: float = 0.0) -> Vector:
    """Rows of the motion trace from that clock on, float64 [n, 13]: clock, joint setpoint, measured joint angles."""
    return twin.controller.trace.since(_number(since))


@hook
def camera(twin: Twin, name: str) -> asyncio.Future[NDArray[np.uint8]]:
    """The picture of a camera now, uint8 [height, width, 3]; drawn beside the control loop."""
    plant = twin.controller.plant
    if name not in plant.cameras:
        raise UnknownNameError.among("camera", name, plant.cameras)
    return twin.draw(name)


@hook
def cameras(twin: Twin) -> list[str]:
    """Names of the cameras."""
    return list(twin.controller.plant.cameras)


@hook
def hooks(twin: Twin) -> dict[str, str]:
    """Every hook, with what it does."""
    return {name: inspect.getdoc(function) or "" for name, function in HOOKS.items()}


@hook
def quit(twin: Twin) -> None:
    """End the twin."""
    twin.stop()


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        raise InputError(f"hook argument {value!r}", expected="a number")
    return float(value)


def _vector(values: Any, size: int) -> Vector:
    numbers = [_number(v) for v in values] if isinstance(values, list | tuple) else []
    if len(numbers) != size or not all(map(math.isfinite, numbers)):
        raise InputError(f"hook argument {values!r}", expected=f"{size} finite numbers")
    return np.array(numbers)
