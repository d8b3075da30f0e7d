"""What the actions of a checkpoint mean. Weights do not say it: it follows from the data that they were trained on.

    libero  robosuite's OSC_POSE: +-1 is 0.05 m and 0.5 rad per step of 20 Hz; gripper -1 open, +1 closed; no flip
            (Liu et al. 2023, "LIBERO")
    ur5     absolute joint angles at 20 Hz, gripper 0 open .. 1 closed (openpi, examples/ur5)
    droid   joint velocities at 15 Hz, where 1 is 0.2 rad per step, gripper 0 open .. 1 closed
            (Khazatsky et al. 2024, "DROID"; openpi, examples/droid)

All three have a camera on the scene and one at the wrist.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from vlasteer.errors import ConfigError, UnknownNameError
from vlasteer.types import EE_NAMES, ActionKind, ActionSpec, Gripper

SCENE_AND_WRIST = ("image", "image2")
"""Names of the two cameras, as worlds give them."""

_UR5_NAMES = ("shoulder_pan", "shoulder_lift", "elbow", "wrist_1", "wrist_2", "wrist_3", "gripper")
_DROID_NAMES = (*(f"joint_{i}" for i in range(1, 8)), "gripper")
_DROID_RATE_HZ = 15.0
_DROID_RAD_PER_STEP = 0.2


@dataclass(frozen=True)
class Convention:
    """What a policy trained on a kind of data reads and gives.

    Attributes:
        spec: of the actions.
        state_size: length of the state; libero: end-effector position (m), axis-angle (rad), two finger positions;
            ur5 and droid: joint angles (rad) and gripper.
    """

    spec: ActionSpec
    state_size: int


CONVENTIONS = {
    "libero": Convention(
        ActionSpec(
            ActionKind.EE_DELTA, Gripper.MINUS_OPEN_PLUS_CLOSED, (0.05,) * 3 + (0.5,) * 3, rate_hz=20.0, names=EE_NAMES
        ),
        state_size=8,
    ),
    "ur5": Convention(
        ActionSpec(ActionKind.JOINT_TARGET, Gripper.ZERO_OPEN_ONE_CLOSED, (1.0,) * 6, rate_hz=20.0, names=_UR5_NAMES),
        state_size=7,
    ),
    "droid": Convention(
        ActionSpec(
            ActionKind.JOINT_VELOCITY,
            Gripper.ZERO_OPEN_ONE_CLOSED,
            (_DROID_RAD_PER_STEP * _DROID_RATE_HZ,) * 7,
            rate_hz=_DROID_RATE_HZ,
            names=_DROID_NAMES,
        ),
        state_size=8,
    ),
}


def parse_convention(name: str) -> Convention:
    """The convention of that name.

    Raises:
        UnknownNameError: there is none.
    """
    if name not in CONVENTIONS:
        raise UnknownNameError.among("convention", name, CONVENTIONS)
    return CONVENTIONS[name]


def stated_or_known(stated: str | None, *, cameras: Sequence[str], state_size: int, action_size: int) -> ActionSpec:
    """The convention of actions whose sizes are known.

    Args:
        stated: what the user said, or None.
        cameras, state_size, action_size: of the checkpoint; lerobot's LIBERO data are known by these together.

    Returns:
        The convention, or one of `ActionKind.UNKNOWN`, which no world takes, where nobody has said.

    Raises:
        UnknownNameError: no such convention.
        ConfigError: what was stated has other sizes than the checkpoint.
    """
    if stated is None:
        libero = CONVENTIONS["libero"]
        if (tuple(cameras), state_size, action_size) == (SCENE_AND_WRIST, libero.state_size, libero.spec.size):
            return libero.spec
        return unknown_spec(action_size)
    convention = parse_convention(stated)
    if (convention.state_size, convention.spec.size) != (state_size, action_size):
        raise ConfigError(
            f"convention '{stated}' has {convention.state_size} state and {convention.spec.size} action numbers",
            expected=f"{state_size} and {action_size}, as the checkpoint has",
        )
    return convention.spec


def unknown_spec(action_size: int) -> ActionSpec:
    """For actions in units and at a rate that nobody has stated."""
    names = (*(f"a{i}" for i in range(action_size - 1)), "gripper")
    return ActionSpec(ActionKind.UNKNOWN, Gripper.ZERO_OPEN_ONE_CLOSED, (1.0,) * (action_size - 1), math.inf, names)
