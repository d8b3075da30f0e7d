"""What the numbers of an action mean, by the data set that they were un-normalised with.

A checkpoint does not say it. The table:

    libero_*               OSC_POSE inputs: 1.0 is 0.05 m and 0.5 rad, 20 Hz (Liu et al. 2023, "LIBERO")
    tabletop_*             the same: this project's own world
    bridge_*               metres and radians per step, 5 Hz (Walke et al. 2023, "BridgeData V2")
    fractal20220817_data   metres and radians per step, 3 Hz (Brohan et al. 2022, "RT-1")
    berkeley_autolab_ur5   metres and radians per step, 5 Hz (Chen et al., "Berkeley UR5 Demonstration Dataset")

LIBERO's row was checked against its simulation, the tabletop's is our own. Of the last three, the rates agree with
public tables of Open X-Embodiment's control frequencies; that their numbers are metres and radians was NOT checked
against the data. No world of this package takes these rates; check the units before an arm does.

Rotations of the last three are Euler angle increments, which for steps this small equal the rotation vector that
`ActionKind.EE_DELTA` means. OpenVLA's data pipeline turns all grippers into 1 open, 0 closed.
"""

from __future__ import annotations

import math
import re

from vlasteer.errors import ConfigError
from vlasteer.types import EE_NAMES, ActionKind, ActionSpec, Gripper

_LIBERO_SUITES = ("libero_spatial", "libero_object", "libero_goal", "libero_10", "libero_90")
_TABLETOP_WORLDS = ("tabletop_transport", "tabletop_lift", "tabletop_push")
_METRIC_RATES_HZ = {
    "bridge_orig": 5.0,
    "bridge_oxe": 5.0,
    "bridge_dataset": 5.0,
    "fractal20220817_data": 3.0,
    "berkeley_autolab_ur5": 5.0,
}
_EXPLICIT = re.compile(r"(?P<kind>[a-z_]+)@(?P<rate>[0-9.]+)$")


def known_convention(key: str) -> ActionSpec | None:
    """The convention of a data set in the table, or None."""
    suite = key.removesuffix("_no_noops")
    if suite in _LIBERO_SUITES or suite in ("libero", "tabletop") or suite in _TABLETOP_WORLDS:
        return _end_effector(20.0, (0.05,) * 3 + (0.5,) * 3)
    if key in _METRIC_RATES_HZ:
        return _end_effector(_METRIC_RATES_HZ[key], (1.0,) * 6)
    return None


def parse_convention(text: str, size: int) -> ActionSpec:
    """The convention that somebody states: a data set of the table, or `kind@rate` in SI units, e.g. `ee_delta@10`.

    Args:
        text: what was given with `--convention`.
        size: length of an action.

    Raises:
        ConfigError: neither, or not for actions of that size.
    """
    spec = known_convention(text) or _explicit(text, size)
    if spec is None:
        kinds = ", ".join(f"{kind.value}@HZ" for kind in ActionKind if kind is not ActionKind.UNKNOWN)
        raise ConfigError(
            f"convention '{text}'",
            expected=f"libero, {', '.join(_METRIC_RATES_HZ)}, or SI units as {kinds} with the control rate",
        )
    if spec.size != size:
        raise ConfigError(
            f"convention '{text}' has {spec.size} numbers", expected=f"{size}, as the checkpoint's actions"
        )
    return spec


def unknown_convention(size: int) -> ActionSpec:
    """For a data set that is not in the table: its own units, at a rate that nobody stated."""
    names = EE_NAMES if size == len(EE_NAMES) else (*(f"a{i}" for i in range(size - 1)), "gripper")
    return ActionSpec(ActionKind.UNKNOWN, Gripper.ZERO_CLOSED_ONE_OPEN, (1.0,) * (size - 1), math.inf, names)


def _end_effector(rate_hz: float, scale: tuple[float, ...]) -> ActionSpec:
    return ActionSpec(ActionKind.EE_DELTA, Gripper.ZERO_CLOSED_ONE_OPEN, scale, rate_hz, EE_NAMES)


def _explicit(text: str, size: int) -> ActionSpec | None:
    match = _EXPLICIT.fullmatch(text)
    kinds = {kind.value: kind for kind in ActionKind if kind is not ActionKind.UNKNOWN}
    if match is None or match["kind"] not in kinds:
        return None
    try:
        rate = float(match["rate"])
    except ValueError:
        return None
    if not rate > 0:
        return None
    kind = kinds[match["kind"]]
    if kind is ActionKind.EE_DELTA:
        return _end_effector(rate, (1.0,) * 6)
    joints = tuple(f"joint{i}" for i in range(1, size))
    return ActionSpec(kind, Gripper.ZERO_CLOSED_ONE_OPEN, (1.0,) * (size - 1), rate, (*joints, "gripper"))
