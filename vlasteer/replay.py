"""Doing a recorded episode again: its actions in the world, and the questions to its policy.

`act_again` executes the recorded actions from the recorded initial state and compares every state.

`ask_again` puts the recorded observations before the policy once more, with the recorded knob values and with others.
What it would have done then is a counterfactual: the observations stay those that the recorded actions led to. It
compares conditions on exactly the same observations, as the paper's speed experiment on the UR5 does, and says nothing
about where another condition would have led.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from vlasteer.conventions import converter
from vlasteer.errors import ConfigError, InputError, WorldError
from vlasteer.protocols import Policy, World
from vlasteer.recording.call_files import PolicyCall, has_calls, read_calls
from vlasteer.recording.episode import RecordedEpisode
from vlasteer.steering import Port
from vlasteer.types import ActionKind, ActionSpec, Observation, Outcome

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Deviation:
    """How two series of numbers differ, row by row.

    Attributes:
        rows: how many were compared.
        first: the first row that is not identical, bit for bit; None: none.
        largest: largest absolute difference by column.
    """

    rows: int
    first: int | None
    largest: Mapping[str, float]

    @classmethod
    def between(cls, recorded: Array, again: Array, names: Sequence[str]) -> Deviation:
        """Of [n, columns] and [m, columns]: the first min(n, m) rows."""
        n = min(len(recorded), len(again))
        difference = np.abs(again[:n] - recorded[:n])
        different = np.flatnonzero(np.any(again[:n] != recorded[:n], axis=1)) if n else np.zeros(0, np.int64)
        largest = difference.max(axis=0) if n else np.zeros(recorded.shape[1])
        first = int(different[0]) if len(different) else None
        return cls(n, first, dict(zip(names, map(float, largest), strict=True)))

    @property
    def exact(self) -> bool:
        """Whether nothing differs."""
        return self.first is None

    def __str__(self) -> str:
        if self.exact:
            return f"identical at all {self.rows} steps"
        name, value = max(self.largest.items(), key=lambda item: item[1])
        return f"first deviates at step {self.first} of {self.rows}; largest difference {value:.3g} ({name})"


@dataclass(frozen=True)
class ActedAgain:
    """A recorded episode and its repetition in the world.

    Attributes:
        steps: recorded steps; `made`: how many could be repeated before the world ended the episode.
        states, executed: how they differ.
        recorded, again: outcome after the last step that was made.
        pictures: how many were compared, and how many of them are identical; (0, 0) unless recorded without loss.
    """

    steps: int
    made: int
    states: Deviation
    executed: Deviation
    recorded: Outcome
    again: Outcome
    pictures: tuple[int, int] = (0, 0)

    @property
    def exact(self) -> bool:
        """Whether everything that was compared is identical."""
        same = self.pictures[0] == self.pictures[1] and self.recorded is self.again
        return same and self.states.exact and self.executed.exact and self.made == self.steps


def act_again(episode: RecordedEpisode, world: World, progress: Callable[[int, int], None] | None = None) -> ActedAgain:
    """Execute the recorded actions from the recorded initial state.

    Args:
        episode: of a simulation.
        world: the same one, made with the same options.
        progress: called with steps done and steps in all.

    Raises:
        InputError: the recording does not begin with the episode's first step, or has gaps.
        ConfigError: the world has other tasks, states or actions.
    """
    _refuse_another_world(episode, world)
    states, executed, compared, identical = [], [], 0, 0
    outcome = Outcome.RUNNING
    exact_pictures = episode.layout.lossless
    seen = episode.pictures() if exact_pictures else None
    world.reset(episode.key)
    for k in range(len(episode)):
        observation = world.observe()
        states.append(np.zeros(0) if observation.state is None else observation.state)
        for camera, picture in (next(seen) if seen is not None else {}).items():
            if camera in observation.images:
                compared += 1
                identical += bool(np.array_equal(observation.images[camera], picture))
        look = exact_pictures and k + 1 < len(episode) and any(looked[k + 1] for looked in episode.looked.values())
        try:
            executed.append(world.act(episode.commanded[k], look=look))
        except WorldError:
            outcome = Outcome.FAILED
            break
        outcome = world.outcome
        if progress is not None:
            progress(k + 1, len(episode))
        if outcome is not Outcome.RUNNING:
            break
    names = episode.layout.action_spec.names
    return ActedAgain(
        steps=len(episode),
        made=len(executed),
        states=Deviation.between(episode.states, np.array(states), episode.layout.state_names),
        executed=Deviation.between(episode.executed, np.array(executed).reshape(-1, len(names)), names),
        recorded=episode.outcomes[max(len(executed), 1) - 1],
        again=outcome,
        pictures=(compared, identical),
    )


def _refuse_another_world(episode: RecordedEpisode, world: World) -> None:
    if not np.array_equal(episode.step, np.arange(len(episode))):
        gap = int(np.flatnonzero(episode.step != np.arange(len(episode)))[0])
        raise InputError(
            f"the recording of episode {episode.index} lacks steps before its row {gap}",
            expected="one that was running from the first step to the last: others cannot be repeated",
        )
    if world.action_spec != episode.layout.action_spec:
        raise ConfigError(f"{world.name} takes other actions than those recorded in {episode.facts['world']}")
    names = tuple(world.state_names)
    if episode.layout.state_names and len(names) != len(episode.layout.state_names):
        raise ConfigError(f"{world.name} has other states than {episode.facts['world']}")


@dataclass(frozen=True)
class Condition:
    """What is changed when the policy is asked again; everything else is as recorded.

    Attributes:
        name: e.g. "fast=0".
        knobs: coefficients in place of the recorded ones (None: off).
        instruction: words in place of the recorded ones; None: those.
    """

    name: str
    knobs: Mapping[str, float | None] = field(default_factory=dict)
    instruction: str | None = None


RECORDED = Condition("recorded")
"""Nothing changed: what the policy answers must be what it answered."""


@dataclass(frozen=True, eq=False)
class Answers:
    """What the policy answered in one condition, spread over the steps that were executed.

    Attributes:
        condition: which.
        actions: float64 [steps, size] in the policy's convention; NaN where nothing was asked, or its chunk is shorter
            than what was executed of the recorded one.
        world_actions: float64 [steps, size] in the world's convention.
        tokens, non_action_tokens: of all calls.
        token_ids: int64 [k] of every call.
    """

    condition: Condition
    actions: Array
    world_actions: Array
    tokens: int
    non_action_tokens: int
    token_ids: tuple[NDArray[np.int64], ...]


@dataclass(frozen=True, eq=False)
class AskedAgain:
    """Answers to the recorded observations.

    Attributes:
        episode: which was asked about.
        answers: of every condition; the first is `RECORDED`.
        steps: which of the episode's steps they answer: those whose policy call's observation was recorded.
        actions: how the actions of `RECORDED` differ from the recorded ones at these, in the policy's convention.
        tokens: of how many calls the recorded token ids are known, and in how many of them they are the same.
    """

    episode: RecordedEpisode
    answers: tuple[Answers, ...]
    steps: NDArray[np.int64]
    actions: Deviation
    tokens: tuple[int, int]

    @property
    def exact(self) -> bool:
        """Whether the policy gave the recorded answers again."""
        return self.actions.exact and self.tokens[0] == self.tokens[1]


def ask_again(
    policy: Policy,
    port: Port,
    episode: RecordedEpisode,
    conditions: Sequence[Condition] = (),
    *,
    progress: Callable[[int, int], None] | None = None,
) -> AskedAgain:
    """Ask the policy about every recorded observation, one at a time: as recorded, and in other conditions.

    Args:
        policy: the recorded one.
        port: of a steering that has the knobs of the recording and of `conditions`, with one row.
        episode: what was recorded.
        conditions: besides `RECORDED`.
        progress: called with calls done and calls in all.

    Raises:
        InputError: the observations of the policy's calls were not recorded.
        UnknownNameError: a condition names a knob that the port does not have.
    """
    convert = converter(policy.action_spec, episode.layout.action_spec)
    asked = (RECORDED, *conditions)
    for condition in conditions:
        for name in condition.knobs:
            port.steering.term(name)
    actions = {c.name: np.full(episode.policy_actions.shape, np.nan) for c in asked}
    ids: dict[str, list[NDArray[np.int64]]] = {c.name: [] for c in asked}
    foreign = dict.fromkeys(actions, 0)
    known = same = 0
    covered: list[int] = []
    calls = len(episode.asked)
    for i, (step, observation, recorded_ids) in enumerate(_questions(episode)):
        rows = np.flatnonzero(episode.chunk == episode.chunk[step])
        covered += rows.tolist()
        for condition in asked:
            values = dict.fromkeys(port.names) | episode.knobs_at(step) | dict(condition.knobs)
            port.set_all({name: values[name] for name in port.names})
            words = observation.instruction if condition.instruction is None else condition.instruction
            chunk = policy.act(Observation(observation.images, words, observation.state, observation.time_s))
            places = episode.chunk_step[rows]
            there = places < len(chunk.actions)
            actions[condition.name][rows[there]] = chunk.actions[places[there]]
            ids[condition.name].append(chunk.token_ids)
            foreign[condition.name] += chunk.non_action_tokens
        if recorded_ids is not None:
            known += 1
            same += bool(np.array_equal(recorded_ids, ids[RECORDED.name][-1]))
        if progress is not None:
            progress(i + 1, calls)
    if not covered:
        raise InputError(
            f"no observation that the policy was asked about was recorded in episode {episode.index}",
            fix="Record the policy's calls: --lossless",
        )
    answers = tuple(
        Answers(
            condition=condition,
            actions=actions[condition.name],
            world_actions=convert(actions[condition.name]),
            tokens=sum(map(len, ids[condition.name])),
            non_action_tokens=foreign[condition.name],
            token_ids=tuple(ids[condition.name]),
        )
        for condition in asked
    )
    names = [str(name) for name in policy.action_spec.names]
    deviation = Deviation.between(episode.policy_actions[covered], answers[0].actions[covered], names)
    return AskedAgain(episode, answers, np.array(covered), deviation, (known, same))


def _questions(episode: RecordedEpisode) -> Iterator[tuple[int, Observation, NDArray[np.int64] | None]]:
    """First step of every call whose observation is known, that observation, and the token ids where they are known."""
    calls = read_calls(episode.root, episode.index) if has_calls(episode.root, episode.index) else iter(())
    moments = groupby(calls, key=lambda call: call.observation.time_s)
    seen = episode.observations()
    moment, observed = _next_moment(moments), next(seen, None)
    for step in map(int, episode.asked):
        while moment and moment[0].observation.time_s < episode.asked_s[step]:  # nothing of it was executed
            moment = _next_moment(moments)
        while observed is not None and observed[0] < step:
            observed = next(seen, None)
        its = None
        if moment and moment[0].observation.time_s == episode.asked_s[step]:
            its = next((call for call in moment if _is_of(call, episode, step)), moment[-1])
        ids = None if its is None else its.token_ids
        if its is not None and its.observation.images:
            yield step, its.observation, ids
        elif observed is not None and observed[0] == step:
            yield step, observed[1], ids


def _next_moment(moments: Iterator[tuple[float, Iterator[PolicyCall]]]) -> list[PolicyCall]:
    """The calls about the next observation. There are several when an answer was forgotten, as after a release."""
    return list(next(moments, (0.0, iter(())))[1])


def _is_of(call: PolicyCall, episode: RecordedEpisode, step: int) -> bool:
    """Whether a step's action is of this call."""
    place = int(episode.chunk_step[step])
    return place < len(call.actions) and np.array_equal(call.actions[place], episode.policy_actions[step])


def displacements(actions: Array, spec: ActionSpec) -> Array:
    """float64 [steps, dimensions but the gripper's]: motion that actions [steps, size] ask for, in SI units (m, rad).

    Of joint targets: the difference to the target before; the first step asks for none.
    """
    motion = actions[:, :-1] * np.array(spec.scale)
    if spec.kind is ActionKind.JOINT_VELOCITY:
        return motion / spec.rate_hz
    if spec.kind is ActionKind.JOINT_TARGET:
        return np.diff(motion, axis=0, prepend=motion[:1])
    return motion
