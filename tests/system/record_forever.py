"""Records a plan of short episodes, two at a time, until it is killed; run by test_kill.py.

    python record_forever.py FOLDER EPISODES

Prints "episode step" when a step was handed over, "closed episode" when an episode was sealed. Everything recorded is
a function of (episode, step), which `expected` gives.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from vlasteer.recording import DatasetWriter, finished_episodes, read_episodes
from vlasteer.types import EE_NAMES, ActionKind, ActionSpec, EpisodeInfo, EpisodeKey, Gripper, Observation, Outcome
from vlasteer.types import StepRecord as Step

LENGTH = 7
SPEC = ActionSpec(ActionKind.EE_DELTA, Gripper.MINUS_OPEN_PLUS_CLOSED, (1.0,) * 6, 20.0, EE_NAMES)


def expected(episode: int, step: int) -> tuple[np.ndarray, int]:
    """Executed action, and grey level of the picture."""
    return np.arange(7) + 100.0 * episode + step / 8, 20 + (episode * 37 + step * 11) % 200


def record(episode: int, step: int) -> Step:
    """The step that is recorded."""
    action, grey = expected(episode, step)
    image = np.full((32, 48, 3), grey, np.uint8)
    seen = Observation({"front": image, "wrist": image}, f"task {episode % 3}", np.full(4, step / 3), step / 20)
    outcome = Outcome.SUCCESS if step == LENGTH - 1 else Outcome.RUNNING
    return Step(step, seen, step, 0, action, action, action, {"fast": float(step)}, 0.0, 0, outcome)


def main(root: Path, episodes: int) -> None:
    """Record what is not finished yet."""
    writer = DatasetWriter(root)
    done = finished_episodes(read_episodes(root))
    plan = [i for i in range(episodes) if i not in done]
    for pair in zip(plan[::2], [*plan[1::2], None], strict=False):
        recorders = {i: writer.recorder() for i in pair if i is not None}
        for i, recorder in recorders.items():
            key = EpisodeKey(i % 3, i, 0)
            recorder.open(EpisodeInfo(i, key, f"task {i % 3}", "steered", "w", SPEC, ("fast",)))
        for step in range(LENGTH):
            for i, recorder in recorders.items():
                recorder.step(record(i, step))
                print(i, step, flush=True)
        for i, recorder in recorders.items():
            recorder.close(Outcome.SUCCESS)
            print("closed", i, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
