"""`vlasteer twin`: a UR controller on a loopback address, with the tabletop's UR5e behind it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from vlasteer.errors import ConfigError

if TYPE_CHECKING:
    from vlasteer.envs.tabletop.layout import Layout
    from vlasteer.robots.twin.mujoco_plant import MuJoCoPlant
    from vlasteer.robots.twin.plant import Plant
    from vlasteer.robots.twin.service import TwinService
    from vlasteer.robots.twin.settings import TwinSettings

_STATUS_S = 0.5
_PICTURE = 224  # pixels

TABLETOP_PLANT = "vlasteer.launch.twin:tabletop_plant"
"""Name of the tabletop for `TwinProcess(plant=...)`."""


@dataclass(frozen=True, kw_only=True)
class Twin:
    """Serve a UR controller that ur_rtde cannot tell from a UR5e on the wire; runs until interrupted.

    Ports 30001-30004, 29999 and 63352 of a loopback address, and 29900 for hooks. With --tell it calls hooks of a
    twin that runs already, prints what they return, and leaves; --tell hooks lists them.

    Example:
        vlasteer twin --host 127.0.0.2 --version 5.25
        vlasteer twin --host 127.0.0.2 --tell "stall seconds=2" --tell state
    """

    host: str = "127.0.0.2"
    """Loopback address, or auto for a free one; several twins may run at once on different ones."""
    model: Literal["ur5e", "ur5"] = "ur5e"
    """The arm; the ur5 is the CB3 series."""
    version: str = ""
    """Controller software, such as 3.15, 5.11, 5.25, 10.11; default: 5.25, or 3.15 for the ur5."""
    physics: Literal["tabletop", "kinematic"] | None = None
    """The arm in the tabletop scene (MuJoCo), or joints that are where they are told; default: tabletop, ur5e only."""
    scene: int = 0
    """Seed of what lies on the table."""
    powered: bool = True
    """Start with the brakes released; otherwise somebody must power the arm on."""
    remote_control: bool = True
    """Start in remote control."""
    log: Path | None = None
    """Write the wire log to this file, one JSON object a line."""
    tell: tuple[str, ...] = ()
    """Call this hook of the twin that runs at --host: its name, then name=value; repeatable."""

    def run(self) -> int:
        """Serve, or talk to one that serves."""
        if self.tell:
            return self._talk()
        from vlasteer.robots.twin.service import serve
        from vlasteer.robots.twin.settings import TwinSettings

        physics = self.physics or ("tabletop" if self.model == "ur5e" else "kinematic")
        settings = TwinSettings(
            host=self.host,
            model=self.model,
            version=self.version,
            tcp=_tabletop_tcp() if physics == "tabletop" else (0.0,) * 6,
            powered=self.powered,
            remote_control=self.remote_control,
            log_file=str(self.log or ""),
        )
        serve(settings, _plant(physics, settings, self.scene), _show)
        if self.log:
            print(f"The wire log is in {self.log}", file=sys.stderr)
        return 0

    def _talk(self) -> int:
        from vlasteer.robots.twin.hook_channel import HookClient

        client = HookClient(self.host)
        for command in self.tell:
            name, arguments = parse_hook(command)
            answer = client.call(name, **arguments)
            if isinstance(answer, np.ndarray):
                answer = answer.tolist()
            if answer is not None:
                print(json.dumps(answer, indent=1))
        client.close()
        return 0


def parse_hook(text: str) -> tuple[str, dict[str, Any]]:
    """`name key=value key=value` -> name and arguments; values are JSON where they can be, else text.

    Raises:
        ConfigError: no name, or a part without "=".
    """
    name, *parts = text.split() or [""]
    arguments: dict[str, Any] = {}
    for part in parts:
        key, equals, value = part.partition("=")
        if not equals or not key:
            raise ConfigError(f"'{part}' in --tell '{text}'", expected="name=value", fix="Write lists without blanks")
        try:
            arguments[key] = json.loads(value)
        except ValueError:
            arguments[key] = value
    if not name:
        raise ConfigError("--tell without the name of a hook", fix="List them with --tell hooks")
    return name, arguments


def tabletop_plant(settings: TwinSettings, scene: int = 0) -> Plant:
    """The UR5e of the tabletop as a twin's plant. Its own joint torques in place of the stronger ones of that world.

    Raises:
        ConfigError: the settings are of another arm.
    """
    if settings.model != "ur5e":
        raise ConfigError(f"the tabletop has no {settings.model}", fix="Use --physics kinematic, or --model ur5e")
    return arm_at_table(settings, Table(scene))


def arm_at_table(settings: TwinSettings, table: Table, kind: type[MuJoCoPlant] | None = None) -> MuJoCoPlant:
    """The UR5e in the scene of a table, at the settings' joint angles."""
    from vlasteer.envs.tabletop import arm, gripper
    from vlasteer.kinematics import JOINTS
    from vlasteer.robots.twin.mujoco_plant import ArmInScene, MuJoCoPlant, strengths

    model, period = table.model, 1.0 / settings.controller.rate_hz
    model.opt.timestep = period
    strengths(model, JOINTS, arm.JOINT_TORQUE)
    names = ArmInScene(gripper_joint=gripper.FINGERS[0], gripper_travel=gripper.FINGER_TRAVEL)
    plant = (kind or MuJoCoPlant)(model, table.data, table, period, names)
    plant.place(np.array(settings.joints, np.float64))
    return plant


