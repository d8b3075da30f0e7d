"""Observations for measuring natural activations: from recorded runs and from pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlasteer.errors import InputError, ObservationError
from vlasteer.launch.natural import ObservationSource
from vlasteer.recording import DatasetWriter
from vlasteer.types import (
    EE_NAMES,
    ActionKind,
    ActionSpec,
    EpisodeInfo,
    EpisodeKey,
    Gripper,
    Observation,
    Outcome,
    StepRecord,
)

SPEC = ActionSpec(ActionKind.EE_DELTA, Gripper.MINUS_OPEN_PLUS_CLOSED, (0.05,) * 3 + (0.5,) * 3, 20.0, EE_NAMES)
LENGTH, LOOK_EVERY = 9, 3


def grey(episode: int, step: int) -> int:
    """Brightness of the picture of a step."""
    return 20 + 100 * episode + 10 * step


def record(folder: Path, arms: tuple[str, ...] = ("steered", "unsteered")) -> None:
    """One episode per arm; the policy looks at every third step."""
    writer = DatasetWriter(folder, state_names=("x", "y"))
    for index, arm in enumerate(arms):
        recorder = writer.recorder()
        recorder.open(EpisodeInfo(index, EpisodeKey(0, index, 7), f"task {index}", arm, "libero_goal", SPEC, ("fast",)))
        for step in range(LENGTH):
            image = np.full((32, 32, 3), grey(index, step), np.uint8)
            images = {"front": image} if step % LOOK_EVERY == 0 else {}
            seen = Observation(images, f"task {index}", np.array([index, step / 7]), step / 20)
            zero = np.zeros(7)
            applied = {"fast": 4.0 if arm == "steered" else None}
            running = Outcome.RUNNING if step < LENGTH - 1 else Outcome.HORIZON
            recorder.step(StepRecord(step, seen, step, 0, zero, zero, zero, applied, 0.1, 0, running))
        recorder.close(Outcome.HORIZON)


def test_of_a_run_what_the_unsteered_policy_looked_at(tmp_path: Path) -> None:
    record(tmp_path)
    source = ObservationSource(tmp_path)
    assert source.world == "libero_goal"
    seen = source.read(("front",), 100)
    assert [item.instruction for item in seen] == ["task 1"] * 3
    for item, step in zip(seen, (0, 3, 6), strict=True):
        assert item.images["front"].mean() == pytest.approx(grey(1, step), abs=3)
        assert item.state is not None
        assert item.state.tolist() == [1.0, step / 7]
        assert item.time_s == step / 20


def test_of_a_run_without_unsteered_steps_all_that_was_looked_at(tmp_path: Path) -> None:
    record(tmp_path, ("steered", "steered"))
    seen = ObservationSource(tmp_path).read(("front",), 100)
    assert [item.instruction for item in seen] == ["task 0"] * 3 + ["task 1"] * 3


def test_a_limit_spreads_evenly(tmp_path: Path) -> None:
    record(tmp_path, ("unsteered", "unsteered"))
    seen = ObservationSource(tmp_path, "other words").read(("front",), 2)
    assert [item.time_s for item in seen] == [0.0, 6 / 20]
    assert [item.instruction for item in seen] == ["other words"] * 2


def test_a_run_without_the_policys_camera_is_refused(tmp_path: Path) -> None:
    record(tmp_path)
    with pytest.raises(ObservationError, match="no camera 'wrist'"):
        ObservationSource(tmp_path).read(("front", "wrist"), 5)


def test_pictures_of_a_folder(tmp_path: Path) -> None:
    for name, value in (("b.png", 20), ("a.png", 10), ("c.jpg", 30)):
        Image.new("RGB", (16, 8), (value,) * 3).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    source = ObservationSource(tmp_path, "lift it")
    assert source.world is None
    seen = source.read(("image", "wrist"), 10)
    assert [int(item.images["image"][0, 0, 0]) for item in seen] == [10, 20, 30]
    assert {item.instruction for item in seen} == {"lift it"}
    assert len(ObservationSource(tmp_path / "a.png", "lift it").read(("image",), 10)) == 1


def test_pictures_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ObservationError, match="Add --instruction"):
        ObservationSource(tmp_path).read(("image",), 5)
    with pytest.raises(ObservationError, match="holds no observations"):
        ObservationSource(tmp_path, "lift it").read(("image",), 5)
    with pytest.raises(ObservationError, match="reads a state beside pictures"):
        ObservationSource(tmp_path, "lift it").read(("image",), 5, state_size=8)
    with pytest.raises(ObservationError, match="no image at"):
        ObservationSource(tmp_path / "absent", "lift it").read(("image",), 5)
    with pytest.raises(ObservationError, match="no image at"):
        ObservationSource(tmp_path / "absent").read(("image",), 5)
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "info.json").write_text("{")
    with pytest.raises(InputError):
        ObservationSource(tmp_path).read(("image",), 5)
