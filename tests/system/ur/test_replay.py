"""A robot's run once more: its log gives the same commands, and these move a twin to the same place."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from vlasteer.launch.cli import main
from vlasteer.launch.robot_replay import recorded_commands, servo_logs
from vlasteer.recording.episode import RecordedEpisode
from vlasteer.runs import RunFolder
from vlasteer.types import EpisodeInfo, EpisodeKey, Outcome, StepRecord

pytestmark = pytest.mark.slow
DOWN_AND_ASIDE = np.array([0.1, 0.15, -0.1, 0.0, 0.0, 0.1, -1.0])


@pytest.fixture
def run(twin, make_world, tmp_path) -> Path:
    """20 steps of a twin, recorded with its servo log."""
    from vlasteer.launch.robot_replay import held

    folder = tmp_path / "run"
    with RunFolder.create_or_resume(folder, {"command": "drive", "robot": "twin"}) as opened:
        (folder / "servo").mkdir()
        world = make_world(log=folder / "servo")
        recorder = opened.dataset(state_names=world.state_names).recorder()
        world.reset(EpisodeKey(0, 0, 0))
        recorder.open(EpisodeInfo(0, EpisodeKey(0, 0, 0), "go", "live", "ur5e", world.action_spec))
        with held(world):
            for k in range(20):
                seen = world.observe()
                done = world.act(DOWN_AND_ASIDE)
                step = StepRecord(k, seen, k, 0, DOWN_AND_ASIDE, DOWN_AND_ASIDE, done, {}, 0.0, 0, Outcome.RUNNING)
                recorder.step(step)
        world.stop("done")
        recorder.close(Outcome.STOPPED)
    return folder


def test_the_log_is_reproduced_and_a_twin_goes_the_same_way(run, capsys):
    assert main(["replay", str(run), "--robot", "twin"]) == 0
    shown = capsys.readouterr().out
    assert "commands identical, bit for bit" in shown
    assert "Reproduced." in shown
    (log,) = servo_logs(run, RecordedEpisode.load(run, 0))
    wanted = recorded_commands(log)
    assert np.abs(wanted[-1] - wanted[0]).max() > 0.05

    # One bit of one command is found.
    lines = log.read_text().splitlines()
    place = next(i for i, line in enumerate(lines) if "command" in json.loads(line))
    entry = json.loads(lines[place])
    entry["command"][0] = float(np.nextafter(entry["command"][0], 1))
    lines[place] = json.dumps(entry)
    log.write_text("\n".join(lines) + "\n")
    assert main(["replay", str(run)]) == 1
    shown = capsys.readouterr().out
    assert "command 0 was" in shown
    assert "NOT reproduced." in shown


def test_a_run_without_servo_log_is_told(run, capsys):
    for log in (run / "servo").iterdir():
        log.unlink()
    assert main(["replay", str(run)]) == 2
    assert "no servo log" in capsys.readouterr().err