def table_layout(seed: int) -> Layout:
    """What lies where on the twin's table: the layout of a task of lifting or pushing, drawn from the seed."""
    from vlasteer.envs.tabletop.layout import draw_layout
    from vlasteer.envs.tabletop.splits import HELD_OUT
    from vlasteer.envs.tabletop.tasks import TaskKind, tasks_of

    tasks = [*tasks_of(TaskKind.LIFT, HELD_OUT), *tasks_of(TaskKind.PUSH, HELD_OUT)]
    return draw_layout(tasks[seed % len(tasks)], HELD_OUT, 0, seed)


class Table:
    """The tabletop scene as the surroundings of a plant.

    Pictures are drawn by a second copy of the scene, for the first is stepped meanwhile.

    Args:
        seed: of the first arrangement.
        layout: what lies where for a seed; default: `table_layout`.
    """

    def __init__(self, seed: int, layout: Callable[[int], Layout] = table_layout) -> None:
        from vlasteer.envs.tabletop.scene import CAMERAS
        from vlasteer.envs.tabletop.simulation import Simulation

        self.cameras: tuple[str, ...] = CAMERAS
        self._scene, self._shown = Simulation(_PICTURE, ()), Simulation(_PICTURE, CAMERAS)
        self._layout_of = layout
        self._layout: Layout | None = None
        self._drawn: Layout | None = None
        self.arrange(seed)
        self.model, self.data = self._scene.model, self._scene.data

    def arrange(self, seed: int) -> None:
        """Cubes, a cylinder and bins."""
        self._layout = self._layout_of(seed)
        self._scene.reset(self._layout)

    def snapshot(self) -> tuple[Layout | None, NDArray[np.float64]]:
        """The layout, for its colours and bins, and all joint positions."""
        return self._layout, self._scene.data.qpos.copy()

    def draw(self, camera: str, snapshot: tuple[Layout, NDArray[np.float64]]) -> NDArray[np.uint8]:
        """A picture of the snapshot."""
        from vlasteer.envs.gl import import_mujoco

        layout, qpos = snapshot
        if layout is not self._drawn:
            self._shown.reset(layout)
            self._drawn = layout
        self._shown.data.qpos[:] = qpos
        import_mujoco().mj_forward(self._shown.model, self._shown.data)
        return self._shown.pictures()[camera]

    def close(self) -> None:
        """Free the pictures' context."""
        self._shown.close()


def _tabletop_tcp() -> tuple[float, ...]:
    from vlasteer.envs.tabletop.gripper import TCP_OFFSET

    return 0.0, 0.0, TCP_OFFSET, 0.0, 0.0, 0.0


def _plant(physics: str, settings: TwinSettings, scene: int) -> Plant:
    if physics == "tabletop":
        return tabletop_plant(settings, scene)
    from vlasteer.robots.twin.plant import KinematicPlant

    return KinematicPlant(settings.joints)


def _show(service: TwinService) -> None:
    """Print where the twin is, then a line about it: in place on a terminal, else whenever its state changes."""
    print(f"Twin ready at {service.host} (ports 30001-30004, 29999, 63352; hooks 29900). Ctrl-C ends it.", flush=True)
    loop = asyncio.get_running_loop()
    terminal, last = sys.stderr.isatty(), ""

    def status() -> None:
        nonlocal last
        c = service.controller
        state = f"{c.safety.robot_mode}{c.safety.safety_mode}{c.runtime_state}{len(service.network.connections)}"
        if terminal:
            print(f"\r\x1b[K{service.status()}", end="", file=sys.stderr, flush=True)
        elif state != last:
            print(service.status(), file=sys.stderr, flush=True)
        last = state
        loop.call_later(_STATUS_S, status)

    status()
