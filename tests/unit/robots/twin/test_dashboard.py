"""The dashboard's replies, word for word where clients compare them."""

from __future__ import annotations

import pytest
from twin_bench import Bench

from vlasteer.robots.twin.dashboard import answer, closes


@pytest.mark.parametrize(
    ("command", "reply"),
    [
        ("robotmode", "Robotmode: RUNNING"),
        ("ROBOTMODE", "Robotmode: RUNNING"),
        ("safetymode", "Safetymode: NORMAL"),
        ("safetystatus", "Safetystatus: NORMAL"),
        ("running", "Program running: true"),
        ("programState", "PLAYING rtde_control"),
        ("PolyscopeVersion", "URSoftware 5.25.0.0 (Jan 01 2025)"),
        ("version", "5.25.0.0"),
        ("get serial number", "20235500001"),
        ("get robot model", "UR5"),
        ("is in remote control", "true"),
        ("load nothing.urp", "File not found: nothing.urp"),
        ("get loaded program", "No program loaded"),
        ("play", "Failed to execute: play"),
        ("popup hello", "showing popup"),
        ("close popup", "closing popup"),
        ("close safety popup", "closing safety popup"),
        ("addToLog hello", "Added log message"),
        ("power on", "Powering on"),
        ("brake release", "Brake releasing"),
        ("unlock protective stop", "Protective stop releasing"),
        ("restart safety", "Restarting safety"),
        ("quit", "Disconnected"),
        ("runningg", "could not understand: 'runningg'"),
        ("", "could not understand: ''"),
    ],
)
def test_replies(bench: Bench, command: str, reply: str) -> None:
    assert answer(bench.controller, command) == reply


def test_stop_is_answered_with_the_one_word_that_the_client_accepts(bench: Bench) -> None:
    assert answer(bench.controller, "stop") == "Stopped"
    bench.run(0.1)
    assert answer(bench.controller, "running") == "Program running: false"
    assert answer(bench.controller, "stop") == "Stopped"


def test_pause_and_play(bench: Bench) -> None:
    assert answer(bench.controller, "pause") == "Pausing program"
    bench.run(0.1)
    assert answer(bench.controller, "programState") == "PAUSED rtde_control"
    assert answer(bench.controller, "pause") == "Failed to execute: pause"
    assert answer(bench.controller, "play") == "Starting program"
    bench.run(0.1)
    assert answer(bench.controller, "running") == "Program running: true"


REMOTE_ONLY = (
    "play",
    "pause",
    "stop",
    "power on",
    "power off",
    "brake release",
    "unlock protective stop",
    "load x.urp",
)


@pytest.mark.parametrize("command", REMOTE_ONLY)
def test_local_control_refuses_what_moves_or_powers(bench: Bench, command: str) -> None:
    bench.controller.remote_control = False
    before = bench.controller.safety.robot_mode, bench.controller.runtime_state
    assert answer(bench.controller, command) == "Not in remote control"
    bench.run(0.5)
    assert (bench.controller.safety.robot_mode, bench.controller.runtime_state) == before
    assert answer(bench.controller, "is in remote control") == "false"
    assert answer(bench.controller, "robotmode") == "Robotmode: RUNNING"


def test_cb3_has_no_remote_control() -> None:
    controller = Bench(model="ur5").controller
    assert answer(controller, "is in remote control").startswith("could not understand")
    assert answer(controller, "get serial number").startswith("could not understand")
    assert answer(controller, "PolyscopeVersion").startswith("URSoftware 3.15")
    assert answer(controller, "stop") == "Stopped"


def test_an_arm_without_power_is_started_step_by_step() -> None:
    bench = Bench(powered=False)
    assert answer(bench.controller, "robotmode") == "Robotmode: POWER_OFF"
    bench.run(5.0)
    assert answer(bench.controller, "robotmode") == "Robotmode: POWER_OFF"  # nothing powers on by itself
    assert answer(bench.controller, "power on") == "Powering on"
    bench.run(5.0)
    assert answer(bench.controller, "robotmode") == "Robotmode: IDLE"
    assert answer(bench.controller, "brake release") == "Brake releasing"
    bench.run(5.0)
    assert answer(bench.controller, "robotmode") == "Robotmode: RUNNING"
    assert answer(bench.controller, "power off") == "Powering off"
    assert answer(bench.controller, "robotmode") == "Robotmode: POWER_OFF"


def test_only_quit_closes() -> None:
    assert closes("Quit ")
    assert not closes("stop")
