"""`vlasteer drive` in a terminal: holding, letting go, every way to end it, and what is left on disk."""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from terminal import Terminal

from vlasteer.launch.cli import main
from vlasteer.launch.driving.transport import TRANSPORT_PLANT, set_scene, start_joints
from vlasteer.robots.twin import HookClient, TwinProcess
from vlasteer.robots.ur.config import TABLETOP_TCP, RobotConfig
from vlasteer.runs import Run, RunFolder
from vlasteer.types import Outcome

pytest.importorskip("rtde_control", reason="ur_rtde is not installed: pip install 'vlasteer[ur]'")
pytestmark = pytest.mark.slow

READY_S = 90.0
TWIN = ("drive", "--robot", "twin", "--steer", "slow=2")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "run"


def hold_until(terminal: Terminal, pattern: str) -> None:
    terminal.wait_for("waiting .press and hold", READY_S)
    terminal.hold()
    terminal.wait_for(pattern, 60.0)


def robot_moves(terminal: Terminal) -> None:
    hold_until(terminal, r"running \| step (\d\d|[3-9]) ")


def host_of(run: Path) -> str:
    return Run.load(run).starts[-1]["facts"]["world"]["host"]


@contextmanager
def inside(run: Path) -> Iterator[HookClient]:
    """The twin behind a run that is going on."""
    hooks = HookClient(host_of(run))
    try:
        yield hooks
    finally:
        hooks.close()


def commands(entries: list[dict[str, Any]]) -> list[str]:
    return [entry["name"] for entry in entries if entry.get("name")]


def test_it_moves_while_held_and_rests_when_let_go(run: Path) -> None:
    with Terminal([*TWIN, "--record", str(run)]) as terminal:
        terminal.wait_for("The keys of this terminal are read", READY_S)
        terminal.wait_for(r"ok  +kinematics", READY_S)  # the table comes before anything moves
        robot_moves(terminal)
        with inside(run) as twin:
            terminal.type("+")  # the first knob: slow
            terminal.wait_for(r">slow 2\.[1-9]")
            terminal.release()
            terminal.wait_for("paused")
            terminal.until(lambda: not twin.state()["moving"], "the arm stands")
            stood = np.array(twin.state()["q"])
            time.sleep(0.3)
            assert np.abs(np.array(twin.state()["q"]) - stood).max() < 1e-3
            assert twin.state()["safety_mode"] == "NORMAL"
        terminal.type("q")
        assert terminal.ended() == 0
        assert terminal.echoes()
        assert str(run) in terminal.screen
    found = Run.load(run)
    assert found.config["robot"] == "twin"
    (outcome,) = found.episodes["outcome"]
    assert outcome == "stopped"
    steps = found.steps
    assert len(steps) >= 3
    moved = np.linalg.norm(steps[["executed.action.x", "executed.action.y", "executed.action.z"]].sum())
    assert moved * 0.05 > 0.005
    assert steps["extra.knob.slow.setpoint"].max() > 2
    assert steps["extra.robot.safety_bits"].nunique() == 1
    assert any(json.loads(line)["knob"] == "slow" for line in (run / "knobs.jsonl").read_text().splitlines())
    assert list((run / "servo").glob("*.jsonl"))


def test_ctrl_c_in_mid_motion_stops_the_arm_and_keeps_the_episode(run: Path, twin_arm) -> None:
    twin, arguments = twin_arm
    with Terminal([*arguments, "--record", str(run)]) as terminal:
        robot_moves(terminal)
        terminal.type("\x03")
        assert terminal.ended() == 130
        assert "Traceback" not in terminal.screen
        assert terminal.echoes()
    state = twin.wait_for(lambda state: not state["moving"] and state["runtime_state"] == "STOPPED", 3.0)
    assert state["safety_mode"] == "NORMAL"
    (outcome,) = Run.load(run).episodes["outcome"]
    assert outcome == "stopped"


def test_a_closed_terminal_ends_it_before_the_first_press(run: Path) -> None:
    with Terminal([*TWIN, "--record", str(run)]) as terminal:
        terminal.wait_for("waiting .press and hold", READY_S)
        terminal.signal(signal.SIGHUP)
        assert terminal.ended() == 130
    with RunFolder.create_or_resume(run, Run.load(run).config) as again:
        assert again.episodes() == []


def test_killed_at_once_the_arm_stops_and_the_episode_is_there(run: Path, twin_arm) -> None:
    twin, arguments = twin_arm
    with Terminal([*arguments, "--record", str(run)]) as terminal:
        robot_moves(terminal)
        before = np.array(twin.state()["q"])
        terminal.signal(signal.SIGKILL)
        state = twin.wait_for(lambda state: not state["moving"] and state["runtime_state"] == "STOPPED", 3.0)
        assert np.abs(np.array(state["q"]) - before).max() < 0.5
    with RunFolder.create_or_resume(run, Run.load(run).config) as again:
        again.dataset(state_names=())  # sealing what was open
        (episode,) = again.episodes()
    assert episode["length"] >= 2
    assert episode["interrupted"]


