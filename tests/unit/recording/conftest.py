"""Episodes to record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

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


def _info(index: int = 0, features: Sequence[str] = ("fast", "up"), **changes: Any) -> EpisodeInfo:
    given: dict[str, Any] = {
        "index": index,
        "key": EpisodeKey(task=1, start=index, seed=7),
        "instruction": "put the bowl on the plate",
        "arm": "steered",
        "world": "libero_goal",
        "action_spec": SPEC,
        "feature_names": tuple(features),
    }
    return EpisodeInfo(**(given | changes))


def _steps(
    length: int = 6,
    *,
    seed: int = 0,
    cameras: Mapping[str, tuple[int, int]] | None = None,
    applied: Mapping[str, float | None] | None = None,
    look_every: int = 1,
    outcome: Outcome = Outcome.SUCCESS,
    state_size: int = 8,
) -> list[StepRecord]:
    """Random steps; pictures are of one random colour each, so that video coding changes them little."""
    random = np.random.default_rng(seed)
    cameras = {"front": (48, 64), "wrist": (32, 32)} if cameras is None else cameras
    applied = {"fast": 10.0, "up": None} if applied is None else applied
    steps = []
    for k in range(length):
        images = {
            camera: np.full((*shape, 3), random.integers(20, 235, 3), np.uint8) for camera, shape in cameras.items()
        }
        steps.append(
            StepRecord(
                step=k,
                observation=Observation(
                    images=images if k % look_every == 0 else {},
                    instruction="put the bowl on the plate",
                    state=random.normal(size=state_size) if state_size else None,
                    time_s=k / 20 + random.random() / 100,
                ),
                chunk=k // look_every,
                chunk_step=k % look_every,
                action_policy=random.normal(size=7),
                action=random.normal(size=7),
                executed=random.normal(size=7),
                applied=applied,
                inference_s=random.random(),
                non_action_tokens=int(random.integers(0, 4)),
                outcome=Outcome.RUNNING if k < length - 1 else outcome,
                extra={"tcp_speed": random.random()},
            )
        )
    return steps


def _record(writer: DatasetWriter, info: EpisodeInfo, steps: Sequence[StepRecord], outcome: Outcome) -> None:
    recorder = writer.recorder()
    recorder.open(info)
    for step in steps:
        recorder.step(step)
    recorder.close(outcome)


@pytest.fixture
def info() -> Callable[..., EpisodeInfo]:
    return _info


@pytest.fixture
def steps() -> Callable[..., list[StepRecord]]:
    return _steps


@pytest.fixture
def record() -> Callable[..., None]:
    return _record
