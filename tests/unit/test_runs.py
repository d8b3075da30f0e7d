"""Run folders: made whole or not at all, resumed with the same configuration only, written by one process at a time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from enum import Enum
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vlasteer.errors import ConfigError, InputError, MissingDependencyError, OutputError
from vlasteer.runs import Run, RunFolder, package_versions, to_plain
from vlasteer.types import EE_NAMES, ActionKind, ActionSpec, EpisodeInfo, EpisodeKey, Gripper, Observation, Outcome
from vlasteer.types import StepRecord as Step

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIG = {"policy": {"name": "tiny", "hash": "ab12"}, "seed": 7, "steer": {"fast": 8.0}, "tasks": (0, 1)}
SPEC = ActionSpec(ActionKind.EE_DELTA, Gripper.MINUS_OPEN_PLUS_CLOSED, (0.05,) * 6, 20.0, EE_NAMES)


def record(run: RunFolder, index: int, outcome: Outcome, length: int = 3, arm: str = "steered") -> None:
    recorder = run.dataset(state_names=("x", "y")).recorder()
    recorder.open(EpisodeInfo(index, EpisodeKey(0, index, 7), "go", arm, "w", SPEC, ("fast",)))
    for k in range(length):
        seen = Observation({"front": np.full((32, 32, 3), 60 * k, np.uint8)}, "go", np.array([k, -k]), k / 20)
        action = np.arange(7) + k + 10.0 * index
        ended = outcome if k == length - 1 else Outcome.RUNNING
        recorder.step(Step(k, seen, k, 0, action, action, action, {"fast": 8.0}, 0.1, 0, ended))
    recorder.close(outcome)


def files(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*")}


class TestCreating:
    def test_a_new_run(self, tmp_path):
        with RunFolder.create_or_resume(tmp_path / "a/run", CONFIG, facts={"gl": "osmesa"}) as run:
            assert not run.resumed
            assert run.finished() == {}
        assert files(tmp_path / "a/run") == {"run.yaml", "run.lock", "data", "videos", "meta"}
        assert files(tmp_path / "a") == {"run"} | {f"run/{name}" for name in files(tmp_path / "a/run")}
        found = yaml.safe_load((tmp_path / "a/run/run.yaml").read_text())
        assert found["config"] == CONFIG | {"tasks": [0, 1]}
        (start,) = found["starts"]
        assert start["facts"] == {"gl": "osmesa"}
        assert start["versions"]["numpy"] == np.__version__

    def test_into_an_empty_folder(self, tmp_path):
        (tmp_path / "run").mkdir()
        RunFolder.create_or_resume(tmp_path / "run", CONFIG).close()
        assert Run.load(tmp_path / "run").config["seed"] == 7

    def test_a_failure_leaves_nothing(self, tmp_path, monkeypatch):
        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("vlasteer.runs.replace_text", full)
        with pytest.raises(OutputError, match="No space left on device"):
            RunFolder.create_or_resume(tmp_path / "run", CONFIG)
        assert files(tmp_path) == set()

    @pytest.mark.parametrize("place", ["file", "file/below", "folder", "/proc/run"])
    def test_places_that_cannot_be_used(self, tmp_path, place):
        (tmp_path / "file").write_text("")
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder/thesis.tex").write_text("")
        with pytest.raises(OutputError) as caught:
            RunFolder.create_or_resume(tmp_path / place, CONFIG)
        assert caught.value.exit_status == 2
        assert place.removesuffix("/below") in str(caught.value)
        assert "\n" not in str(caught.value)
        assert files(tmp_path / "folder") == {"thesis.tex"}


class TestResuming:
    def test_the_same_configuration_takes_the_run_up(self, tmp_path):
        with RunFolder.create_or_resume(tmp_path, CONFIG) as run:
            for index, outcome in enumerate(["success", "horizon", "failed", "stopped", "running"]):
                record(run, index, Outcome(outcome))
        with RunFolder.create_or_resume(tmp_path, CONFIG, facts={"gl": "egl"}) as run:
            assert run.resumed
            assert set(run.finished()) == {0, 1}
            record(run, 2, Outcome.SUCCESS)
            assert set(run.finished()) == {0, 1, 2}
            assert len(run.episodes()) == 6
        assert [start["facts"] for start in Run.load(tmp_path).starts] == [{}, {"gl": "egl"}]

    def test_another_configuration_is_refused_by_naming_what_differs(self, tmp_path):
        RunFolder.create_or_resume(tmp_path, CONFIG).close()
        before = (tmp_path / "run.yaml").read_text()
        other = CONFIG | {"steer": {"fast": 10.0, "up": 1.0}, "tasks": [0, 1]}
        with pytest.raises(OutputError, match=r"steer.fast: 8.0 there, 10.0 here; steer.up: absent there, 1.0 here\)"):
            RunFolder.create_or_resume(tmp_path, other)
        assert (tmp_path / "run.yaml").read_text() == before
        RunFolder.create_or_resume(tmp_path, CONFIG).close()  # the refusal let go of the lock

    def test_a_broken_run_file(self, tmp_path):
        (tmp_path / "run.yaml").write_text("config: [")
        with pytest.raises(InputError, match=r"run.yaml cannot be read"):
            RunFolder.create_or_resume(tmp_path, CONFIG)

    def test_a_run_of_a_newer_version(self, tmp_path):
        (tmp_path / "run.yaml").write_text("{format: 99, created: x, config: {}, starts: []}")
        with pytest.raises(InputError, match="newer vlasteer"):
            Run.load(tmp_path)


class TestLock:
    def test_one_writer_in_a_process(self, tmp_path):
        run = RunFolder.create_or_resume(tmp_path, CONFIG)
        with pytest.raises(OutputError, match="another process"):
            RunFolder.create_or_resume(tmp_path, CONFIG)
        run.close()
        run.close()
        RunFolder.create_or_resume(tmp_path, CONFIG).close()

    def test_one_process_and_its_death_frees_the_run_though_its_children_live(self, tmp_path):
        script = (
            "import os, sys, time\n"
            "from vlasteer.runs import RunFolder\n"
            "run = RunFolder.create_or_resume(sys.argv[1], {})\n"
            "child = os.fork()\n"
            "if child:\n"
            "    print(child, flush=True)\n"
            "time.sleep(60)\n"
        )
        environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
        command = [sys.executable, "-W", "ignore", "-c", script, str(tmp_path / "run")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
            assert process.stdout is not None
            child = int(process.stdout.readline())
            try:
                with pytest.raises(OutputError, match="being written by another process"):
                    RunFolder.create_or_resume(tmp_path / "run", {})
                process.send_signal(signal.SIGKILL)
                process.wait()
                RunFolder.create_or_resume(tmp_path / "run", {}).close()
            finally:
                process.kill()
                os.kill(child, signal.SIGKILL)


class TestReading:
    def test_episodes_and_steps_as_data_frames(self, tmp_path):
        pytest.importorskip("pandas", reason="pandas is not installed: pip install 'vlasteer[analysis]'")
        with RunFolder.create_or_resume(tmp_path, CONFIG) as run:
            record(run, 0, Outcome.HORIZON, arm="unsteered")
            record(run, 1, Outcome.FAILED)
            record(run, 1, Outcome.SUCCESS, length=4)
        run = Run.load(tmp_path)
        assert run.episodes["superseded"].tolist() == [False, True, False]
        assert run.episodes["arm"].tolist() == ["unsteered", "steered", "steered"]
        steps = run.steps
        assert len(steps) == 3 + 3 + 4
        assert steps["executed.action.gripper"].tolist()[:3] == [6.0, 7.0, 8.0]
        assert steps["policy.action.0"].tolist()[-1] == 13.0
        assert steps["world.state.y"].tolist()[-1] == -3.0
        means = steps[~steps["superseded"]].groupby("arm")["executed.action.x"].mean()
        assert means.to_dict() == {"unsteered": 1.0, "steered": 11.5}
        assert [round(f.mean() / 60) for f in run.frames(2, "front", 1)] == [1, 2, 3]

    def test_a_run_without_episodes(self, tmp_path):
        pytest.importorskip("pandas", reason="pandas is not installed: pip install 'vlasteer[analysis]'")
        RunFolder.create_or_resume(tmp_path, CONFIG).close()
        assert len(Run.load(tmp_path).episodes) == 0
        with pytest.raises(InputError):
            _ = Run.load(tmp_path).steps

    def test_without_pandas(self, tmp_path, monkeypatch):
        RunFolder.create_or_resume(tmp_path, CONFIG).close()
        monkeypatch.setitem(sys.modules, "pandas", None)
        with pytest.raises(MissingDependencyError, match=r"vlasteer\[analysis\]"):
            _ = Run.load(tmp_path).episodes

    def test_no_run(self, tmp_path):
        with pytest.raises(InputError, match="is no run folder"):
            Run.load(tmp_path)


class Colour(Enum):
    RED = "red"


def test_plain_types():
    given = {1: Path("a/b"), "c": (Colour.RED, np.float32(0.5), np.int64(3)), "m": np.eye(2), "s": {2, 1}, "n": None}
    plain = {"1": "a/b", "c": ["red", 0.5, 3], "m": [[1.0, 0.0], [0.0, 1.0]], "s": [1, 2], "n": None}
    assert to_plain(given) == plain


def test_what_is_not_plain_is_named():
    with pytest.raises(ConfigError, match=r"config.a\[1\].b is a complex"):
        to_plain({"a": [0, {"b": 1j}]})


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=40, deadline=None)
@example({"line": "next\x85 line", "paragraph": "\u2028 \u2029 end"})
@given(st.dictionaries(st.text(), values, max_size=4))
def test_any_configuration_resumes_its_own_run(tmp_path_factory, config):
    folder = tmp_path_factory.mktemp("run")
    RunFolder.create_or_resume(folder, config).close()
    with RunFolder.create_or_resume(folder, config) as run:
        assert run.resumed
        assert run.config == Run.load(folder).config == config


def test_versions_are_of_what_is_installed():
    versions = package_versions()
    assert versions["python"].startswith(f"{sys.version_info.major}.{sys.version_info.minor}")
    assert "numpy" in versions
    assert all(isinstance(value, str) for value in versions.values())
