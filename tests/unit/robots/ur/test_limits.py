"""Limits and workspace: strict by default, never beyond the ceilings, and said by name."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

import pytest

from vlasteer.errors import ConfigError
from vlasteer.robots.ur.limits import RANGES, Limits, Workspace

BOX: dict[str, Any] = {"tcp_low": (-0.6, -0.4, 0.0), "tcp_high": (-0.2, 0.4, 0.5)}


def test_every_limit_has_a_range_with_its_default_inside() -> None:
    assert {field.name for field in fields(Limits)} == set(RANGES)
    Limits()


def test_the_defaults_are_those_of_the_reduced_mode() -> None:
    assert (Limits().tcp_speed, Limits().tcp_turn, Limits().state_age) == (0.25, 0.6, 0.05)


@pytest.mark.parametrize("name", sorted(RANGES))
def test_no_configuration_goes_beyond_the_ceilings(name: str) -> None:
    low, high, unit = RANGES[name]
    Limits(**{name: low})
    Limits(**{name: high})
    for value in (high * 1.01, low * 0.99, -1.0, 0, math.nan, math.inf, "1", None, True):
        with pytest.raises(ConfigError, match=f"'{name}'") as error:
            Limits(**{name: value})  # type: ignore[arg-type]
        assert unit in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tcp_low": (-0.6, -0.4)}, "'tcp_low' has 2 numbers"),
        ({"tcp_low": (-0.6, -0.4, math.nan)}, "'tcp_low' z is nan"),
        ({"tcp_high": (-0.2, 0.4, 500)}, "'tcp_high' z is 500"),
        ({"tcp_low": (-0.2, -0.4, 0.0), "tcp_high": (-0.6, 0.4, 0.5)}, "tcp goes from -0.2 to -0.6 m along x"),
        ({"elbow_low": (0.7, 0, 0)}, "elbow goes from 0.7 to 0.7 m along x"),
        ({"table_z": math.inf}, "'table_z'"),
        ({"table_z": 0.49}, "'tcp_high' z is 0.5 m"),
        ({"elbow_clearance": 0.0}, "'elbow_clearance'"),
        ({"tool_clearance": -0.1}, "'tool_clearance'"),
    ],
)
def test_a_workspace_without_an_inside_is_refused_with_the_name_of_the_value(
    change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Workspace(**{**BOX, **change})


def test_the_floor_is_the_higher_of_box_and_table() -> None:
    assert Workspace(**BOX, table_z=0.1, tool_clearance=0.02).tool_floor == pytest.approx(0.12)
    assert Workspace(**BOX, table_z=-0.1).tool_floor == 0.0
