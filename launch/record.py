"""`vlasteer record`: demonstrations without a policy, by a person's hand or by the tabletop's expert."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vlasteer.errors import ConfigError, WorldError
from vlasteer.kinematics import rotation_matrix, rotation_vector
from vlasteer.launch.interruption import interruptible, interruptible_at_steps
from vlasteer.launch.options import parse_indices
from vlasteer.types import ActionKind, ActionSpec, EpisodeInfo, EpisodeKey, Gripper, Observation, Outcome, StepRecord

if TYPE_CHECKING:
    from vlasteer.protocols import Sink, World
    from vlasteer.recording import Companion
    from vlasteer.runs import RunFolder

DEMONSTRATION = "demonstration"
"""Arm of the recorded episodes."""
_FINGER_TRAVEL = 0.04
_PATIENCE_S = 1.0


@dataclass(frozen=True, kw_only=True)
class Record:
    """Record demonstrations into a run folder, as rollout and drive make it.

    With --robot-config somebody moves the arm by hand: this only reads (RTDE, cameras, gripper), and asks for no
    control connection. Switch freedrive on at the pendant. It ends after --duration, or with Ctrl-C. The recorded
    action of a step is what the arm did in it.

    With --env tabletop_... --expert the scripted expert acts in simulation.

    Example:
        vlasteer record --robot-config ur5e.yaml --instruction "pick up the cube" --duration 20 --out runs/hand
        vlasteer record --env tabletop_transport --expert --manner fast,high --episodes 5 --out runs/expert
    """

    out: str
    """Run folder; made if absent, continued if it is there."""
    env: str | None = None
    """Simulated world: tabletop_transport, tabletop_lift, tabletop_push, tabletop."""
    expert: bool = False
    """Let the world's scripted expert act."""
    manner: str = "normal"
    """Of the expert: slow, fast, low, high, or two of them: slow,high."""
    robot_config: Path | None = None
    """File that describes the robot; see docs/ur5e.yaml."""
    host: str | None = None
    """Address of the robot's controller, in place of the file's."""
    instruction: str | None = None
    """What is being shown, in words; simulations have their own."""
    duration: float | None = None
    """Seconds after which recording by hand ends; default: with Ctrl-C."""
    tasks: str = "0"
    """Tasks of the simulation, e.g. 0,2-4 or all."""
    episodes: int = 1
    """Episodes per task of the simulation; episode i starts from initial state i. By hand one is added each time."""
    seed: int = 7
    """Seed of everything random in the simulation."""
    lossless: bool = False
    """Keep every pixel; several times larger."""

    def run(self) -> int:
        """Record, and say where it lies."""
        self._check()
        with interruptible():
            return self._record_expert() if self.env is not None else self._record_hand()

    def _check(self) -> None:
        if (self.env is None) == (self.robot_config is None):
            raise ConfigError("record what?", expected="--env with --expert, or --robot-config", fix="Give one of them")
        if self.env is not None and not self.expert:
            raise ConfigError(
                f"nobody acts in {self.env}", fix="Add --expert, or let a policy act with vlasteer rollout or drive"
            )
        if self.robot_config is not None and (self.expert or self.manner != "normal"):
            raise ConfigError("--expert and --manner belong to simulations", expected="neither, by hand")
        if self.robot_config is not None and not self.instruction:
            raise ConfigError(
                "a demonstration without words", fix='Say what is shown: --instruction "pick up the cube"'
            )
        if self.episodes < 1 or (self.duration is not None and not self.duration > 0):
            raise ConfigError("--episodes and --duration", expected="more than 0")

    # -- in simulation -------------------------------------------------------------------------------------------------
    def _record_expert(self) -> int:
        from tqdm import tqdm

        from vlasteer.registry import make_world
        from vlasteer.runs import RunFolder

        world = make_world(str(self.env))
        try:
            if not hasattr(world, "expert"):
                raise ConfigError(f"{self.env} has no scripted expert", expected="a tabletop world")
            manner = parse_manner(self.manner)
            tasks = parse_indices(self.tasks, len(world.tasks), "--tasks")
            keys = [EpisodeKey(task, start, self.seed) for task in tasks for start in range(self.episodes)]
            config = {"command": "record", "env": self.env, "manner": self.manner, "tasks": tasks, "seed": self.seed}
            config |= {"lossless": self.lossless, "instruction": self.instruction}
            with RunFolder.create_or_resume(self.out, config, facts={"world": getattr(world, "facts", {})}) as run:
                dataset = run.dataset(state_names=world.state_names, lossless=self.lossless)
                taken = {(row["task"], row["start"]) for row in run.finished().values()}
                missing = [key for key in keys if (key.task, key.start) not in taken]
                first = _next_index(run)
                with interruptible_at_steps() as check, tqdm(missing, unit="episode", dynamic_ncols=True) as bar:
                    for i, key in enumerate(bar):
                        info = self._info(world, key, first + i, self.instruction or world.tasks[key.task])
                        demonstrate(world, info, manner, dataset.recorder(), check)
                print(f"{len(run.finished())} demonstrations are in {run.path}")
        finally:
            world.close()
        return 0

    def _info(self, world: World, key: EpisodeKey, index: int, instruction: str) -> EpisodeInfo:
        return EpisodeInfo(index, key, instruction, DEMONSTRATION, world.name, world.action_spec)

    # -- by hand -------------------------------------------------------------------------------------------------------
    def _record_hand(self) -> int:
        from vlasteer.runs import RunFolder

        with self._arm() as (world, companions, config):
            plain = {"command": "record", "robot": config, "lossless": self.lossless}
            with RunFolder.create_or_resume(self.out, plain, facts={"host": self.host}) as run:
                dataset = run.dataset(state_names=world.state_names, lossless=self.lossless)
                info = self._info(world, EpisodeKey(0, 0, 0), _next_index(run), str(self.instruction))
                world.reset(info.key)
                print("Recording. Nothing here moves the arm: that is yours. Ctrl-C ends it.", flush=True)
                steps = watch(world, info, dataset.recorder(companions), self.duration)
                print(f"\n{steps} steps ({steps / world.action_spec.rate_hz:.1f} s) are in {run.path}")
        return 0

    @contextmanager
    def _arm(self) -> Iterator[tuple[World, list[Companion], dict[str, Any]]]:
        """The robot, read only; recorders of its cameras; and what of it the run's configuration has to say."""
        from vlasteer.recording import CameraRecorder
        from vlasteer.robots.cameras import open_cameras
        from vlasteer.robots.ur.config import RobotConfig
        from vlasteer.robots.ur.gripper import GripperThread
        from vlasteer.robots.ur.world import URWorld

        assert self.robot_config is not None
        changes = {} if self.host is None else {"host": self.host}
        config = replace(RobotConfig.load(self.robot_config, **changes), home=None)
        with ExitStack() as stack:
            cameras = stack.enter_context(open_cameras(config.cameras, host=config.host))
            gripper = None
            if config.gripper is not None:
                gripper = GripperThread(config.host, config.gripper, read_only=True)
                stack.callback(gripper.close)
                gripper.wait_ready()
            world = URWorld(config, cameras=cameras, gripper=gripper, instruction=str(self.instruction), dry_run=True)
            stack.callback(world.close)
            recorders: list[Companion] = [CameraRecorder(name, camera) for name, camera in cameras.items()]
            described = {"model": config.model, "tcp": config.tcp, "action": asdict(config.action)}
            yield world, recorders, described


