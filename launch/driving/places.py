"""Where a policy drives: a robot, the twin, a simulation. Each is opened here, and closed in order whatever happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlasteer.errors import ConfigError, WorldError
from vlasteer.types import EpisodeKey

if TYPE_CHECKING:
    from vlasteer.protocols import World
    from vlasteer.recording import Companion
    from vlasteer.robots.cameras import GrabbedCamera
    from vlasteer.robots.ur.config import RobotConfig


@dataclass(frozen=True)
class RobotOptions:
    """How a robot is driven.

    Attributes:
        instruction: the task in words.
        dry_run: read only.
        horizon: actions after which an episode ends; None: the world's own.
        log: folder for the servo log of every episode, or None.
    """

    instruction: str = ""
    dry_run: bool = False
    horizon: int | None = None
    log: Path | None = None


@dataclass(frozen=True)
class Place:
    """An open world and what belongs to it.

    Attributes:
        world: simulation or robot.
        prepare: puts the scene of an episode there, as a person does it on a real table; before every episode.
        cameras: of a robot.
        facts: for the run's record; JSON types.
        servo_log: folder of the servo logs of a robot that is recorded; None without.
        tasks: the words of each task.
        starts: how many initial states there are; None where people set the scene.
    """

    world: World
    tasks: Sequence[str]
    starts: int | None
    prepare: Callable[[EpisodeKey], None] = lambda key: None
    cameras: Mapping[str, GrabbedCamera] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    servo_log: Path | None = None

    def instruction(self, key: EpisodeKey) -> str:
        """The world's own words for a task.

        Raises:
            ConfigError: there is no such task or initial state.
        """
        for name, value, count in (("task", key.task, len(self.tasks)), ("start", key.start, self.starts)):
            if count is not None and value >= count:
                raise ConfigError(f"--{name} {value}", expected=f"0 to {count - 1} in {self.world.name}")
        return self.tasks[key.task]

    def rest(self) -> None:
        """The episode is over: a robot's program ends."""
        from vlasteer.live.run import is_robot

        if is_robot(self.world):
            self.world.stop("the episode is over")

    def companions(self) -> list[Companion]:
        """Recorders of the cameras at their own rate; of one episode."""
        from vlasteer.recording import CameraRecorder

        return [CameraRecorder(name, camera) for name, camera in self.cameras.items()]

    def look(self) -> dict[str, Any]:
        """The newest picture of each camera that has a fresh one."""
        images = {}
        for name, camera in self.cameras.items():
            try:
                images[name] = camera.frame().image
            except WorldError:
                continue  # the page says that it is stale by its age
        return images


@contextmanager
def simulation(name: str, options: Mapping[str, Any]) -> Iterator[Place]:
    """A simulated world by its name."""
    from vlasteer.registry import make_world

    world = make_world(name, **options)
    try:
        yield Place(world, world.tasks, world.starts, facts=dict(getattr(world, "facts", {})))
    finally:
        world.close()


@contextmanager
def twin(cameras: Sequence[str], *, options: RobotOptions) -> Iterator[Place]:
    """A twin at the tabletop, with a cube in its gripper and bins in front of it, in a process of its own.

    `cameras` are those that the policy looks through: a picture costs the processor that the policy computes on.

    Raises:
        ConfigError: the tabletop has no such camera.
    """
    from vlasteer.launch.driving import transport
    from vlasteer.robots.twin import TwinProcess
    from vlasteer.robots.ur.config import TABLETOP_TCP, RobotConfig

    start = tuple(transport.start_joints(0).tolist())
    with TwinProcess(plant=transport.TRANSPORT_PLANT, tcp=TABLETOP_TCP, joints=start) as process:
        transport.set_scene(process, 0)
        config = RobotConfig.of_twin(process.host)
        for camera in cameras:
            if camera not in config.cameras:
                raise ConfigError(
                    f"the policy looks through camera '{camera}'", expected=f"one of: {', '.join(config.cameras)}"
                )
        config = replace(config, cameras={name: config.cameras[name] for name in cameras})

        def prepare(key: EpisodeKey) -> None:
            transport.set_scene(process, transport.scene_number(key.task, key.start))

        with robot(config, cameras, options=options) as place:
            yield replace(place, prepare=prepare, tasks=transport.instructions(), starts=transport.STARTS)


@contextmanager
def robot(config: RobotConfig, cameras: Sequence[str], *, options: RobotOptions) -> Iterator[Place]:
    """A UR5 or UR5e (or what answers like one) with its cameras and its gripper. Nothing is moved.

    Raises:
        ConfigError: the policy looks through a camera that the robot file does not have.
        WorldError: something does not answer.
    """
    from vlasteer.robots.cameras import open_cameras
    from vlasteer.robots.ur.gripper import GripperThread
    from vlasteer.robots.ur.world import HORIZON, URWorld

    if missing := [name for name in cameras if name not in config.cameras]:
        raise ConfigError(
            f"the policy looks through camera '{missing[0]}', which the robot file does not have",
            expected=f"cameras {', '.join(cameras)}; it has {', '.join(config.cameras) or 'none'}",
            fix="Name a device under cameras in the robot file",
        )
    with ExitStack() as stack:
        opened = stack.enter_context(open_cameras(config.cameras, host=config.host))
        gripper = None
        if config.gripper is not None:
            gripper = GripperThread(config.host, config.gripper, read_only=options.dry_run)
            stack.callback(gripper.close)
            gripper.wait_ready()
        world = URWorld(
            config,
            cameras=opened,
            gripper=gripper,
            instruction=options.instruction,
            dry_run=options.dry_run,
            log=options.log,
            horizon=options.horizon or HORIZON,
        )
        stack.callback(world.close)
        yield Place(world, world.tasks, None, cameras=opened, facts=world.facts, servo_log=options.log)
