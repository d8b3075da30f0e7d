"""`vlasteer drive`: a policy moves a robot, the twin or a simulation while somebody holds, watches and turns knobs."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from vlasteer.errors import ConfigError
from vlasteer.launch.interruption import interruptible
from vlasteer.launch.options import PolicyOptions, SteeringOptions
from vlasteer.launch.recording import RecordingOptions

if TYPE_CHECKING:
    from vlasteer.launch.driving.panel import Panel
    from vlasteer.launch.driving.places import Place
    from vlasteer.protocols import Policy

_ROBOT_SPEED = 0.3


@dataclass(frozen=True, kw_only=True)
class Drive(PolicyOptions, SteeringOptions, RecordingOptions):
    """Let a policy move a UR5, its twin or a simulation, while you hold the space bar and turn its features.

    Nothing moves while the space bar (or the page's button) is not held; letting go stops. This replaces neither the
    pendant's safety configuration nor the emergency stop nor an enabling device: read docs/safety.md before a real arm.
    A robot is described by a file of its own; docs/ur5e.yaml is one with comments.

    Example:
        vlasteer drive --robot twin --page --record run
        vlasteer drive --robot ur5e --robot-config ur5e.yaml --policy CHECKPOINT --instruction "pick up the cube"
        --steer fast=1 --dry-run
    """

    policy: str = "openvla-nano"
    """Checkpoint folder, hub name such as openvla/openvla-7b, a shipped organism's name, or server: ws://host:port."""
    robot: Literal["twin", "ur5", "ur5e"] | None = None
    """twin (started here, at the tabletop, and needs nothing else), ur5 (CB3), ur5e."""
    env: str | None = None
    """A simulated world in place of a robot: tabletop_transport, libero_goal, ..."""
    robot_config: Path | None = None
    """File that describes a real robot; see docs/ur5e.yaml."""
    host: str | None = None
    """Address of the robot's controller, in place of the file's."""
    instruction: str | None = None
    """The task in words; twin and simulations have one of their own for each --task."""
    knob: tuple[str, ...] = ()
    """Feature to have as a knob that is off at first; repeatable. Default: the pack's (of a shipped organism: fast,
    slow, high, low)."""
    other_pack: tuple[str, ...] = ()
    """Another feature pack, all of it off, to choose at the page in place of the first; repeatable. A feature whose
    name is taken is called NAME@PACK."""
    dry_run: bool = False
    """Everything but motion: no control connection is made."""
    record: str | None = None
    """Run folder to record into; made if absent, continued if it is there."""
    page: bool = False
    """Serve the page with cameras, knobs, plots, hold-to-run and stop."""
    page_host: str = "127.0.0.1"
    """Address that the page is served at; any but this one takes --page-token."""
    page_port: int = 8080
    """Port of the page; 0 takes a free one."""
    page_token: str | None = None
    """Token that the page's address has to carry."""
    schedule: Path | None = None
    """File that turns knobs at given times, and may hold to run in simulations and on the twin; never on a robot."""
    osc: int | None = None
    """UDP port for OSC messages that turn knobs."""
    osc_host: str = "127.0.0.1"
    """Address that OSC is heard at; whoever reaches it can hold to run."""
    midi: str | None = None
    """MIDI input whose faders turn knobs: a part of its name, or host:port for MIDI over TCP."""
    gamepad: bool = False
    """A game controller holds and turns."""
    speed: float | None = None
    """Where the knob of speed begins, 0.05 to 1; default: 0.3 for a robot, 1 for a simulation."""
    replan: int = 10
    """Actions of a chunk that are executed before the policy is asked again (OpenVLA's chunks have one)."""
    sync: bool = False
    """Robots: execute each chunk before the next is computed, for exact replay."""
    task: int = 0
    """Task of a simulation or the twin."""
    start: int = 0
    """Initial state of the first episode; the next ones follow it."""
    episodes: int = 1
    """Episodes one after the other; each waits for a press of its own."""
    seed: int = 7
    """Seed of everything random in a simulation."""
    horizon: int | None = None
    """Control steps after which an episode ends; default: the world's."""
    assets: str | None = None
    """Folder of the simulator's assets, for LIBERO."""

    def run(self) -> int:
        """Load, open, show what was checked, then drive."""
        from vlasteer.launch.driving.permission import require_permission
        from vlasteer.launch.driving.session import drive

        self._check()
        require_permission(page=self.page, schedule=self.schedule, real=self.real)
        with interruptible():
            policy = self.load_policy(world="tabletop_transport" if self.robot == "twin" else self.env)
            panel = self._panel(policy)
            with self._place(policy) as place:
                drive(self, policy, panel, place)
        return 0

    @property
    def real(self) -> bool:
        """Whether a real arm would move."""
        return self.robot in ("ur5", "ur5e")

    def _check(self) -> None:
        if (self.robot is None) == (self.env is None):
            raise ConfigError(
                "--robot and --env are both given or both missing", expected="one of them", fix="Try --robot twin"
            )
        if self.real and self.robot_config is None:
            raise ConfigError(
                f"--robot {self.robot} without --robot-config",
                expected="a file with its tool, payload, workspace and cameras",
                fix="Copy docs/ur5e.yaml and measure your own",
            )
        if self.real and self.instruction is None:
            raise ConfigError(
                "a robot without --instruction", fix='Say what to do, e.g. --instruction "pick up the cube"'
            )
        for name, given in (("host", self.host), ("robot-config", self.robot_config)):
            if given is not None and not self.real:
                raise ConfigError(f"--{name} was given for {self.robot or self.env}", expected="--robot ur5 or ur5e")
        for name, given in (("dry-run", self.dry_run), ("sync", self.sync)):
            if given and self.robot is None:
                raise ConfigError(f"--{name} was given for a simulation", expected="--robot twin, ur5 or ur5e")
        for name, value in (("episodes", self.episodes), ("replan", self.replan), ("horizon", self.horizon or 1)):
            if value < 1:
                raise ConfigError(f"--{name} {value}", expected="at least 1")
        for name, value in (("task", self.task), ("start", self.start), ("seed", self.seed)):
            if value < 0:
                raise ConfigError(f"--{name} {value}", expected="a number from 0")
        if self.speed is not None and not 0.05 <= self.speed <= 1:
            raise ConfigError(f"--speed {self.speed}", expected="0.05 to 1")

    # --- what is needed -----------------------------------------------------------------------------------------------
    def _panel(self, policy: Policy) -> Panel:
        from vlasteer.launch.driving.panel import make_panel

        usual = 1.0 if self.robot is None else _ROBOT_SPEED
        speed = usual if self.speed is None else self.speed
        chunks = policy.kind != "openvla"
        return make_panel(policy, self, self.knob, self.other_pack, speed=speed, replan=self.replan, replanning=chunks)

    def _place(self, policy: Policy) -> AbstractContextManager[Place]:
        from vlasteer.launch.driving import places
        from vlasteer.robots.ur.config import RobotConfig

        if self.env is not None:
            given = {"assets": self.assets, "horizon": self.horizon}
            return places.simulation(self.env, {name: value for name, value in given.items() if value is not None})
        log = None if self.record is None else Path(self.record).expanduser().absolute() / "servo"
        options = places.RobotOptions(self.instruction or "", self.dry_run, self.horizon, log)
        if self.robot == "twin":
            return places.twin(policy.cameras, options=options)
        assert self.robot_config is not None
        config = RobotConfig.load(self.robot_config, **({} if self.host is None else {"host": self.host}))
        if config.model != self.robot:
            raise ConfigError(f"--robot {self.robot}, but {self.robot_config} describes a {config.model}")
        return places.robot(config, policy.cameras, options=options)