def parse_manner(text: str) -> Any:
    """`fast,high` as the tabletop's `Manner`.

    Raises:
        ConfigError: an unknown word, or two of one kind.
    """
    from vlasteer.envs.tabletop.manner import Height, Manner, Speed

    words = [word.strip() for word in text.split(",") if word.strip() not in ("", "normal")]
    speeds = [Speed(word) for word in words if word in list(Speed)]
    heights = [Height(word) for word in words if word in list(Height)]
    if len(speeds) + len(heights) != len(words) or len(speeds) > 1 or len(heights) > 1:
        raise ConfigError(f"--manner {text}", expected="slow or fast, low or high, or one of each: slow,high")
    return Manner(speeds[0] if speeds else Speed.NORMAL, heights[0] if heights else Height.NORMAL)


def demonstrate(world: Any, info: EpisodeInfo, manner: Any, sink: Sink, check: Any = lambda: None) -> Outcome:
    """One episode of the tabletop's expert; how it ended. `check` is called after every step and may interrupt."""
    outcome = Outcome.FAILED
    sink.open(info)
    try:
        world.reset(info.key)
        step = 0
        while world.outcome is Outcome.RUNNING:
            seen: Observation = replace(world.observe(), instruction=info.instruction)
            action = world.expert(manner)
            executed = world.act(action)
            sink.step(_step(step, seen, action, executed, world.outcome))
            step += 1
            check()
        outcome = world.outcome
    except KeyboardInterrupt:
        outcome = Outcome.STOPPED
        raise
    finally:
        sink.close(outcome)
    return outcome


