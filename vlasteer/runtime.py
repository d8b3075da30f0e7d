"""The one loop: observe, ask the policy, act, tell the sinks. Simulation and arm, one world or many.

Worlds run side by side as rows of one policy batch; each row carries its episode's own knob values, so that a steered
and an unsteered episode share a batch. The loop knows nothing of recorders and viewers but the `Sink` contract.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from vlasteer.broker import BrokeredAction, ChunkBroker
from vlasteer.conventions import converter
from vlasteer.protocols import Policy, Sink, World
from vlasteer.steering import Port
from vlasteer.types import EpisodeInfo, Observation, Outcome, StepRecord


@dataclass(frozen=True)
class PlannedEpisode:
    """An episode to run.

    Attributes:
        info: what sinks are told.
        knobs: coefficient of every mounted knob during the episode (None: off); knobs that are absent are off.
    """

    info: EpisodeInfo
    knobs: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class LoopOptions:
    """How the loop runs.

    Attributes:
        replan: actions of a chunk that are executed before the policy is asked again.
        look_always: render every step, not only those that the policy looks at (for smooth videos).
    """

    replan: int = 10
    look_always: bool = False


Sinks = Callable[[PlannedEpisode], Sequence[Sink]]


class _Row:
    """One world and the episode that runs in it."""

    def __init__(self, index: int, world: World) -> None:
        self.index, self.world = index, world
        self.episode: PlannedEpisode | None = None
        self.sinks: Sequence[Sink] = ()
        self.step = 0
        self.observation: Observation | None = None
        self.broker: ChunkBroker
        self.action: BrokeredAction

    def begin(self, episode: PlannedEpisode, sinks: Sequence[Sink], broker: ChunkBroker) -> None:
        self.episode, self.sinks, self.broker = episode, sinks, broker
        self.step = 0
        for sink in sinks:
            sink.open(episode.info)

    def look(self) -> Observation:
        assert self.episode is not None
        observation = self.world.observe()
        if observation.instruction != self.episode.info.instruction:
            observation = replace(observation, instruction=self.episode.info.instruction)
        self.observation = observation
        return observation

    def record(self, executed, outcome: Outcome) -> None:
        assert self.observation is not None
        action = self.action
        first = action.chunk_step == 0
        step = StepRecord(
            step=self.step,
            observation=self.observation,
            chunk=action.chunk,
            chunk_step=action.chunk_step,
            action_policy=action.policy,
            action=action.world,
            executed=executed,
            applied=action.source.applied,
            inference_s=action.source.inference_s if first else 0.0,
            non_action_tokens=action.source.non_action_tokens if first else 0,
            outcome=outcome,
            tokens=len(action.source.token_ids) if first else 0,
        )
        for sink in self.sinks:
            sink.step(step)
        self.step += 1

    def end(self, outcome: Outcome) -> PlannedEpisode:
        assert self.episode is not None
        ended, self.episode = self.episode, None
        sinks, self.sinks = self.sinks, ()
        with ExitStack() as stack:  # every sink is closed even if one of them fails
            for sink in sinks:
                stack.callback(sink.close, outcome)
        return ended


def run_episodes(
    policy: Policy,
    worlds: Sequence[World],
    episodes: Iterable[PlannedEpisode],
    *,
    sinks: Sinks,
    port: Port | None = None,
    options: LoopOptions = LoopOptions(),
    on_step: Callable[[int, int], None] | None = None,
) -> None:
    """Run episodes in the order given, as many at once as there are worlds.

    Args:
        policy: asked with all rows that need an answer as one batch.
        worlds: those that offer `act_async` / `act_wait` and `reset_async` / `reset_wait` step in parallel.
        episodes: the plan.
        sinks: makes the sinks of an episode.
        port: of the mounted steering; needs at least `len(worlds)` rows. Row b serves `worlds[b]`.
        options: replanning and rendering.
        on_step: told after every control step how many episodes have ended and how many steps were made so far.

    Raises:
        Whatever a world, policy or sink raises; the open episodes are then closed as `FAILED`, or as `STOPPED` after an
        interruption, so that nothing recorded is lost.
    """
    convert = converter(policy.action_spec, worlds[0].action_spec)
    waiting = deque(episodes)
    rows = [_Row(i, world) for i, world in enumerate(worlds)]
    ended = made = 0
    try:
        while True:
            _begin_waiting(rows, waiting, sinks, lambda: ChunkBroker(convert, options.replan), port)
            active = [row for row in rows if row.episode is not None]
            if not active:
                return
            _ask(policy, active)
            _act(active, options)
            made += len(active)
            for row in active:
                outcome = row.world.outcome
                if outcome is not Outcome.RUNNING:
                    row.end(outcome)
                    ended += 1
            if on_step is not None:
                on_step(ended, made)
    except BaseException as error:
        outcome = Outcome.STOPPED if isinstance(error, KeyboardInterrupt | SystemExit) else Outcome.FAILED
        with ExitStack() as stack:
            for row in rows:
                if row.episode is not None:
                    stack.callback(row.end, outcome)
        raise


def _begin_waiting(
    rows: Sequence[_Row],
    waiting: deque[PlannedEpisode],
    sinks: Sinks,
    broker: Callable[[], ChunkBroker],
    port: Port | None,
) -> None:
    starting = []
    for row in rows:
        if row.episode is None and waiting:
            episode = waiting.popleft()
            begin_reset = getattr(row.world, "reset_async", row.world.reset)
            begin_reset(episode.info.key)
            starting.append((row, episode))
    for row, episode in starting:
        if hasattr(row.world, "reset_wait"):
            row.world.reset_wait()  # pyright: ignore[reportAttributeAccessIssue]
        if port is not None:
            off = dict.fromkeys(port.names)
            port.set_all(off | dict(episode.knobs), row=row.index if port.rows > 1 else None)
        row.begin(episode, sinks(episode), broker())


def _ask(policy: Policy, active: Sequence[_Row]) -> None:
    observations = [row.look() for row in active]
    asking = [(row, seen) for row, seen in zip(active, observations, strict=True) if row.broker.empty]
    if asking:
        chunks = policy.act_batch([seen for _, seen in asking], rows=[row.index for row, _ in asking])
        for (row, _), chunk in zip(asking, chunks, strict=True):
            row.broker.fill(chunk)


def _act(active: Sequence[_Row], options: LoopOptions) -> None:
    executed = {}
    for row in active:
        look = options.look_always or row.broker.last_of_chunk
        row.action = row.broker.pop()
        if hasattr(row.world, "act_async"):
            row.world.act_async(row.action.world, look=look)  # pyright: ignore[reportAttributeAccessIssue]
        else:
            executed[row.index] = row.world.act(row.action.world, look=look)
    for row in active:
        if row.index not in executed:
            executed[row.index] = row.world.act_wait()  # pyright: ignore[reportAttributeAccessIssue]
        row.record(executed[row.index], row.world.outcome)
