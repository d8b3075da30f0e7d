"""From a policy's action convention to a world's, or a refusal."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from vlasteer.errors import ConventionError
from vlasteer.types import ActionSpec, Gripper

Actions = NDArray[np.float64]
Converter = Callable[[Actions], Actions]


def converter(source: ActionSpec, target: ActionSpec) -> Converter:
    """A function that turns actions [n, size] (or [size]) of `source` into those of `target`.

    Motions are rescaled through SI units; the gripper is translated. What the numbers mean and the rate must agree.

    Raises:
        ConventionError: another kind, number of dimensions, or control rate.
    """
    if source.kind is not target.kind or source.size != target.size:
        raise ConventionError(
            f"the policy gives {source.kind.value} actions of {source.size} numbers",
            expected=f"{target.kind.value} actions of {target.size} numbers for this environment",
            fix="Choose a policy trained for it, or state the convention with --convention",
        )
    if abs(source.rate_hz - target.rate_hz) > 1e-6:
        raise ConventionError(
            f"the policy was trained at {source.rate_hz:g} Hz",
            expected=f"{target.rate_hz:g} Hz for this environment: deltas of another rate mean another speed",
        )
    factors = np.array(source.scale) / np.array(target.scale)
    gripper = _gripper_converter(source.gripper, target.gripper)

    def convert(actions: Actions) -> Actions:
        result = np.array(actions, dtype=np.float64)
        result[..., :-1] *= factors
        result[..., -1] = gripper(result[..., -1])
        return result

    return convert


def _gripper_converter(source: Gripper, target: Gripper) -> Converter:
    if source is target:
        return lambda g: g
    to_opening: dict[Gripper, Converter] = {
        Gripper.ZERO_CLOSED_ONE_OPEN: lambda g: g,
        Gripper.ZERO_OPEN_ONE_CLOSED: lambda g: 1 - g,
        Gripper.MINUS_OPEN_PLUS_CLOSED: lambda g: (1 - g) / 2,
    }
    from_opening: dict[Gripper, Converter] = {
        Gripper.ZERO_CLOSED_ONE_OPEN: lambda o: o,
        Gripper.ZERO_OPEN_ONE_CLOSED: lambda o: 1 - o,
        # OpenVLA's evaluation on LIBERO: [0, 1] -> [-1, 1], sign, inverted; a hesitant 0.6 opens all the way.
        Gripper.MINUS_OPEN_PLUS_CLOSED: lambda o: -np.sign(2 * o - 1),
    }
    opening, closing = to_opening[source], from_opening[target]
    return lambda g: closing(opening(g))
