"""What is compared with the robot file before anything may move. One wrong value refuses, with its name.

Everything here reads. The tool's offset can only be asked for over the control connection, so its row comes when that
stands (the script idles then); in a dry run it is worked out from joint angles and measured pose instead.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vlasteer.errors import ConfigError, WorldError
from vlasteer.kinematics import Vector, inverse_transform, matrix_pose, pose_matrix, rotation_vector
from vlasteer.robots.ur import dashboard
from vlasteer.robots.ur.client import ReceiveClient, RobotState
from vlasteer.robots.ur.config import RobotConfig
from vlasteer.robots.ur.safety_filter import SafetyFilter

SLOWEST_SLIDER = 0.01
"""A speed slider at 0 is a protective stop when it is moved next."""
_TCP_M, _TCP_RAD = 1e-4, 1e-3
_PAYLOAD_KG, _PAYLOAD_M = 0.05, 0.01
_HOME_RAD = 0.2
_SERIES = {"ur5": "CB3", "ur5e": "e-Series"}
_MAJORS = {"CB3": ("3",), "e-Series": ("5", "10")}


@dataclass(frozen=True)
class Check:
    """One row of the table.

    Attributes:
        name: of the value: "model", "tcp", ...
        expected: by the robot file, or by this program.
        found: on the controller.
        ok: whether they agree.
    """

    name: str
    expected: str
    found: str
    ok: bool


@dataclass(frozen=True)
class Survey:
    """What the controller says about itself.

    Attributes:
        model: "UR5"; "" where old software does not tell.
        version: "5.25.0.0".
        remote_control: None where old software has no such mode.
        state: a fresh robot state.
        payload: kg and m; None where it is not reported.
        tcp_offset: what the controller computes with; None without a control connection.
    """

    model: str
    version: str
    remote_control: bool | None
    state: RobotState
    payload: tuple[float, list[float]] | None
    tcp_offset: Vector | None = None


def survey(host: str, receive: ReceiveClient, state: RobotState) -> Survey:
    """Ask the controller.

    Raises:
        WorldError: it does not answer.
    """
    version = re.search(r"\d+(\.\d+)+", dashboard.ask(host, "PolyscopeVersion"))
    remote = dashboard.ask(host, "is in remote control").lower()
    return Survey(
        model=dashboard.ask(host, "get robot model"),
        version=version.group() if version else "",
        remote_control={"true": True, "false": False}.get(remote),
        state=state,
        payload=receive.payload(),
    )


def checks(config: RobotConfig, found: Survey) -> list[Check]:
    """The table: every row that can be checked with what was found."""
    state = found.state
    return [
        *_controller(config, found),
        Check("remote control", "on", _remote(found), found.remote_control is not False),
        Check("safety", "normal or reduced mode", state.safety, state.may_move),
        Check(
            "speed slider",
            f"at least {SLOWEST_SLIDER:.0%}",
            f"{state.speed_fraction:.0%}",
            state.speed_fraction >= SLOWEST_SLIDER,
        ),
        *_payload(config, found),
        *_geometry(config, found),
        *_place(config, state),
        _action(config),
    ]


def require(rows: Sequence[Check]) -> None:
    """Refuse when one row is not as expected.

    Raises:
        WorldError: names the first value that is not, and how many more there are.
    """
    wrong = [row for row in rows if not row.ok]
    if wrong:
        row, more = wrong[0], f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise WorldError(
            f"preflight refuses: {row.name} is {row.found}{more}",
            expected=row.expected,
            fix="Correct the robot file or the installation on the pendant, whichever is wrong",
        )


def _controller(config: RobotConfig, found: Survey) -> list[Check]:
    major = found.version.partition(".")[0]
    series = next((name for name, majors in _MAJORS.items() if major in majors), "unknown series")
    expected = _SERIES[config.model]
    model = found.model or "a model that it does not tell"
    fits = found.model.upper().rstrip("E") in ("UR5", "") and series == expected
    majors = _MAJORS[expected]
    fast = config.rtde_rate_hz == 125 or series == "e-Series"
    return [
        Check("model", f"UR5, {expected}", f"{model}, {series}", fits),
        Check("software", " or ".join(f"{m}.x" for m in majors), found.version or "unknown", major in majors),
        Check("rate", "125 Hz" if series == "CB3" else "125 or 500 Hz", f"{config.rtde_rate_hz} Hz", fast),
    ]


def _remote(found: Survey) -> str:
    return {True: "on", False: "off", None: "not a mode of this software"}[found.remote_control]


def _payload(config: RobotConfig, found: Survey) -> list[Check]:
    expected = f"{config.payload_kg:.2f} kg at {_metres(config.payload_cog)}"
    if found.payload is None:
        return [Check("payload", expected, "not reported by this software", True)]
    mass, centre = found.payload
    near = math.dist(centre, config.payload_cog) <= _PAYLOAD_M
    ok = abs(mass - config.payload_kg) <= _PAYLOAD_KG and near
    return [Check("payload", expected, f"{mass:.2f} kg at {_metres(centre)}", ok)]


def _geometry(config: RobotConfig, found: Survey) -> list[Check]:
    """The tool's offset, and local kinematics against the measured pose."""
    flange, measured = config.arm.forward(found.state.q), pose_matrix(found.state.tcp_pose)
    tolerance = config.pose_tolerance_m, config.pose_tolerance_rad
    if found.tcp_offset is None:
        tool = matrix_pose(inverse_transform(flange) @ measured)
        near = _near(pose_matrix(tool), pose_matrix(config.tcp), *tolerance)
        return [Check("tcp", _pose(config.tcp), f"{_pose(tool)} by pose and joint angles", near)]
    tool = pose_matrix(found.tcp_offset)
    expected = flange @ tool
    distance, angle = _difference(expected, measured)
    return [
        Check(
            "tcp",
            _pose(config.tcp),
            _pose(found.tcp_offset),
            _near(tool, pose_matrix(config.tcp), _TCP_M, _TCP_RAD),
        ),
        Check(
            "kinematics",
            f"within {tolerance[0] * 1e3:g} mm and {tolerance[1]:g} rad of the nominal {config.model}",
            f"{distance * 1e3:.1f} mm and {angle:.4f} rad off",
            distance <= tolerance[0] and angle <= tolerance[1],
        ),
    ]


