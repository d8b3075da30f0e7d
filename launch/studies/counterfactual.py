"""The same observations, answered under every condition: what steering does to an action, apart from where it leads.

After the slow and fast transport of Häon et al. 2025 (arXiv 2509.00328): the displacements that the answers
ask for, in metres a step. Nothing moves, so that there is no success to lose; effects on behaviour are another study.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vlasteer.comparison import EpisodeMotion
from vlasteer.conventions import converter
from vlasteer.errors import ConfigError, InputError
from vlasteer.launch.studies.running import mounted_for
from vlasteer.protocols import Policy, Sink, World
from vlasteer.runtime import PlannedEpisode, run_episodes
from vlasteer.steering import Feature, steer
from vlasteer.studies import Condition
from vlasteer.studies.conditions import Words
from vlasteer.types import ActionKind, ActionSpec, EpisodeInfo, EpisodeKey, Observation, Outcome, StepRecord


@dataclass(frozen=True)
class Seen:
    """What the policy saw in an episode.

    Attributes:
        key: of the episode.
        observations: those that it was asked about, evenly spread over the episode.
    """

    key: EpisodeKey
    observations: tuple[Observation, ...]


class _Watcher:
    """A sink that keeps what was looked at."""

    def __init__(self, into: list[Seen], most: int) -> None:
        self._into, self._most = into, most

    def open(self, episode: EpisodeInfo) -> None:
        self._key, self._seen = episode.key, list[Observation]()

    def step(self, record: StepRecord) -> None:
        if record.observation.images:
            self._seen.append(record.observation)

    def close(self, outcome: Outcome) -> None:
        if outcome in (Outcome.SUCCESS, Outcome.HORIZON) and self._seen:
            places = sorted({int(i) for i in np.linspace(0, len(self._seen) - 1, self._most).round()})
            self._into.append(Seen(self._key, tuple(self._seen[i] for i in places)))


def watch(
    policy: Policy,
    worlds: Sequence[World],
    keys: Sequence[EpisodeKey],
    *,
    words: Words,
    most: int = 10,
    progress: Callable[[int], object] = lambda _: None,
) -> list[Seen]:
    """What the unsteered policy sees in the episodes, at most so many observations of each; in the order of `keys`."""
    seen: list[Seen] = []
    plan = [
        PlannedEpisode(EpisodeInfo(i, key, words(key, None), "watched", worlds[0].name, worlds[0].action_spec))
        for i, key in enumerate(keys)
    ]
    ended = 0

    def advance(count: int, _steps: int) -> None:
        nonlocal ended
        progress(count - ended)
        ended = count

    def sinks(_: PlannedEpisode) -> list[Sink]:
        return [_Watcher(seen, most)]

    run_episodes(policy, worlds, plan, sinks=sinks, on_step=advance)
    return sorted(seen, key=lambda one: keys.index(one.key))


def answer(
    policy: Policy,
    spec: ActionSpec,
    conditions: Sequence[Condition],
    features: Iterable[Feature],
    seen: Sequence[Seen],
    *,
    words: Words,
    replan: int = 10,
    rows: int = 16,
    progress: Callable[[int], object] = lambda _: None,
) -> dict[str, list[EpisodeMotion]]:
    """Every condition's answers to the observations.

    Args:
        policy: with no steering mounted.
        spec: of the world that the observations are from.
        conditions: cells.
        features: those that the conditions' knobs name.
        seen: observations by episode.
        words: instructions.
        replan: actions of a chunk that would be executed.
        rows: observations that are answered at once.
        progress: told how many further observations were answered.

    Returns:
        Condition name -> per episode the displacements that its actions ask for, as `commanded`; nothing was moved:
        `positions` stay where they are, and no outcome is a success.

    Raises:
        InputError: no observations.
        ConfigError: a world whose actions are no displacements.
    """
    if not seen:
        raise InputError("a counterfactual of no observations", expected="at least one")
    if spec.kind is not ActionKind.EE_DELTA:
        raise ConfigError(f"a world with actions of kind '{spec.kind}'", expected="displacements of the end effector")
    convert = converter(policy.action_spec, spec)
    mounted = mounted_for(conditions, features)
    found: dict[str, list[EpisodeMotion]] = {}
    with steer(policy, mounted.off()) as port:
        for condition in conditions:
            port.set_all(dict.fromkeys(port.names) | dict(condition.knobs))
            found[condition.name] = []
            for one in seen:
                text = words(one.key, condition.adverb)
                asked = [replace(observation, instruction=text) for observation in one.observations]
                moves, tokens, foreign = [], 0, 0
                for first in range(0, len(asked), rows):
                    for chunk in policy.act_batch(asked[first : first + rows], rows=None):
                        moves.append(convert(chunk.actions)[:replan, :3].mean(0) * spec.scale[:3])
                        tokens, foreign = tokens + len(chunk.token_ids), foreign + chunk.non_action_tokens
                commanded = np.array(moves)
                found[condition.name].append(
                    EpisodeMotion(
                        condition.name, one.key, Outcome.HORIZON, np.zeros_like(commanded), commanded, tokens, foreign
                    )
                )
                progress(len(asked))
    return found