def test_a_dry_run_sends_nothing_that_moves(run: Path, twin_arm) -> None:
    twin, arguments = twin_arm
    since = twin.state()["log_count"]
    with Terminal([*arguments, "--dry-run", "--record", str(run)]) as terminal:
        terminal.wait_for("DRY RUN: nothing that moves is sent", READY_S)
        hold_until(terminal, r"DRY RUN \| running")
        terminal.until(lambda: len(list((run / "journal").glob("*"))) > 0, "steps are recorded")
        terminal.signal(signal.SIGTERM)
        assert terminal.ended() == 130
    log = twin.log(since)
    assert not [entry for entry in log if entry["kind"] in ("script", "rtde_inputs", "input", "program")]
    assert not [entry for entry in log if entry["kind"] == "gripper" and "SET" in str(entry)]
    found = Run.load(run)
    assert found.config["dry_run"] is True
    assert len(found.steps) >= 1


@pytest.fixture
def twin_arm(tmp_path: Path) -> Iterator[tuple[TwinProcess, list[str]]]:
    """A twin that is no part of the command, and the arguments to drive it like a real robot."""
    with TwinProcess(plant=TRANSPORT_PLANT, tcp=TABLETOP_TCP, joints=tuple(start_joints(0).tolist())) as twin:
        set_scene(twin, 0)
        config = asdict(RobotConfig.of_twin(twin.host))
        del config["cameras"]["image2"]
        path = tmp_path / "robot.yaml"
        path.write_text(yaml.safe_dump(json.loads(json.dumps(config))), encoding="utf-8")
        words = "put the green cube in the red box"
        options = ["--robot-config", str(path), "--instruction", words, "--steer", "slow=2", "--convention", "tabletop"]
        yield twin, ["drive", "--robot", "ur5e", *options]


# --- without a terminal -----------------------------------------------------------------------------------------------


def test_a_schedule_drives_a_simulation(run: Path, tmp_path: Path, capsys) -> None:
    schedule = tmp_path / "knobs.yaml"
    schedule.write_text("- {step: 0, hold: true}\n- {step: 4, slow: 2}\n- {step: 8, stop: true}\n")
    arguments = ["drive", "--env", "tabletop_transport", "--knob", "slow", "--record", str(run)]
    for _ in range(2):  # the second adds an episode
        assert main([*arguments, "--schedule", str(schedule)]) == 0
    assert "ended: stopped" in capsys.readouterr().err
    found = Run.load(run)
    assert found.episodes["outcome"].tolist() == [Outcome.STOPPED.value] * 2
    assert found.episodes["plan_index"].tolist() == [0, 1]
    steps = found.steps[found.steps["episode_index"] == 0]
    assert len(steps) == 8
    assert steps["extra.knob.slow.setpoint"].tolist()[:4] != steps["extra.knob.slow.setpoint"].tolist()[4:]


ROBOT = ("--robot", "ur5e", "--robot-config", "robot.yaml", "--instruction", "lift it")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--robot", "twin"], "nobody could hold to run.*--page.*--schedule"),
        ([*ROBOT], r"nobody could hold to run.*terminal.*--page\."),
        ([*ROBOT, "--schedule", "knobs.yaml"], "a schedule gives no permission to move a robot"),
        ([], "--robot and --env"),
        (["--robot", "twin", "--env", "libero_goal"], "--robot and --env"),
        (["--robot", "ur5e", "--instruction", "x"], "--robot ur5e without --robot-config"),
        (["--robot", "ur5", "--robot-config", "x.yaml"], "a robot without --instruction"),
        (["--robot", "twin", "--host", "10.0.0.1"], "--host was given for twin"),
        (["--env", "tabletop_transport", "--dry-run"], "--dry-run was given for a simulation"),
        (["--robot", "twin", "--speed", "2"], "--speed 2.0. Expected 0.05 to 1"),
        (["--robot", "twin", "--episodes", "0"], "--episodes 0"),
        (["--robot", "twin", "--start=-1"], "--start -1"),
    ],
)
def test_mistakes_get_one_line(arguments: list[str], says: str, capsys, monkeypatch) -> None:
    monkeypatch.setattr("sys.stdin", open("/dev/null"))  # noqa: PTH123, SIM115 (a stream for standard input)
    assert main(["drive", *arguments]) == 2
    printed = capsys.readouterr()
    (line,) = [line for line in printed.err.splitlines() if line.startswith("vlasteer: error: ")]
    assert re.search(says, line)
