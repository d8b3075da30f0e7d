"""The expert's episodes as training data for nano policies: picture, instruction, action, manner.

The expert labels states, not paths: what is executed is its action plus noise, so that states beside the path are
there as well, and what is recorded is what it would do there, in the manner of the instruction and in all others. A
trainer can so pair any frame with any manner and with a phrasing of its own (`language.instruction`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlasteer.envs.tabletop.expert import expert_action
from vlasteer.envs.tabletop.language import instruction
from vlasteer.envs.tabletop.layout import draw_layout
from vlasteer.envs.tabletop.manner import MANNERS, Manner
from vlasteer.envs.tabletop.scene import CAMERAS
from vlasteer.envs.tabletop.simulation import Simulation
from vlasteer.envs.tabletop.splits import TRAIN, Split
from vlasteer.envs.tabletop.tasks import Task, TaskKind, succeeded, tasks_of

_LONGEST = 120  # steps; an episode that noise has spoilt for good is cut off


@dataclass(frozen=True)
class Demonstration:
    """One control step.

    Attributes:
        images: camera name -> uint8 [resolution, resolution, 3], before the action.
        state: float64 [8] before the action.
        task: what is to be done.
        manner: how it is being done.
        instruction: a phrasing of both.
        actions: float64 [9, 7] what the expert would do here in each of `MANNERS`.
        episode: which one, as asked for.
        step: 0-based control step in it.
    """

    images: Mapping[str, NDArray[np.uint8]]
    state: NDArray[np.float64]
    task: Task
    manner: Manner
    instruction: str
    actions: NDArray[np.float64]
    episode: int
    step: int

    @property
    def action(self) -> NDArray[np.float64]:
        """float64 [7] the expert's action in the episode's own manner."""
        return self.actions[MANNERS.index(self.manner)]


def demonstrate(
    episodes: Iterable[int],
    *,
    kinds: Sequence[TaskKind] = (TaskKind.TRANSPORT,),
    split: Split = TRAIN,
    seed: int = 0,
    resolution: int = 64,
    cameras: Sequence[str] = CAMERAS,
    noise: float = 0.3,
) -> Iterator[Demonstration]:
    """The steps of the episodes with these numbers, one after the other.

    Episode i of a seed is the same whichever others are asked for, so that shares of a range can be made in parallel
    processes. Tasks, manners and phrasings are drawn evenly.

    Args:
        episodes: numbers of episodes, not negative.
        kinds: of tasks.
        split: the side that layouts, pairs, shades and phrasings are drawn from.
        seed: of everything.
        resolution: of the pictures.
        cameras: whose pictures; none for states only.
        noise: largest standard deviation, along each axis, of what is added to the executed translation, as a share of
            the step's length; every episode draws its own between 0 and this. Small steps, near a goal, so get little.
    """
    simulation = Simulation(resolution, cameras)
    tasks = [tasks_of(kind, split) for kind in kinds]
    try:
        for episode in episodes:
            rng = np.random.default_rng([seed, episode])
            some = tasks[int(rng.integers(len(tasks)))]
            task, manner = some[int(rng.integers(len(some)))], MANNERS[int(rng.integers(len(MANNERS)))]
            simulation.reset(draw_layout(task, split, episode, seed))
            words, level = instruction(task, rng, split, manner), rng.uniform(0.0, noise)
            for step in range(_LONGEST):
                now = simulation.snapshot()
                if succeeded(task.kind, now):
                    break
                labelled = Demonstration(
                    images=simulation.pictures() if cameras else {},
                    state=simulation.state(),
                    task=task,
                    manner=manner,
                    instruction=words,
                    actions=np.array([expert_action(task.kind, now, other) for other in MANNERS]),
                    episode=episode,
                    step=step,
                )
                yield labelled
                executed = labelled.action.copy()
                executed[:3] += rng.normal(0.0, level, 3) * np.linalg.norm(executed[:3])
                simulation.step(executed)
    finally:
        simulation.close()
