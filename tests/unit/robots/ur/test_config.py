"""Robot files: what is read, and what each mistake is answered with."""

from __future__ import annotations

import math
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from vlasteer.envs.tabletop import simulation
from vlasteer.envs.tabletop.gripper import TCP_OFFSET
from vlasteer.errors import ConfigError, InputError, UnknownNameError
from vlasteer.kinematics import UR5E, pose_matrix
from vlasteer.robots.twin.settings import HOME, TwinSettings
from vlasteer.robots.ur.config import TABLETOP_TCP, ActionConfig, RobotConfig
from vlasteer.robots.ur.fields import build
from vlasteer.robots.ur.limits import RANGES, Limits
from vlasteer.types import ActionKind, Gripper

EXAMPLE = Path(__file__).resolve().parents[4] / "docs" / "ur5e.yaml"
LEAST = """
host: 10.0.0.5
model: ur5e
tcp: [0, 0, 0.1, 0, 0, 0]
payload_kg: 0.5
workspace: {tcp_low: [-0.7, -0.3, 0.02], tcp_high: [-0.3, 0.3, 0.4]}
"""


@pytest.fixture
def load(tmp_path: Path):
    """Loads a robot file of this text."""

    def load(text: str, **changes: Any) -> RobotConfig:
        path = tmp_path / "robot.yaml"
        path.write_text(text, encoding="utf-8")
        return RobotConfig.load(path, **changes)

    return load


def test_the_example_is_read_as_it_stands() -> None:
    config = RobotConfig.load(EXAMPLE)
    assert config.model == "ur5e"
    assert config.workspace.tcp_high == (-0.30, 0.35, 0.45)
    assert config.action.spec.kind is ActionKind.EE_DELTA
    assert config.cameras["image"].crop == (80, 0, 480, 480)
    assert config.gripper is not None
    assert config.gripper.closed_count == 230
    assert config.limits == Limits()  # what it shows as defaults are the defaults
    shown = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    assert set(shown) == {field.name for field in fields(RobotConfig)} - {"pose_tolerance_m", "pose_tolerance_rad"}


def test_what_is_left_out_is_strict(load) -> None:
    config = load(LEAST)
    assert config.limits == Limits()
    assert config.rtde_rate_hz == 125
    assert config.gripper is None
    assert config.cameras == {}
    assert config.action.spec.gripper is Gripper.MINUS_OPEN_PLUS_CLOSED


def test_the_command_line_replaces_the_address(load) -> None:
    assert load(LEAST, host="192.168.0.7").host == "192.168.0.7"
    assert load(LEAST.replace("host: 10.0.0.5\n", ""), host="arm.local").host == "arm.local"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("payload_kg: 0.5", "payload: 0.5", r"unknown key in robot.yaml: 'payload'.*Did you mean 'payload_kg'\?"),
        ("payload_kg: 0.5", "", r"'payload_kg' is missing. Expected mass of the tool"),
        ("payload_kg: 0.5", "payload_kg: heavy", "robot.yaml.payload_kg is 'heavy'. Expected a finite number"),
        ("payload_kg: 0.5", "payload_kg: 5e-1", "with a point and without quotes"),
        ("payload_kg: 0.5", "payload_kg: .nan", "payload_kg is nan. Expected a finite number"),
        ("payload_kg: 0.5", "payload_kg: true", "payload_kg is True. Expected a finite number"),
        ("payload_kg: 0.5", "payload_kg: 12", "payload_kg 12.0. Expected 0 to 5 kg for a ur5e"),
        ("payload_kg: 0.5", "payload_kg: 0.5\npayload_kg: 1.5", r"line \d+: 'payload_kg' is given twice"),
        ("model: ur5e", "model: ur10", "one of: ur5, ur5e"),
        ("model: ur5e", "model: ur5\nrtde_rate_hz: 500", "rtde_rate_hz 500 for a ur5"),
        ("model: ur5e", "model: ur5e\nrtde_rate_hz: 250", "one of: 125, 500"),
        ("host: 10.0.0.5", "host: 10", 'Expected text. Write it in quotes: "10"'),
        ("host: 10.0.0.5", "host: 'a b'", "host 'a b'. Expected the controller's address"),
        ("tcp: [0, 0, 0.1, 0, 0, 0]", "tcp: [0, 0, 0.1]", r"tcp is \[0, 0, 0.1\]. Expected a list of 6"),
        ("tcp: [0, 0, 0.1, 0, 0, 0]", "tcp: [0, 0, 145, 0, 0, 0]", "at most 0.6 m from the flange"),
        ("tcp: [0, 0, 0.1, 0, 0, 0]", "tcp: [0, 0, 0.1, 180, 0, 0]", "metres and radians"),
        ("tcp_low: [-0.7", "tcp_lo: [-0.7", r"unknown key in robot.yaml.workspace: 'tcp_lo'.*'tcp_low'\?"),
        ("tcp_low: [-0.7", "tcp_low: [-0.2", "robot.yaml.workspace: the workspace of the tcp goes from -0.2"),
        ("model: ur5e", "model: ur5e\nlimits: {tcp_speed: 3.0}", r"robot.yaml.limits: limit 'tcp_speed' is 3.0"),
        ("model: ur5e", "model: ur5e\nlimits: 3", "robot.yaml.limits is 3. Expected lines of the form"),
        ("model: ur5e", "model: ur5e\nhome: [0, -90, 90, -90, -90, 0]", "six joint angles in rad"),
        ("model: ur5e", "model: ur5e\ncameras: {image: {kind: webcam}}", "cameras.image.kind: 'webcam'"),
        ("model: ur5e", "model: ur5e\ncameras: [image]", "robot.yaml.cameras is"),
        ("model: ur5e", "model: ur5e\ncameras: {image: {kind: opencv, device: 0.5}}", "image.device is 0.5"),
        ("model: ur5e", "model: ur5e\ngripper: {speed: 2}", "robot.yaml.gripper: speed 2.0"),
        ("model: ur5e", "model: ur5e\naction: {kind: ee_delta}", "ee_delta actions without scale"),
        ("model: ur5e", "model: ur5e\naction: {kind: joint_velocity}", "one of: ee_delta, joint_target"),
        ("model: ur5e", "model: ur5e\naction: {gripper: open}", "zero_closed_one_open"),
        ("model: ur5e", "model: [ur5e", "is no YAML"),
        ("model: ur5e", "model: !!python/name:os.system", "is no YAML"),
    ],
)
def test_every_mistake_gets_its_own_line(load, old, new, says) -> None:
    assert old in LEAST
    with pytest.raises(InputError, match=says):
        load(LEAST.replace(old, new))


