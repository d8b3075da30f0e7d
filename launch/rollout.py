"""`vlasteer rollout`: episodes of a policy in a simulated world, steered and not, recorded and compared."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from vlasteer.errors import ConfigError
from vlasteer.launch.interruption import interruptible, interruptible_at_steps
from vlasteer.launch.options import PolicyOptions, SteeringOptions, parse_indices
from vlasteer.launch.recording import RecordingOptions

if TYPE_CHECKING:
    from vlasteer.protocols import Policy, World
    from vlasteer.runs import RunFolder
    from vlasteer.runtime import PlannedEpisode
    from vlasteer.steering import Steering


@dataclass(frozen=True, kw_only=True)
class Rollout(PolicyOptions, SteeringOptions, RecordingOptions):
    """Run episodes in a simulated world and record them; with --paired every steered episode has its unsteered twin.

    An interrupted run is resumed by the same command. The folder holds run.yaml, the recording (LeRobotDataset v3:
    steps with the steering values, videos) and comparison.csv; the table at the end is made from it.

    Example:
        vlasteer rollout --policy openvla/openvla-7b-finetuned-libero-goal --env libero_goal --tasks 0,1 --episodes 10
        --steer fast=8 --paired --workers 2 --out run
    """

    env: str
    """World: libero_spatial, libero_object, libero_goal, libero_10, libero_90, tabletop_transport, ..."""
    out: str
    """Run folder; made if absent, resumed if it holds the same run."""
    tasks: str = "0"
    """Task indices, e.g. 0,2,5-7, or all."""
    episodes: int = 1
    """Episodes per task; episode i starts from initial state i."""
    starts: str | None = None
    """Initial states to use instead, e.g. 0,10-19."""
    seed: int = 7
    """Seed of everything random in the world."""
    paired: bool = False
    """Run every episode unsteered as well."""
    random: int = 0
    """With --paired: so many further arms with random neurons, matched in layers, number, coefficient and norm."""
    instruction: str | None = None
    """Give the policy these words instead of the task's."""
    workers: int = 1
    """Worlds that run side by side in processes of their own, as one batch of the policy."""
    replan: int = 10
    """Actions of a chunk that are executed before the policy is asked again (OpenVLA's chunks have one)."""
    video: Literal["query", "all"] = "query"
    """Which frames are rendered and recorded: those that the policy looks at, or every step's."""
    horizon: int | None = None
    """Step limit of an episode; default: the benchmark's."""
    assets: str | None = None
    """Folder of the simulator's assets, for LIBERO; default: $VLASTEER_LIBERO_ASSETS, the hub's cache, a download."""
    fast_render: bool = False
    """Cheaper, slightly different pictures; for trying things out, never for results."""

    def run(self) -> int:
        """Plan, run what is missing, compare."""
        from vlasteer.runs import RunFolder

        self._check()
        with interruptible(), self._worlds() as worlds:
            policy = self.load_policy(world=self.env)
            steering, pack = self.parse_steering(policy)
            draws = self._draws(policy, steering)
            plan = self._plan(worlds[0], steering, draws)
            steering = sum(draws, start=steering)
            facts = {
                "policy": self.policy,
                "pack": self.pack,
                "device": self.device,
                "workers": self.workers,
                "world": dict(getattr(worlds[0], "facts", {})),
            }
            with RunFolder.create_or_resume(self.out, self._config(policy, steering, plan), facts=facts) as run:
                if pack is not None:
                    pack.save(run.path / "features.json")
                self._run(policy, steering, worlds, plan, run)
                self._report(run)
        return 0

    def _check(self) -> None:
        for name, value in (("episodes", self.episodes), ("workers", self.workers), ("replan", self.replan)):
            if value < 1:
                raise ConfigError(f"--{name} {value}", expected="at least 1")
        if self.seed < 0:
            raise ConfigError(f"--seed {self.seed}", expected="a number from 0")
        if self.paired and not self.steer:
            raise ConfigError("--paired compares with an unsteered arm", fix="Add --steer feature=coefficient")
        if self.random < 0 or (self.random and not self.paired):
            raise ConfigError(f"--random {self.random}", expected="a number from 0, with --paired")

    @contextmanager
    def _worlds(self) -> Iterator[Sequence[World]]:
        from vlasteer.registry import make_world
        from vlasteer.workers import RemoteWorld, close_all

        wanted = {"assets": self.assets, "horizon": self.horizon, "fast": self.fast_render or None}
        options = {name: value for name, value in wanted.items() if value is not None}
        worlds: Sequence[World]
        if self.workers == 1:
            worlds = [make_world(self.env, **options)]
        else:
            worlds = RemoteWorld.several(self.workers, self.env, options)
        try:
            yield worlds
        finally:
            close_all(worlds)

    def _draws(self, policy: Policy, steering: Steering) -> list[Steering]:
        """The random counterparts of the steering, each as strong as it is."""
        from vlasteer.steering import Quantile, Steering
        from vlasteer.studies import matched_draws

        if self.random and any(isinstance(term.coefficient, Quantile) for term in steering):
            raise ConfigError("--random was given with a quantile", expected="plain coefficients, e.g. --steer fast=8")
        features = (
            [matched_draws(policy.anatomy, t.feature, self.random, seed=self.seed) for t in steering]
            if self.random
            else []
        )
        return [
            sum(
                (
                    Steering.of(feature, term.coefficient, operator=term.operator, scope=term.scope)
                    for feature, term in zip(row, steering, strict=True)
                ),
                start=Steering(),
            )
            for row in zip(*features, strict=True)
        ]

    def _plan(self, world: World, steering: Steering, draws: Sequence[Steering]) -> list[PlannedEpisode]:
        from vlasteer.comparison import RANDOM, STEERED, UNSTEERED
        from vlasteer.runtime import PlannedEpisode
        from vlasteer.steering import Steering
        from vlasteer.types import EpisodeInfo, EpisodeKey

        if self.episodes > world.starts and self.starts is None:
            raise ConfigError(
                f"--episodes {self.episodes}", expected=f"at most {world.starts}, the initial states of a task"
            )
        tasks = parse_indices(self.tasks, len(world.tasks), "--tasks")
        starts = (
            list(range(self.episodes)) if self.starts is None else parse_indices(self.starts, world.starts, "--starts")
        )
        arms = [(STEERED if steering else UNSTEERED, steering)]
        if self.paired:
            arms = [(UNSTEERED, Steering()), (STEERED, steering), *((RANDOM, draw) for draw in draws)]
        knobs = sorted({name for _, own in arms for name in own.names})
        plan = []
        for task in tasks:
            for start in starts:
                for arm, own in arms:
                    info = EpisodeInfo(
                        index=len(plan),
                        key=EpisodeKey(task, start, self.seed),
                        instruction=self.instruction or world.tasks[task],
                        arm=arm,
                        world=world.name,
                        action_spec=world.action_spec,
                        feature_names=tuple(knobs),
                    )
                    plan.append(PlannedEpisode(info, {term.name: term.factor for term in own}))
        return plan

    def _config(self, policy: Policy, steering: Steering, plan: list[PlannedEpisode]) -> dict[str, Any]:
        """All that determines the results; what may differ between two starts of one run is left out."""
        from vlasteer.steering.description import describe

        given = asdict(self)
        for name in ("policy", "pack", "steer", "out", "device", "workers", "assets", "episodes", "token_file"):
            del given[name]
        given["tasks"] = sorted({episode.info.key.task for episode in plan})
        given["starts"] = sorted({episode.info.key.start for episode in plan})
        return {
            "command": "rollout",
            **given,
            "checkpoint_hash": policy.checkpoint_hash,
            "steering": describe(steering),
        }

    def _run(
        self, policy: Policy, steering: Steering, worlds: Sequence[World], plan: list[PlannedEpisode], run: RunFolder
    ) -> None:
        from vlasteer.runtime import LoopOptions, run_episodes
        from vlasteer.steering import steer

        dataset = run.dataset(state_names=worlds[0].state_names, lossless=self.lossless)
        finished = run.finished()
        waiting = [episode for episode in plan if episode.info.index not in finished]
        if not waiting:
            print(f"All {len(plan)} episodes are in {run.path}; nothing to do.")
            return
        if finished:
            print(f"Resuming: {len(finished)} of {len(plan)} episodes are there.")
        with (
            steer(policy, steering, rows=len(worlds), negative_control=self.negative_control) as port,
            self.tapped(policy, dataset) as (asked, recorder),
            _progress(len(plan), len(finished)) as advance,
        ):
            run_episodes(
                asked,
                worlds,
                waiting,
                sinks=lambda _: [recorder()],
                port=port,
                options=LoopOptions(self.replan, look_always=self.video == "all"),
                on_step=advance,
            )

    def _report(self, run: RunFolder) -> None:
        from vlasteer.comparison import compare, episode_motions, format_table, save_csv
        from vlasteer.launch.side_by_side import write_side_by_side

        lines = compare(episode_motions(run.path))
        save_csv(lines, run.path / "comparison.csv")
        print(f"\n{format_table(lines)}\n")
        contents = "run.yaml, data/, videos/, meta/ (LeRobotDataset v3), comparison.csv"
        if self.paired and write_side_by_side(run.path, run.path / "side_by_side.mp4"):
            contents += ", side_by_side.mp4"
        print(f"The run is in {run.path}: {contents}")


@contextmanager
def _progress(total: int, done: int) -> Iterator[Callable[[int, int], None]]:
    """A bar of episodes with the rate of control steps; between two steps a signal ends the run."""
    from tqdm import tqdm

    with (
        interruptible_at_steps() as check,
        tqdm(total=total, initial=done, unit="episode", dynamic_ncols=True, smoothing=0, mininterval=0.5) as bar,
    ):
        started = time.perf_counter()

        def advance(ended: int, steps: int) -> None:
            bar.set_postfix_str(f"{steps} steps, {steps / (time.perf_counter() - started):.1f}/s", refresh=False)
            bar.update(done + ended - bar.n)
            check()

        yield advance
