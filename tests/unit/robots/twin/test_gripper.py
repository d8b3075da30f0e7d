"""The Robotiq gripper's lines."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlasteer.robots.twin.gripper import RobotiqGripper
from vlasteer.robots.twin.plant import KinematicPlant


class Fingers:
    """A gripper with a plant, and time."""

    def __init__(self) -> None:
        self.plant = KinematicPlant((0.0,) * 6)
        self.gripper = RobotiqGripper(self.plant)

    def say(self, line: str) -> str:
        return self.gripper.answer(line, powered=True)

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds * 100)):
            self.plant.step(np.zeros(6), np.zeros(6), 0.01)
            self.gripper.tick(0.01)

    def activated(self) -> Fingers:
        assert self.say("SET ACT 1") == "ack"
        self.run(1.0)
        assert self.say("GET STA") == "STA 3\n"
        return self


def test_nothing_moves_before_activation() -> None:
    fingers = Fingers()
    assert fingers.say("GET STA") == "STA 0\n"
    assert fingers.say("SET POS 255 GTO 1") == "ack"
    fingers.run(5.0)
    assert fingers.say("GET POS") == "POS 0\n"
    fingers.say("SET ACT 1")
    assert fingers.say("GET STA") == "STA 1\n"


def test_closing_on_air_ends_at_the_target() -> None:
    fingers = Fingers().activated()
    assert fingers.say("SET POS 255 SPE 255 FOR 100 GTO 1") == "ack"
    fingers.run(0.1)
    assert fingers.say("GET OBJ") == "OBJ 0\n"
    fingers.run(3.0)
    assert fingers.say("GET OBJ") == "OBJ 3\n"
    assert fingers.say("GET POS") == "POS 255\n"
    assert fingers.say("GET PRE") == "PRE 255\n"
    assert fingers.say("GET FOR") == "FOR 100\n"


def test_closing_on_a_block_finds_an_object() -> None:
    fingers = Fingers().activated()
    fingers.plant.block = 0.5
    fingers.say("SET POS 255 SPE 255 FOR 100 GTO 1")
    fingers.run(3.0)
    assert fingers.say("GET OBJ") == "OBJ 2\n"
    assert fingers.say("GET POS") == "POS 128\n"
    fingers.say("SET POS 0 GTO 1")
    fingers.run(3.0)
    assert fingers.say("GET OBJ") == "OBJ 3\n"


def test_slow_is_slower_than_fast() -> None:
    positions = []
    for speed in (0, 255):
        fingers = Fingers().activated()
        fingers.say(f"SET POS 255 SPE {speed} FOR 100 GTO 1")
        fingers.run(0.3)
        positions.append(fingers.gripper.value("POS"))
    assert 0 < positions[0] < positions[1]


def test_without_power_values_are_question_marks() -> None:
    assert RobotiqGripper(KinematicPlant((0.0,) * 6)).answer("GET POS", powered=False) == "POS ?\n"


@pytest.mark.parametrize(
    "line",
    ["", "GET", "GET NOTHING", "SET", "SET POS", "SET POS 256", "SET POS -1", "SET STA 1", "SET POS 1.5", "get pos"],
)
def test_lines_that_mean_nothing(line: str) -> None:
    assert Fingers().say(line) == "?\n"


@given(line=st.text(max_size=60))
def test_any_line_has_an_answer(line: str) -> None:
    assert Fingers().say(line).rstrip("\n")
