"""From one action convention to another."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys import SPEC

from vlasteer.conventions import converter
from vlasteer.errors import ConventionError
from vlasteer.types import ActionKind, Gripper

OPENVLA = replace(SPEC, gripper=Gripper.ZERO_CLOSED_ONE_OPEN)


def test_the_gripper_of_openvla_is_decided_and_inverted_for_libero() -> None:
    convert = converter(OPENVLA, SPEC)
    actions = np.zeros((4, 7))
    actions[:, -1] = [0.0, 0.4, 0.6, 1.0]
    assert convert(actions)[:, -1].tolist() == [1, 1, -1, -1]
    assert actions[:, -1].tolist() == [0.0, 0.4, 0.6, 1.0]


def test_motions_are_rescaled_through_si() -> None:
    metres = replace(SPEC, scale=(1.0,) * 6)
    assert converter(metres, SPEC)(np.array([0.05] * 3 + [0.5] * 3 + [1]))[:6] == pytest.approx([1.0] * 6)


@given(st.sampled_from(list(Gripper)), st.sampled_from([0.0, 1.0]))
def test_fully_open_and_fully_closed_survive_every_translation(gripper: Gripper, opening: float) -> None:
    start = np.zeros(7)
    start[-1] = opening
    there = converter(OPENVLA, replace(SPEC, gripper=gripper))(start)
    back = converter(replace(SPEC, gripper=gripper), OPENVLA)(there)
    assert back[-1] == opening


@pytest.mark.parametrize("change", [{"kind": ActionKind.JOINT_TARGET}, {"rate_hz": 5.0}])
def test_mismatches_are_refused(change: dict) -> None:
    with pytest.raises(ConventionError, match="Expected"):
        converter(replace(SPEC, **change), SPEC)