def watch(world: World, info: EpisodeInfo, sink: Sink, duration_s: float | None = None) -> int:
    """Record what a robot does at its control rate, until the duration is over or Ctrl-C; how many steps.

    The action of a step is the motion to the next observation (`moved`), so the last observation has none and is not
    recorded. Timing is the robot's: an observation that comes late is recorded with its own time.
    """
    period, spec = 1.0 / world.action_spec.rate_hz, world.action_spec
    outcome, step = Outcome.FAILED, 0
    sink.open(info)
    try:
        with interruptible_at_steps() as check:
            due = started = time.monotonic()
            before = _fresh(world)
            while True:
                due += period
                time.sleep(max(0.0, due - time.monotonic()))
                due = max(due, time.monotonic() - period)  # what took too long is not made up for
                now = _fresh(world)
                action = moved(before, now, spec)
                over = duration_s is not None and time.monotonic() - started >= duration_s
                ended = Outcome.HORIZON if over else world.outcome
                sink.step(_step(step, replace(before, instruction=info.instruction), action, action, ended))
                step, before = step + 1, now
                if ended is not Outcome.RUNNING:
                    outcome = ended
                    return step
                check()
    except KeyboardInterrupt:  # the way to end it
        outcome = Outcome.STOPPED
        return step
    finally:
        sink.close(outcome)


def _fresh(world: World) -> Observation:
    """The newest observation; what is stale at the moment is waited for, and the gap shows in the times.

    Raises:
        WorldError: nothing fresh came for a second.
    """
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return world.observe()
        except WorldError:
            if world.outcome is not Outcome.RUNNING or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def moved(before: Observation, after: Observation, spec: ActionSpec) -> NDArray[np.float64]:
    """The action [size] that would have led from one observation of a robot to the next.

    For end-effector deltas the states are position (m), rotation vector (rad), both fingers (m, 0 closed to 0.04 open);
    for joint targets the six angles (rad) and the gripper (0 open to 1 closed).
    """
    assert before.state is not None
    assert after.state is not None
    scale = np.array(spec.scale)
    if spec.kind is ActionKind.JOINT_TARGET:
        motion, opening = after.state[:6] / scale, 1.0 - float(after.state[6])
    else:
        turn = rotation_matrix(after.state[3:6]) @ rotation_matrix(before.state[3:6]).T
        motion = np.array([*(after.state[:3] - before.state[:3]), *rotation_vector(turn)]) / scale
        opening = float(after.state[6]) / _FINGER_TRAVEL
    grip = {
        Gripper.ZERO_CLOSED_ONE_OPEN: opening,
        Gripper.ZERO_OPEN_ONE_CLOSED: 1.0 - opening,
        Gripper.MINUS_OPEN_PLUS_CLOSED: 1.0 - 2.0 * opening,
    }[spec.gripper]
    return np.array([*motion, grip])


def _step(
    step: int, seen: Observation, action: NDArray[np.float64], executed: NDArray[np.float64], outcome: Outcome
) -> StepRecord:
    """A step that no policy decided on."""
    return StepRecord(
        step=step,
        observation=seen,
        chunk=step,
        chunk_step=0,
        action_policy=action,
        action=action,
        executed=executed,
        applied={},
        inference_s=0.0,
        non_action_tokens=0,
        outcome=outcome,
    )


def _next_index(run: RunFolder) -> int:
    """The first plan index that no episode has."""
    taken: Sequence[int] = [row["plan_index"] for row in run.episodes()]
    return max(taken, default=-1) + 1
