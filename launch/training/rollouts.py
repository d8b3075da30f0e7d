"""Cells of the card: conditions times held-out episodes, run as rows of one batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from vlasteer.comparison import EpisodeMotion
from vlasteer.envs.tabletop.language import instruction
from vlasteer.envs.tabletop.manner import Height, Manner, Speed
from vlasteer.envs.tabletop.splits import HELD_OUT
from vlasteer.envs.tabletop.tasks import TaskKind, tasks_of
from vlasteer.protocols import Policy, Sink, World
from vlasteer.registry import make_world
from vlasteer.runtime import PlannedEpisode, run_episodes
from vlasteer.steering import Feature, Steering, steer
from vlasteer.studies import MotionCollector
from vlasteer.types import EpisodeInfo, EpisodeKey

WORLD = "tabletop_transport"
_TASKS = tasks_of(TaskKind.TRANSPORT, HELD_OUT)


@dataclass(frozen=True)
class Condition:
    """One cell.

    Attributes:
        name: unique among those that are run together.
        knobs: feature name -> coefficient.
        adverb: concept whose words are put into the prompt, or None.
    """

    name: str
    knobs: Mapping[str, float] = field(default_factory=dict)
    adverb: str | None = None


def held_out_keys(episodes: int, seed: int) -> list[EpisodeKey]:
    """So many episodes, spread evenly over the held-out tasks."""
    return [EpisodeKey(i % len(_TASKS), i // len(_TASKS), seed) for i in range(episodes)]


def words_for(key: EpisodeKey, adverb: str | None) -> str:
    """The episode's instruction in a held-out phrasing; with an adverb, one of its concept's words is in it as well."""
    rng = np.random.default_rng([key.task, key.start, key.seed])
    task = _TASKS[key.task]
    return instruction(task, rng, HELD_OUT, None if adverb is None else manner_of(adverb))


def manner_of(concept: str) -> Manner:
    """The manner that a concept alone asks for."""
    return Manner(speed=Speed(concept)) if concept in list(Speed) else Manner(height=Height(concept))


@contextmanager
def worlds(rows: int) -> Iterator[list[World]]:
    """Held-out worlds side by side in this process."""
    made: list[World] = []
    try:
        made.extend(make_world(WORLD, cameras=("image",)) for _ in range(rows))
        yield made
    finally:
        for world in made:
            world.close()


def run_conditions(
    policy: Policy,
    rows: Sequence[World],
    conditions: Sequence[Condition],
    features: Sequence[Feature],
    keys: Sequence[EpisodeKey],
    progress: Callable[[int], object],
) -> dict[str, list[EpisodeMotion]]:
    """Every condition on every episode.

    Args:
        policy: with no steering mounted.
        rows: worlds; so many episodes run at once.
        conditions: cells.
        features: whose names the conditions' knobs are.
        keys: episodes.
        progress: told how many further episodes have ended.

    Returns:
        Condition name -> what its episodes did, in the order of `keys`.
    """
    done: list[EpisodeMotion] = []
    names = tuple(sorted(feature.name for feature in features))
    plan = [
        PlannedEpisode(
            EpisodeInfo(
                index=i * len(keys) + j,
                key=key,
                instruction=words_for(key, condition.adverb),
                arm=condition.name,
                world=rows[0].name,
                action_spec=rows[0].action_spec,
                feature_names=names,
            ),
            condition.knobs,
        )
        for i, condition in enumerate(conditions)
        for j, key in enumerate(keys)
    ]
    mounted = Steering()
    for feature in features:
        mounted = mounted + Steering.of(feature, 0.0)
    ended = 0

    def advance(count: int, _steps: int) -> None:
        nonlocal ended
        progress(count - ended)
        ended = count

    with steer(policy, mounted.off(), rows=len(rows)) as port:
        sinks = partial(_collectors, done, rows[0].state_names)
        run_episodes(policy, rows, plan, sinks=sinks, port=port, on_step=advance)
    place = {key: j for j, key in enumerate(keys)}
    found: dict[str, list[EpisodeMotion]] = {condition.name: [] for condition in conditions}
    for motion in done:
        found[motion.arm].append(motion)
    return {name: sorted(motions, key=lambda motion: place[motion.key]) for name, motions in found.items()}


def _collectors(into: list[EpisodeMotion], state_names: Sequence[str], _: PlannedEpisode) -> list[Sink]:
    return [MotionCollector(into, state_names)]