def test_files_that_are_none(tmp_path: Path, load) -> None:
    with pytest.raises(ConfigError, match="no robot file at"):
        RobotConfig.load(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        RobotConfig.load(tmp_path)
    for text in ("", "just text", "- a list"):
        with pytest.raises(ConfigError, match="key: value"):
            load(text)


def test_a_joint_space_arm_in_any_unit_of_the_gripper(load) -> None:
    text = LEAST + "action: {kind: joint_target, rate_hz: 20, gripper: zero_open_one_closed}\n"
    spec = load(text).action.spec
    assert spec.kind is ActionKind.JOINT_TARGET
    assert spec.scale == (1.0,) * 6
    assert spec.size == 7


def test_the_twins_configuration_is_that_of_its_tabletop() -> None:
    config = RobotConfig.of_twin("127.0.0.9")
    assert config.tcp == TABLETOP_TCP == (0.0, 0.0, TCP_OFFSET, 0.0, 0.0, 0.0)
    spec = config.action.spec
    assert spec == simulation.ACTION_SPEC
    # The world's axes in the arm's base frame, and the world's workspace with them.
    low, high = (np.array(corner) for corner in zip(*simulation.WORKSPACE, strict=True))
    ends = np.sort([config.to_base(low), config.to_base(high)], axis=0)
    np.testing.assert_allclose(ends, [config.workspace.tcp_low, config.workspace.tcp_high], atol=1e-12)
    start = (UR5E.forward(HOME) @ pose_matrix(config.tcp))[:3, 3]
    assert np.all(start > config.workspace.tcp_low)
    assert np.all(start < config.workspace.tcp_high)
    assert config.payload_kg == TwinSettings().payload
    assert RobotConfig.of_twin("127.0.0.9", rtde_rate_hz=500).rtde_rate_hz == 500


@pytest.mark.parametrize(
    "values",
    [
        {"rate_hz": 0.0},
        {"rate_hz": 500.0},
        {"scale": (0.0,) * 6},
        {"scale": (1000.0,) * 6},
        {"frame": (0.0, 0.0, 180.0)},
        {"kind": "joint_target", "scale": None, "frame": (0.0, 0.0, 1.0)},
    ],
)
def test_actions_that_cannot_be(values) -> None:
    with pytest.raises(ConfigError):
        ActionConfig(**{"scale": (0.05,) * 6} | values)


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=7) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
keys = st.sampled_from([field.name for field in fields(RobotConfig)])


@given(st.dictionaries(keys, junk, max_size=3))
def test_whatever_stands_in_the_file_it_is_used_or_refused_in_one_line(changes: dict[str, Any]) -> None:
    values = yaml.safe_load(LEAST) | changes
    try:
        config = build(RobotConfig, values, "robot.yaml")
    except InputError as error:
        said = str(error)
    else:
        said = "robot.yaml"
        assert math.isfinite(config.payload_kg)
        assert all(math.isfinite(value) for value in (*config.tcp, *config.payload_cog))
    assert "robot.yaml" in said
    assert "\n" not in said


@given(st.sampled_from(sorted(RANGES)), st.floats() | st.integers())
def test_a_limit_is_within_its_range_or_refused(name: str, value: float) -> None:
    low, high, _ = RANGES[name]
    values = yaml.safe_load(LEAST) | {"limits": {name: value}}
    if math.isfinite(value) and low <= value <= high:
        assert getattr(build(RobotConfig, values, "robot.yaml").limits, name) == value
    else:
        with pytest.raises(ConfigError, match=name):
            build(RobotConfig, values, "robot.yaml")


@given(st.text(min_size=1, max_size=12).filter(lambda s: s not in {f.name for f in fields(RobotConfig)}))
def test_unknown_keys_are_refused_by_name(key: str) -> None:
    with pytest.raises(UnknownNameError, match="unknown key"):
        build(RobotConfig, yaml.safe_load(LEAST) | {key: 1}, "robot.yaml")
