"""What a twin can pretend to be, and what it refuses to."""

from __future__ import annotations

from typing import Any

import pytest

from vlasteer.errors import ConfigError, UnknownNameError
from vlasteer.robots.twin.settings import ControllerVersion, TwinSettings


@pytest.mark.parametrize(
    ("text", "numbers", "rate"),
    [("3.15", (3, 15, 0, 0), 125), ("5.25.1", (5, 25, 1, 0), 500), ("10.11.0.7", (10, 11, 0, 7), 500)],
)
def test_versions(text: str, numbers: tuple[int, ...], rate: int) -> None:
    version = ControllerVersion.parse(text)
    assert version.numbers == numbers
    assert version.rate_hz == rate


@pytest.mark.parametrize("text", ["", "5", "5.x", "five", "1.8", "5.25.1.2.3", "-5.1", "5.25 "])
def test_versions_that_are_none(text: str) -> None:
    with pytest.raises(ConfigError):
        ControllerVersion.parse(text)


def test_a_feature_of_one_series_is_not_one_of_the_other() -> None:
    old, new, newest = (ControllerVersion.parse(text) for text in ("3.15", "5.11", "10.11"))
    assert not old.has(None, (5, 9))
    assert new.has(None, (5, 9))
    assert not new.has(None, (5, 23))
    assert newest.has(None, (5, 23))
    assert old.has((3, 15), (5, 11))
    assert not old.has((3, 16), (5, 11))


def test_versions_have_an_order() -> None:
    texts = ["3.15", "5.9.4", "5.11", "5.25", "10.11"]
    assert sorted(map(ControllerVersion.parse, texts[::-1])) == [ControllerVersion.parse(text) for text in texts]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"host": "192.168.1.5"}, "loopback"),
        ({"host": "0.0.0.0"}, "loopback"),
        ({"host": "localhost"}, "loopback"),
        ({"model": "ur5", "version": "5.25"}, "3.x for the ur5"),
        ({"model": "ur5e", "version": "3.15"}, "3.x for the ur5"),
        ({"joints": (0.0,) * 5}, "six finite numbers"),
        ({"tcp": (0.0, 0.0, float("nan"), 0.0, 0.0, 0.0)}, "six finite numbers"),
        ({"payload": -1.0}, "payload"),
        ({"serial_number": "UR-1"}, "digits"),
    ],
)
def test_what_cannot_be_is_refused_with_its_name(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TwinSettings(**options)


def test_an_unknown_arm_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="ur5e"):
        TwinSettings(model="ur10")


def test_the_version_follows_from_the_arm() -> None:
    assert TwinSettings(model="ur5").controller.cb3
    assert TwinSettings().controller == ControllerVersion.parse("5.25")
