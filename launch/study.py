"""`vlasteer study`: batteries of conditions on one policy in one world, with figures and a report."""

from __future__ import annotations

import csv
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from vlasteer.errors import ConfigError
from vlasteer.launch.interruption import interruptible, interruptible_at_steps
from vlasteer.launch.options import parse_indices
from vlasteer.launch.reading import ReadingOptions

if TYPE_CHECKING:
    from vlasteer.comparison import EpisodeMotion
    from vlasteer.protocols import Policy, World
    from vlasteer.runs import RunFolder
    from vlasteer.studies.paper import Battery, Cell, Grid
    from vlasteer.types import EpisodeKey

_NOT_RESULTS = ("policy", "out", "device", "rows", "workers", "assets", "token_file", "what")
_IN_GRID = ("episodes", "draws", "sizes", "coefficients", "robot_coefficient", "quick")


@dataclass(frozen=True, kw_only=True)
class Study(ReadingOptions):
    """Run the paper's experiments on a policy in a simulated world (paper).

    Low and high transport in closed loop, slow and fast transport counterfactually, each with the adverb in the prompt,
    six clamped neurons and random draws; fast and slow over cluster size and coefficient; up over depth. The success
    rate stands beside every effect. An interrupted study is resumed by the same command.

    Example:
        vlasteer study paper --policy openvla-nano --env tabletop_transport --out runs/paper
    """

    what: Annotated[Literal["paper"], tyro.conf.Positional]
    """paper: the battery of Häon et al. 2025."""
    env: str
    """World, e.g. tabletop_transport, libero_10."""
    out: str
    """Folder of the study; made if absent, resumed if it holds the same study."""
    tasks: str = "all"
    """Task indices, e.g. 0,2,5-7, or all; the episodes of a cell are spread evenly over them."""
    seed: int = 0
    """Seed of episodes and random draws."""
    episodes: int | None = None
    """Episodes of a cell; default 20."""
    draws: int | None = None
    """Random draws that a clamp is compared with, 5 episodes each; default 20."""
    sizes: tuple[int, ...] = ()
    """Neurons of a cluster, e.g. --sizes 10 20; default: the paper's 10 and 20, for nano policies 6, 10, 20."""
    coefficients: tuple[float, ...] = ()
    """That clusters are clamped to; default: the paper's 2 4 6 8 10 20, for nano policies 1 2 3 4 6 8."""
    robot_coefficient: float | None = None
    """Of the two studies that the paper made on a robot; default: its 10, for nano policies 2."""
    quick: bool = False
    """The smallest study that has every part: a trial, no result."""
    rows: int = 20
    """Worlds that run side by side in this process, as one batch of the policy (LIBERO: use --workers)."""
    workers: int | None = None
    """Instead of --rows: so many worlds in processes of their own."""
    replan: int = 10
    """Actions of a chunk that are executed before the policy is asked again (OpenVLA's chunks have one)."""
    horizon: int | None = None
    """Step limit of an episode; default: the benchmark's."""
    assets: str | None = None
    """Folder of the simulator's assets, for LIBERO; default: $VLASTEER_LIBERO_ASSETS, the hub's cache, a download."""

    def run(self) -> int:
        """Find, run what is missing, report."""
        from vlasteer.runs import RunFolder
        from vlasteer.studies.paper import PROJECTED_TOKENS, make_battery

        self._check()
        with interruptible(), ExitStack() as stack:
            policy = self.load_policy(world=self.env)
            worlds = stack.enter_context(self._worlds(policy.cameras))
            grid = self._grid(policy)
            projection = self.project(policy, PROJECTED_TOKENS)
            battery = make_battery(policy.anatomy, projection, self.load_lexicon(), grid, seed=self.seed)
            keys = self._keys(worlds[0], grid.episodes)
            facts = {"policy": self.policy, "device": self.device, "world": dict(getattr(worlds[0], "facts", {}))}
            with RunFolder.create_or_resume(self.out, self._config(policy, grid), facts=facts) as run:
                rows, motions = self._measure(policy, worlds, battery, grid, keys, run)
                self._report(run.path, battery, grid, rows, motions)
        return 0

    def _check(self) -> None:
        counts = {"episodes": self.episodes, "draws": self.draws, "rows": self.rows, "workers": self.workers}
        for name, value in {**counts, "replan": self.replan, **{"sizes": min(self.sizes, default=1)}}.items():
            if value is not None and value < 1:
                raise ConfigError(f"--{name} {value}", expected="at least 1")
        if self.seed < 0:
            raise ConfigError(f"--seed {self.seed}", expected="a number from 0")

    def _grid(self, policy: Policy) -> Grid:
        from vlasteer.studies.paper import Grid

        grid = Grid.of(policy.anatomy)
        grid = grid.quick() if self.quick else grid
        episodes = self.episodes or grid.episodes
        return replace(
            grid,
            sizes=self.sizes or grid.sizes,
            coefficients=self.coefficients or grid.coefficients,
            robot_coefficient=grid.robot_coefficient if self.robot_coefficient is None else self.robot_coefficient,
            episodes=episodes,
            draws=self.draws or grid.draws,
            draw_episodes=min(grid.draw_episodes, episodes),
        )

    @contextmanager
    def _worlds(self, cameras: tuple[str, ...]) -> Iterator[Sequence[World]]:
        """Worlds whose pictures are those of `cameras`, where a picture that nobody looks at can be left out."""
        from vlasteer.envs import tabletop
        from vlasteer.registry import make_world
        from vlasteer.workers import RemoteWorld, close_all

        wanted = {"assets": self.assets, "horizon": self.horizon}
        options: dict[str, Any] = {name: value for name, value in wanted.items() if value is not None}
        if self.env in tabletop.names():
            options["cameras"] = cameras
        worlds: list[Any] = []
        try:
            if self.workers is not None:
                worlds += RemoteWorld.several(self.workers, self.env, options)
            else:
                worlds += (make_world(self.env, **options) for _ in range(self.rows))
            yield worlds
        finally:
            close_all(worlds)

    def _keys(self, world: World, episodes: int) -> list[EpisodeKey]:
        from vlasteer.types import EpisodeKey

        tasks = parse_indices(self.tasks, len(world.tasks), "--tasks")
        if episodes > len(tasks) * world.starts:
            raise ConfigError(f"--episodes {episodes}", expected=f"at most {len(tasks) * world.starts}, all starts")
        return [EpisodeKey(tasks[i % len(tasks)], i // len(tasks), self.seed) for i in range(episodes)]

    def _config(self, policy: Policy, grid: Grid) -> dict[str, Any]:
        """All that determines the results."""
        given = {name: value for name, value in vars(self).items() if name not in (*_NOT_RESULTS, *_IN_GRID)}
        return {
            "command": "study",
            "what": self.what,
            **given,
            "grid": grid.document(),
            "checkpoint_hash": policy.checkpoint_hash,
        }

    def _measure(
        self,
        policy: Policy,
        worlds: Sequence[World],
        battery: Battery,
        grid: Grid,
        keys: Sequence[EpisodeKey],
        run: RunFolder,
    ) -> tuple[list[dict[str, Any]], dict[str, list[EpisodeMotion]]]:
        from tqdm import tqdm

        from vlasteer.launch.studies.counterfactual import answer, watch
        from vlasteer.launch.studies.running import run_conditions
        from vlasteer.runtime import LoopOptions
        from vlasteer.studies.archive import MotionArchive
        from vlasteer.studies.paper import commanded_results, results_of

        archive = MotionArchive(run.path / "episodes.jsonl")

        def words(key: EpisodeKey, adverb: str | None) -> str:
            task = worlds[0].tasks[key.task]
            return task if adverb is None else f"{task} {adverb}"

        motions: dict[str, list[EpisodeMotion]] = {}
        total = sum(cell.episodes for cell in battery.closed_loop)
        with (
            interruptible_at_steps() as check,
            tqdm(total=total, desc="closed loop", unit="episode", dynamic_ncols=True) as bar,
        ):

            def advance(count: int) -> None:
                bar.update(count)
                check()

            for group in _groups(battery.closed_loop):
                motions |= run_conditions(
                    policy,
                    worlds,
                    [cell.condition for cell in group],
                    battery.features.values(),
                    keys[: group[0].episodes],
                    words=words,
                    progress=advance,
                    known=archive.motions,
                    keep=archive.keep,
                    options=LoopOptions(self.replan),
                )
        rows = results_of(battery.closed_loop, motions)
        watched = keys[: grid.draw_episodes * 2]
        with tqdm(total=len(watched), desc="recording observations", unit="episode", dynamic_ncols=True) as bar:
            seen = watch(policy, worlds, watched, words=words, most=grid.observations, progress=bar.update)
        conditions = [cell.condition for cell in battery.counterfactual]
        total = len(conditions) * sum(len(one.observations) for one in seen)
        with tqdm(total=total, desc="answering them", unit="observation", dynamic_ncols=True) as bar:
            answers = answer(
                policy,
                worlds[0].action_spec,
                conditions,
                battery.features.values(),
                seen,
                words=words,
                replan=self.replan,
                progress=bar.update,
            )
        return rows + commanded_results(battery.counterfactual, answers), motions

    def _report(
        self,
        folder: Path,
        battery: Battery,
        grid: Grid,
        rows: Sequence[Mapping[str, Any]],
        motions: Mapping[str, Sequence[EpisodeMotion]],
    ) -> None:
        from vlasteer.launch.studies.figures import draw_all
        from vlasteer.launch.studies.report import report
        from vlasteer.recording.atomic import replace_json, replace_text
        from vlasteer.steering import FeaturePack

        replace_json(folder / "results.json", {"grid": grid.document(), "missing": list(battery.missing), "rows": rows})
        with (folder / "results.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        FeaturePack({name: f for name, f in battery.features.items() if "~" not in name}).save(folder / "features.json")
        draw_all(rows, motions, folder / "figures")
        page = report(
            policy=self.policy,
            world=self.env,
            grid=grid,
            seed=self.seed,
            rows=rows,
            missing=battery.missing,
            figures=folder / "figures",
        )
        replace_text(folder / "report.html", page)
        print(f"The study is in {folder}: report.html, figures/, results.csv, results.json, episodes.jsonl")
        steered = next((cell for cell in battery.closed_loop if cell.kind == "clamp"), None)
        if steered is not None:
            knob = shlex.quote(f"{next(iter(steered.condition.knobs))}={steered.coefficient:g}")
            where = shlex.quote(str(folder / "features.json"))
            print(
                f"Try next: vlasteer rollout --policy {self.policy} --env {self.env} --pack {where} --steer {knob} "
                f"--tasks all --paired --random 20 --seed {self.seed + 1} --out runs/checked"
            )


def _groups(cells: Sequence[Cell]) -> list[list[Cell]]:
    """Cells that share a batch: those of one study and one number of episodes. All features of a group are mounted."""
    groups: dict[tuple[str, int], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.study, cell.episodes), []).append(cell)
    return list(groups.values())
