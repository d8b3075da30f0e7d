"""Recording an arm that somebody moves by hand: nothing but reading, and the recorded actions are what it did."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from vlasteer.kinematics import UR5E, pose_matrix, rotation_matrix
from vlasteer.launch.cli import main
from vlasteer.recording import read_episodes
from vlasteer.recording.episode import RecordedEpisode
from vlasteer.robots.ur.config import TABLETOP_TCP
from vlasteer.types import Outcome

pytestmark = pytest.mark.slow
START = np.array([0.0, -1.5708, 1.5708, -1.5708, -1.5708, 0.0])


def robot_file(folder: Path, host: str, kind: str) -> Path:
    document = {
        "host": host,
        "model": "ur5e",
        "tcp": list(TABLETOP_TCP),
        "payload_kg": 0.0,
        "workspace": {"tcp_low": [-0.9, -0.6, 0.0], "tcp_high": [-0.2, 0.6, 0.8]},
        "action": {"kind": kind, "scale": [0.05, 0.05, 0.05, 0.5, 0.5, 0.5] if kind == "ee_delta" else None},
    }
    if kind == "joint_target":
        document["action"] = {"kind": kind}
    path = folder / "robot.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.mark.parametrize("kind", ["ee_delta", "joint_target"])
def test_the_arm_is_followed_and_never_asked_to_move(twin, since, tmp_path, kind, capsys):
    over = threading.Event()

    def move_by_hand() -> None:
        for k in range(10_000):
            if over.wait(0.05):
                return
            turned = START + np.array([0.01 * k, 0, 0, 0, 0, 0.02 * min(k, 20)])
            twin.call("place", q=turned.tolist())

    hand = threading.Thread(target=move_by_hand)
    hand.start()
    try:
        command = ["record", "--robot-config", str(robot_file(tmp_path, twin.host, kind)), "--duration", "2"]
        assert main([*command, "--instruction", "turn", "--out", str(tmp_path / "run")]) == 0
    finally:
        over.set()
        hand.join()
    assert "steps" in capsys.readouterr().out
    assert twin.log(since, "connect"), "it did read"
    assert twin.log(since, "script", "input", "watchdog", "program", "gripper") == [], "no script, no command"

    (row,) = read_episodes(tmp_path / "run")
    assert row["outcome"] == Outcome.HORIZON
    assert row["instruction"] == "turn"
    episode = RecordedEpisode.load(tmp_path / "run", 0)
    assert 20 <= len(episode) <= 41
    moved = episode.executed[1:-1]
    assert np.abs(moved[:, :6]).max() > 1e-3
    # Doing the recorded actions one after the other leads from each state to the next.
    for action, before, after in zip(episode.executed, episode.states, episode.states[1:], strict=False):
        if kind == "joint_target":
            np.testing.assert_allclose(action[:6], after[:6], atol=1e-12)
            continue
        np.testing.assert_allclose(before[:3] + 0.05 * action[:3], after[:3], atol=1e-12)
        turned = rotation_matrix(0.5 * action[3:6]) @ rotation_matrix(before[3:6])
        np.testing.assert_allclose(turned, rotation_matrix(after[3:6]), atol=1e-9)
    if kind == "joint_target":  # and these states are the arm's
        assert np.all(np.diff(episode.states[:, 0]) >= 0)
    else:
        q = START.copy()
        radius = np.linalg.norm((UR5E.forward(q) @ pose_matrix(TABLETOP_TCP))[:2, 3])
        np.testing.assert_allclose(np.linalg.norm(episode.states[:, :2], axis=1), radius, atol=1e-3)


def test_ctrl_c_ends_it_and_the_episode_is_there(twin, tmp_path, monkeypatch, capsys):
    from vlasteer.launch import record

    real, calls = record.moved, iter(range(1000))

    def moved(*arguments):
        if next(calls) == 8:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(record, "moved", moved)
    path = robot_file(tmp_path, twin.host, "ee_delta")
    for count in (1, 2):  # the second one is added
        command = ["record", "--robot-config", str(path), "--instruction", "turn", "--out", str(tmp_path / "run")]
        assert main(command) == 0
        calls = iter(range(1000))
        rows = read_episodes(tmp_path / "run")
        assert [(row["outcome"], row["length"], row["plan_index"]) for row in rows] == [
            ("stopped", 8, i) for i in range(count)
        ]
    assert "Ctrl-C" in capsys.readouterr().out


def test_the_clock_of_the_steps_is_the_machine_s(twin, tmp_path):
    path = robot_file(tmp_path, twin.host, "ee_delta")
    before = time.monotonic()
    command = ["record", "--robot-config", str(path), "--instruction", "stand", "--duration", "0.5"]
    assert main([*command, "--out", str(tmp_path / "run")]) == 0
    times = RecordedEpisode.load(tmp_path / "run", 0).times_s
    assert before - 1 < times[0] < times[-1] < time.monotonic()
