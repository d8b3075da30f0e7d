"""Ids to values to actions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlasteer.errors import ConfigError, UnknownNameError
from vlasteer.policies.openvla.actions import ActionBins, ActionStatistics, choose_key
from vlasteer.policies.openvla.conventions import known_convention, parse_convention, unknown_convention
from vlasteer.policies.openvla.evaluation import image_path_for_world, key_for_world
from vlasteer.types import ActionKind, Gripper

BINS = ActionBins(vocabulary=32000, bins=256)
RANGE = ActionStatistics(np.array([-0.2, 0.0, 0.0]), np.array([0.6, 0.0, 1.0]), np.array([True, True, False]))


def test_the_highest_id_is_the_lowest_value() -> None:
    values = BINS.decode(np.array([31999, 31998, 31872, 31745]))
    assert np.allclose(values, [-1 + 1 / 255, -1 + 3 / 255, 0.0, 1 - 1 / 255], atol=1e-12)


@given(st.integers(0, 32063))
def test_every_id_has_a_value(token: int) -> None:
    value = BINS.decode(np.array([token]))[0]
    assert -1 < value < 1
    if 31745 <= token < 32000:
        assert value == pytest.approx(-1 + (2 * (31999 - token) + 1) / 255)
    else:
        assert value == (BINS.decode(np.array([31745 if token < 31745 else 31999]))[0])


def test_ids_that_are_no_action_token_are_counted() -> None:
    assert BINS.foreign(np.array([31743, 31744, 31999, 32000, 5])) == 3


def test_action_tokens_read_as_their_value() -> None:
    assert BINS.label(31872) == "<a +0.000>"
    assert BINS.label(31999) == "<a -0.996>"


def test_only_masked_dimensions_are_unnormalised() -> None:
    assert np.allclose(RANGE.unnormalise(np.array([-1.0, 0.3, 0.3])), [-0.2, 0.0, 0.3])
    assert np.allclose(RANGE.unnormalise(np.array([[1.0, 0.3, -1.0]])), [[0.6, 0.0, -1.0]])


@pytest.mark.parametrize(
    ("keys", "asked", "chosen"),
    [
        (["a"], None, "a"),
        (["a", "b"], None, None),
        (["a", "b"], "b", "b"),
        (["libero_10_no_noops", "b"], "libero_10", "libero_10_no_noops"),
        (["libero_10_no_noops", "libero_10"], "libero_10", "libero_10"),
    ],
)
def test_the_choice_of_a_data_set(keys: list[str], asked: str | None, chosen: str | None) -> None:
    assert choose_key(dict.fromkeys(keys, RANGE), asked) == chosen


def test_an_unknown_data_set_is_refused() -> None:
    with pytest.raises(UnknownNameError, match=r"one of: bridge_orig\. Did you mean 'bridge_orig'"):
        choose_key({"bridge_orig": RANGE}, "bridge")


# -- conventions -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("key", ["libero_10", "libero_spatial_no_noops", "libero_90", "libero_goal", "libero_object"])
def test_libero_actions_are_controller_inputs(key: str) -> None:
    spec = known_convention(key)
    assert spec is not None
    assert (spec.kind, spec.gripper, spec.rate_hz) == (ActionKind.EE_DELTA, Gripper.ZERO_CLOSED_ONE_OPEN, 20.0)
    assert spec.scale == (0.05,) * 3 + (0.5,) * 3


def test_bridge_actions_are_metric() -> None:
    spec = known_convention("bridge_orig")
    assert spec is not None
    assert (spec.rate_hz, spec.scale) == (5.0, (1.0,) * 6)


def test_an_unlisted_data_set_has_no_convention_until_somebody_states_it() -> None:
    assert known_convention("my_robot") is None
    assert unknown_convention(7).kind is ActionKind.UNKNOWN
    assert unknown_convention(4).size == 4
    assert parse_convention("bridge_orig", 7) == known_convention("bridge_orig")
    metric = parse_convention("ee_delta@10", 7)
    assert (metric.kind, metric.rate_hz, metric.scale) == (ActionKind.EE_DELTA, 10.0, (1.0,) * 6)
    joints = parse_convention("joint_velocity@12.5", 7)
    assert joints.names == ("joint1", "joint2", "joint3", "joint4", "joint5", "joint6", "gripper")
    assert (joints.kind, joints.rate_hz) == (ActionKind.JOINT_VELOCITY, 12.5)


@pytest.mark.parametrize(
    ("text", "size"), [("", 7), ("unknown@5", 7), ("ee_delta@0", 7), ("ee_delta@1.2.3", 7), ("libero", 8), ("x@5", 7)]
)
def test_a_convention_that_nobody_knows_is_refused(text: str, size: int) -> None:
    with pytest.raises(ConfigError, match="convention"):
        parse_convention(text, size)


# -- evaluation --------------------------------------------------------------------------------------------------------
def test_a_world_finds_its_statistics_and_image_path() -> None:
    keys = ("bridge_orig", "libero_10_no_noops")
    assert key_for_world(keys, "libero_10") == "libero_10_no_noops"
    assert key_for_world(keys, "bridge_orig") == "bridge_orig"
    assert key_for_world(keys, "ur5e-tabletop") is None
    with pytest.warns(UserWarning, match="no statistics of 'libero_goal'.*'libero_10_no_noops'"):
        assert key_for_world(keys, "libero_goal") == "libero_10_no_noops"
    assert key_for_world((*keys, "libero_90"), "libero_goal") is None
    assert image_path_for_world("libero_goal") == "libero"
    assert image_path_for_world("ur5e-tabletop") == "plain"


def test_a_folder_of_statistics_is_read_once(openvla_tiny: Path) -> None:
    from vlasteer.policies.openvla.actions import read_statistics
    from vlasteer.policies.openvla.config import OpenVLAConfig

    statistics = read_statistics(openvla_tiny, OpenVLAConfig.read(openvla_tiny))
    assert {name: found.size for name, found in statistics.items()} == {"bridge_orig": 7, "libero_10_no_noops": 7}
    assert statistics["bridge_orig"].mask.tolist() == [True] * 6 + [False]
