"""The twin's table as the shipped policies know it: a cube in the gripper, and the bins that it may go into.

The scenes are the held-out ones of the world `tabletop_transport`. What a policy does with the twin there is done by
the driver of the arm, through the safety filter, at the filter's speeds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vlasteer.launch.twin import Table, arm_at_table
from vlasteer.robots.twin.mujoco_plant import MuJoCoPlant

if TYPE_CHECKING:
    from vlasteer.envs.tabletop.layout import Layout
    from vlasteer.envs.tabletop.tasks import Task
    from vlasteer.kinematics import Vector
    from vlasteer.robots.twin import TwinProcess
    from vlasteer.robots.twin.plant import Plant
    from vlasteer.robots.twin.settings import TwinSettings

TRANSPORT_PLANT = "vlasteer.launch.driving.transport:transport_plant"
"""For `TwinProcess(plant=...)`."""
STARTS = 100
"""Initial states of a task."""


def tasks() -> tuple[Task, ...]:
    """The tasks: which cube into which bin."""
    from vlasteer.envs.tabletop.splits import HELD_OUT
    from vlasteer.envs.tabletop.tasks import TaskKind, tasks_of

    return tasks_of(TaskKind.TRANSPORT, HELD_OUT)


def instructions() -> tuple[str, ...]:
    """The words of each task."""
    from vlasteer.envs.tabletop.language import canonical
    from vlasteer.envs.tabletop.splits import HELD_OUT

    return tuple(canonical(task, HELD_OUT) for task in tasks())


def scene_number(task: int, start: int) -> int:
    """The number by which `arrange` knows the scene of a task and an initial state."""
    return start * len(tasks()) + task


def transport_layout(number: int) -> Layout:
    """What lies where in the scene of that number."""
    from vlasteer.envs.tabletop.layout import draw_layout
    from vlasteer.envs.tabletop.splits import HELD_OUT

    start, task = divmod(number, len(tasks()))
    return draw_layout(tasks()[task], HELD_OUT, start, 0)


def transport_plant(settings: TwinSettings) -> Plant:
    """The UR5e of the tabletop; `arrange` puts the cube into its hand.

    Raises:
        ConfigError: the settings are of another arm.
    """
    return arm_at_table(settings, Table(0, transport_layout), HoldingPlant)


class HoldingPlant(MuJoCoPlant):
    """A plant whose fingers close on what the scene puts between them."""

    def arrange(self, seed: int) -> None:
        """Put the things where the scene wants them, the cube between the closing fingers."""
        self.grip(0.0, 1.0, 1.0)
        super().arrange(seed)


def start_joints(number: int) -> Vector:
    """Joint angles [6] at which the hand is where the scene wants it, rad."""
    table = Table(number, transport_layout)
    joints = np.array(table.data.qpos[:6])
    table.close()
    return joints


def set_scene(twin: TwinProcess, number: int) -> None:
    """Put arm, cube and bins where the scene wants them, as a person does between two episodes.

    Nothing may run on the controller meanwhile.
    """
    twin.call("place", q=start_joints(number).tolist())
    twin.call("arrange", seed=number)
