"""Safety row 16: each wrong value refuses, and its name is in the message."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from ur_arm import KEY, motions

from vlasteer.errors import WorldError
from vlasteer.robots.twin import TwinProcess
from vlasteer.robots.ur.config import ActionConfig, RobotConfig
from vlasteer.robots.ur.limits import Workspace
from vlasteer.robots.ur.world import URWorld
from vlasteer.types import Outcome

Make = Callable[..., URWorld]


def _config(twin: TwinProcess, **changes: Any) -> RobotConfig:
    return RobotConfig.of_twin(twin.host, cameras={}, gripper=None, **changes)


@pytest.mark.parametrize(
    ("hook", "arguments", "name"),
    [
        ("remote_control", {"on": False}, "remote control is off"),
        ("protective_stop", {}, "safety is protective stop"),
        ("emergency_stop", {}, "safety is robot emergency stop"),
        ("power", {"on": False}, "safety is not powered"),
        ("tcp", {"pose": [0.0, 0.0, 0.1, 0.0, 0.0, 0.0]}, "tcp is"),
        ("tcp_error", {"offset": [0.0, 0.01, 0.0]}, "kinematics is 10.0 mm"),
        ("payload", {"mass": 1.2}, "payload is 1.20 kg"),
        ("payload", {"mass": 0.0, "cog": [0.0, 0.0, 0.05]}, "payload is 0.00 kg at"),
        ("speed_slider", {"fraction": 0.0}, "speed slider is 0%"),
        ("place", {"q": [0.0, -0.5, 0.8, -1.57, -1.57, 0.0]}, "workspace is"),
        ("registers_in_use", {"names": ["input_int_register_0"]}, "registers of"),
        ("script_never_starts", {"on": True}, "control script does not start"),
    ],
)
def test_what_is_wrong_on_the_controller_is_named(
    twin: TwinProcess, since: int, make_world: Make, hook: str, arguments: dict[str, Any], name: str
) -> None:
    twin.call(hook, **arguments)
    world = make_world(_config(twin))
    with pytest.raises(WorldError, match=name):
        world.reset(KEY)
    assert world.outcome is Outcome.FAILED
    assert motions(twin, since) == []


def test_what_is_wrong_in_the_file_is_named(twin: TwinProcess, make_world: Make) -> None:
    config = _config(twin)
    small = replace(config.workspace, tcp_low=(-0.3, -0.1, 0.05), tcp_high=(-0.25, 0.1, 0.2))
    assert isinstance(small, Workspace)
    far = ActionConfig(scale=(0.5, 0.5, 0.5, 0.5, 0.5, 0.5))
    for wrong, name in (
        (replace(config, model="ur5"), "model is UR5, e-Series"),
        (replace(config, workspace=small), "workspace is"),
        (replace(config, home=(1.0, -1.57, 1.57, -1.57, -1.57, 0.0)), "home is up to 1.00 rad"),
        (replace(config, action=far), "action convention is"),
    ):
        world = make_world(wrong)
        with pytest.raises(WorldError, match=name):
            world.reset(KEY)
        assert next(row.name for row in world.checks if not row.ok) in name


def test_the_table_is_kept_when_all_is_well(twin: TwinProcess, make_world: Make) -> None:
    world = make_world(_config(twin))
    world.reset(KEY)
    assert {row.name for row in world.checks} == {
        "model",
        "software",
        "rate",
        "remote control",
        "safety",
        "speed slider",
        "payload",
        "tcp",
        "kinematics",
        "workspace",
        "action convention",
    }
    assert all(row.ok for row in world.checks)


def test_nobody_at_that_address(make_world: Make) -> None:
    world = make_world(RobotConfig.of_twin("127.9.9.9", cameras={}, gripper=None))
    with pytest.raises(WorldError, match=r"127\.9\.9\.9"):
        world.reset(KEY)
