"""Small run folders with motion that can be computed by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from vlasteer.runs import RunFolder
from vlasteer.types import EE_NAMES, ActionKind, ActionSpec, EpisodeInfo, EpisodeKey, Gripper, Observation, Outcome
from vlasteer.types import StepRecord as Step

SPEC = ActionSpec(ActionKind.EE_DELTA, Gripper.MINUS_OPEN_PLUS_CLOSED, (0.05,) * 6, 20.0, EE_NAMES)
STATES = ("eef_x", "eef_y", "eef_z")


def straight(step_mm: float, steps: int, *, up_mm: float = 0.0, start: int = 0) -> np.ndarray:
    """Positions [steps, 3] (m) that advance by `step_mm` along x and by `up_mm` along z at every step."""
    k = np.arange(steps)[:, None]
    return np.array([0.1 * start, 0.0, 0.1]) + k * np.array([step_mm, 0.0, up_mm]) / 1e3


def rollout_config(coefficient: float | str = 2.0, feature: str = "fast", **changes: Any) -> dict[str, Any]:
    """The parts of a rollout's configuration that an analysis reads."""
    names = [feature, *(f"{feature}~{i}" for i in range(changes.get("random", 0)))]
    term = {"coefficient": str(coefficient), "operator": "set", "scope": "all", "neurons": ["vlm:1:5", "vlm:2:6"]}
    steering = [{"feature": name, **term} for name in names]
    plan = {"tasks": [0], "starts": [0, 1], "paired": True, "random": 0, "seed": 7, "instruction": None}
    return {"command": "rollout", "env": "toy", **plan, "checkpoint_hash": "abc", "steering": steering, **changes}


class RunMaker:
    """Writes a run folder episode by episode.

    Args:
        path: of the folder.
        config: see `rollout_config`.
        features: knobs of every step.
        states: names of the state.
        side: of the pictures, pixels.
    """

    def __init__(
        self,
        path: Path,
        config: Mapping[str, Any],
        *,
        features: Sequence[str] = ("fast",),
        states: Sequence[str] = STATES,
        side: int = 32,
    ) -> None:
        self.folder = RunFolder.create_or_resume(path, config, facts={"policy": "toy"})
        self.dataset = self.folder.dataset(state_names=states)
        self.features, self.side, self.count = tuple(features), side, 0

    def episode(
        self,
        arm: str,
        start: int,
        positions: np.ndarray,
        outcome: Outcome = Outcome.SUCCESS,
        *,
        knobs: Mapping[str, ArrayLike] | None = None,
        foreign: int = 0,
        extras: Mapping[str, ArrayLike] | None = None,
        plan_index: int | None = None,
    ) -> None:
        """Record one episode; knobs and extras are numbers or one number per step, and 7 tokens go to every step."""
        n = len(positions)
        values = {name: np.broadcast_to(np.asarray(v, float), n) for name, v in (knobs or {}).items()}
        added = {name: np.broadcast_to(np.asarray(v, float), n) for name, v in (extras or {}).items()}
        index = self.count if plan_index is None else plan_index
        self.count += 1
        recorder = self.dataset.recorder()
        recorder.open(EpisodeInfo(index, EpisodeKey(0, start, 7), "go", arm, "toy", SPEC, self.features))
        action = np.array([0.5, 0, 0, 0, 0, 0, 1.0])
        rng = np.random.default_rng(start)
        background = rng.integers(0, 255, (self.side, self.side, 3), dtype=np.uint8)
        for k in range(n):
            picture = background.copy()
            picture[:, : max(1, self.side * k // n)] = 200
            recorder.step(
                Step(
                    step=k,
                    observation=Observation({"front": picture}, "go", np.asarray(positions[k], float), k / 20),
                    chunk=k,
                    chunk_step=0,
                    action_policy=action,
                    action=action,
                    executed=action,
                    applied={name: None if np.isnan(v[k]) else float(v[k]) for name, v in values.items()},
                    inference_s=0.01,
                    non_action_tokens=foreign if k == 0 else 0,
                    outcome=outcome if k == n - 1 else Outcome.RUNNING,
                    tokens=7,
                    extra={name: float(v[k]) for name, v in added.items()},
                )
            )
        recorder.close(outcome)

    def close(self) -> Path:
        """Let the folder go; returns its path."""
        self.folder.close()
        return self.folder.path


def paired_run(path: Path, *, starts: int = 4, random: int = 0, coefficient: float = 2.0) -> Path:
    """fast: steps of 12, 13, ... mm instead of 10, 11, ... and 8 of them instead of 10; draws move as unsteered."""
    config = rollout_config(coefficient, starts=list(range(starts)), random=random)
    run = RunMaker(path, config, features=("fast", *(f"fast~{i}" for i in range(random))))
    for start in range(starts):
        run.episode("unsteered", start, straight(10 + start, 10, start=start))
        run.episode("steered", start, straight(12 + start, 8, start=start), knobs={"fast": coefficient})
        for i in range(random):
            run.episode("random", start, straight(10 + start + 0.1 * i, 10), knobs={f"fast~{i}": coefficient})
    return run.close()
