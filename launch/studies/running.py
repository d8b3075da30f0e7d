"""Conditions times episodes, run as rows of one batch of the policy.

Different features, coefficients, random draws, instructions and starts share a batch: all features are mounted at once
and every row carries its own coefficients.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from vlasteer.comparison import EpisodeMotion
from vlasteer.errors import ConfigError
from vlasteer.protocols import Policy, Sink, World
from vlasteer.runtime import LoopOptions, PlannedEpisode, run_episodes
from vlasteer.steering import Feature, Steering, steer
from vlasteer.studies import Condition, MotionCollector
from vlasteer.studies.conditions import Words
from vlasteer.types import EpisodeInfo, EpisodeKey

_DEFAULT = LoopOptions()


def run_conditions(
    policy: Policy,
    worlds: Sequence[World],
    conditions: Sequence[Condition],
    features: Iterable[Feature],
    keys: Sequence[EpisodeKey],
    *,
    words: Words,
    progress: Callable[[int], object] = lambda _: None,
    known: Iterable[EpisodeMotion] = (),
    keep: Callable[[EpisodeMotion], object] = lambda _: None,
    options: LoopOptions = _DEFAULT,
) -> dict[str, list[EpisodeMotion]]:
    """Every condition on every episode.

    Args:
        policy: with no steering mounted.
        worlds: so many episodes run at once.
        conditions: cells.
        features: those that the conditions' knobs name; others are not mounted.
        keys: episodes.
        words: instructions.
        progress: told how many further episodes have ended; those that are known count at once.
        known: episodes of an earlier run, not run again.
        keep: told of every further episode when it ends.
        options: of the loop.

    Returns:
        Condition name -> what its episodes did, in the order of `keys`.

    Raises:
        ConfigError: two conditions of one name, or a knob without a feature.
    """
    mounted = mounted_for(conditions, features)
    place = {key: i for i, key in enumerate(keys)}
    found: dict[str, dict[EpisodeKey, EpisodeMotion]] = {condition.name: {} for condition in conditions}
    if len(found) < len(conditions):
        raise ConfigError("two conditions of one name", expected="each name once")
    for motion in known:
        if motion.arm in found and motion.key in place:
            found[motion.arm][motion.key] = motion
    plan = _plan(worlds[0], conditions, mounted.names, keys, words, found)
    progress(len(conditions) * len(keys) - len(plan))
    ended = 0

    def advance(count: int, _steps: int) -> None:
        nonlocal ended
        progress(count - ended)
        ended = count

    def take(motion: EpisodeMotion) -> None:
        found[motion.arm][motion.key] = motion
        keep(motion)

    def sinks(_: PlannedEpisode) -> list[Sink]:
        return [MotionCollector(take, worlds[0].state_names)]

    if plan:
        with steer(policy, mounted.off(), rows=len(worlds)) as port:
            run_episodes(policy, worlds, plan, sinks=sinks, port=port, options=options, on_step=advance)
    return {name: sorted(own.values(), key=lambda motion: place[motion.key]) for name, own in found.items()}


def mounted_for(conditions: Sequence[Condition], features: Iterable[Feature]) -> Steering:
    """The features that the conditions' knobs name, each at 0.

    Raises:
        ConfigError: a knob without a feature.
    """
    by_name = {feature.name: feature for feature in features}
    wanted = dict.fromkeys(knob for condition in conditions for knob in condition.knobs)
    if missing := [knob for knob in wanted if knob not in by_name]:
        raise ConfigError(f"knob '{missing[0]}' of a condition", expected=f"one of: {', '.join(by_name) or 'none'}")
    mounted = Steering()
    for knob in wanted:
        mounted = mounted + Steering.of(by_name[knob], 0.0)
    return mounted


def _plan(
    world: World,
    conditions: Sequence[Condition],
    knobs: Collection[str],
    keys: Sequence[EpisodeKey],
    words: Words,
    found: Mapping[str, Mapping[EpisodeKey, EpisodeMotion]],
) -> list[PlannedEpisode]:
    """What has not been run yet."""
    names = tuple(sorted(knobs))
    return [
        PlannedEpisode(
            EpisodeInfo(
                index=i * len(keys) + j,
                key=key,
                instruction=words(key, condition.adverb),
                arm=condition.name,
                world=world.name,
                action_spec=world.action_spec,
                feature_names=names,
            ),
            condition.knobs,
        )
        for i, condition in enumerate(conditions)
        for j, key in enumerate(keys)
        if key not in found[condition.name]
    ]