def _place(config: RobotConfig, state: RobotState) -> list[Check]:
    outside = _outside(config, state.q)
    rows = [Check("workspace", "joints, tool and elbow inside", outside or "inside", not outside)]
    if config.home is not None:
        away = float(np.max(np.abs(state.q - np.array(config.home))))
        rows.append(Check("home", f"joints within {_HOME_RAD} rad", f"up to {away:.2f} rad away", away <= _HOME_RAD))
    return rows


def _outside(config: RobotConfig, q: Vector) -> str:
    """What the safety filter has against the arm standing there; "" when nothing."""
    try:
        SafetyFilter(config.arm, config.tcp, config.limits, config.workspace).start(q)
    except WorldError as error:
        return error.problem.partition(": ")[2] or error.problem
    return ""


def _action(config: RobotConfig) -> Check:
    action = config.action
    expected = "ee_delta within 0.25 m and 1.6 rad a step, or joint_target in rad"
    found = f"{action.kind} at {action.rate_hz:g} Hz"
    try:
        spec = action.spec
    except ConfigError as error:
        return Check("action convention", expected, str(error), False)
    ok = action.kind == "joint_target" or (max(spec.scale[:3]) <= 0.25 and max(spec.scale[3:]) <= 1.6)
    scale = "" if action.scale is None else f", 1.0 is {action.scale[0]:g} m and {action.scale[3]:g} rad"
    return Check("action convention", expected, found + scale, ok)


def _difference(one: Vector, other: Vector) -> tuple[float, float]:
    turn = rotation_vector(one[:3, :3].T @ other[:3, :3])
    return math.dist(one[:3, 3], other[:3, 3]), float(np.linalg.norm(turn))


def _near(one: Vector, other: Vector, metres: float, radians: float) -> bool:
    distance, angle = _difference(one, other)
    return distance <= metres and angle <= radians


def _metres(values: Sequence[float]) -> str:
    return "[" + ", ".join(f"{value:.3f}" for value in values) + "] m"


def _pose(pose: Sequence[float] | Vector) -> str:
    return "[" + ", ".join(f"{value:.4f}" for value in pose) + "]"
