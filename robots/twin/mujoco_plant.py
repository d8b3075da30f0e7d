"""The arm and gripper in MuJoCo: whoever has a scene with a UR arm in it can put a controller in front of it.

The scene is given, not known: this module imports no world (see `vlasteer.launch.twin` for the tabletop).
Approximations of a
real arm: ideal joint servos with the scene's own stiffness, fed forward the setpoint's speed; no friction, no
flexibility; the wrench is what contacts with the hand add up to, without the weight of what is held in free air.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vlasteer.errors import ConfigError, MissingDependencyError
from vlasteer.kinematics import JOINTS, Vector

_HOLDING_FORCE = 0.2  # least fraction of the gripper's force that a force of 0 stands for


class Surroundings(Protocol):
    """What a scene offers beside its physics.

    Attributes:
        cameras: names of its cameras.
    """

    cameras: tuple[str, ...]

    def arrange(self, seed: int) -> None:
        """Put the things that are not the arm where the seed draws them."""
        ...

    def snapshot(self) -> Any:
        """What `draw` needs to show this moment; independent of what happens next."""
        ...

    def draw(self, camera: str, snapshot: Any) -> NDArray[np.uint8]:
        """A picture, uint8 [height, width, 3]. Called from one other thread than everything else."""
        ...

    def close(self) -> None:
        """Free what drawing took. Called from that other thread."""
        ...


@dataclass(frozen=True)
class ArmInScene:
    """Names in the MuJoCo model.

    Attributes:
        joints, actuators: of the arm, in order; the actuators are position servos.
        gripper_joint, gripper_actuator: of the driven finger, whose joint is 0 when closed.
        gripper_travel: its joint's position when open.
        gripper_speed: its largest speed.
        base: body at the arm's base, whose frame is UR's base frame.
        hand: body whose subtree feels contacts as the tool does.
        tcp: site where the wrench acts.
    """

    joints: tuple[str, ...] = JOINTS
    actuators: tuple[str, ...] = JOINTS
    gripper_joint: str = "finger_left"
    gripper_actuator: str = "gripper"
    gripper_travel: float = 0.04
    gripper_speed: float = 0.075
    base: str = "base"
    hand: str = "flange"
    tcp: str = "tcp"


class MuJoCoPlant:
    """A `Plant` in a MuJoCo scene.

    Args:
        model, data: the scene, `mujoco.MjModel` and `mujoco.MjData` (which have no type stubs); from now on stepped by
        nobody else.
        surroundings: its pictures and its things.
        names: what its parts are called.
        control_period_s: what `step` is called with; a whole number of the model's time steps.

    Raises:
        ConfigError: time steps that do not fit into a control period.
        MissingDependencyError: mujoco is not installed.
    """

    def __init__(
        self,
        model: Any,
        data: Any,
        surroundings: Surroundings,
        control_period_s: float,
        names: ArmInScene | None = None,
    ) -> None:
        try:
            import mujoco
        except ImportError as error:
            raise MissingDependencyError("mujoco is not installed", fix="Run: pip install mujoco==3.3.2") from error
        self._mujoco, self._model, self._data, self._surroundings = mujoco, model, data, surroundings
        self._substeps = round(control_period_s / model.opt.timestep)
        if abs(self._substeps * model.opt.timestep - control_period_s) > 1e-9 or self._substeps < 1:
            raise ConfigError(
                f"a scene with a time step of {model.opt.timestep} s behind a control period of {control_period_s} s",
                expected="a whole number of time steps per control period",
            )
        names = self._names = names or ArmInScene()
        self._qpos = np.array([int(model.joint(name).qposadr[0]) for name in names.joints])
        self._qvel = np.array([int(model.joint(name).dofadr[0]) for name in names.joints])
        self._servos = np.array([model.actuator(name).id for name in names.actuators])
        # A position servo is gain * (control - q) - damping * qd; this much control per speed cancels its damping.
        self._ahead = -model.actuator_biasprm[self._servos, 2] / model.actuator_gainprm[self._servos, 0]
        self._finger = int(model.joint(names.gripper_joint).qposadr[0])
        self._grip_servo = model.actuator(names.gripper_actuator).id
        self._grip_range = model.actuator_forcerange[self._grip_servo].copy()
        self._hand_geoms = _geoms_below(model, model.body(names.hand).id)
        self._base, self._tcp = model.body(names.base).id, model.site(names.tcp).id
        self._wanted = self._finger_target = names.gripper_travel
        self._finger_speed = names.gripper_speed
        self._wrench: Vector | None = None
        self.cameras = surroundings.cameras
        self._read()

    def place(self, q: Vector) -> None:
        """Be at these joint angles, at rest; the things around stay where they are."""
        self._data.qpos[self._qpos], self._data.qvel[self._qvel], self._data.ctrl[self._servos] = q, 0.0, q
        self._mujoco.mj_forward(self._model, self._data)
        self._read()

    def arrange(self, seed: int) -> None:
        """Put the things around where the seed draws them; the arm stays where it is."""
        q = self.q
        self._surroundings.arrange(seed)
        self._finger_target = self._wanted
        self.place(q)

    def grip(self, opening: float, speed: float, force: float) -> None:
        """Drive the gripper."""
        self._wanted = opening * self._names.gripper_travel
        self._finger_speed = self._names.gripper_speed * (0.1 + 0.9 * speed)
        strength = _HOLDING_FORCE + (1 - _HOLDING_FORCE) * force
        self._model.actuator_forcerange[self._grip_servo] = self._grip_range * strength
        if self._wanted > self._finger_target:  # fingers that press on something open from where they are
            self._finger_target = max(self._finger_target, float(self._data.qpos[self._finger]))

    def step(self, target: Vector, speed: Vector, dt: float) -> None:
        """Let one control period pass."""
        data, timestep = self._data, self._model.opt.timestep
        for substep in range(self._substeps, 0, -1):
            data.ctrl[self._servos] = target - speed * (timestep * (substep - 1)) + self._ahead * speed
            way = self._finger_speed * timestep
            self._finger_target += min(max(self._wanted - self._finger_target, -way), way)
            data.ctrl[self._grip_servo] = self._finger_target
            self._mujoco.mj_step(self._model, data)
        self._read()

    def wrench(self) -> Vector:
        """Wrench [6] of contacts on the TCP, base frame."""
        if self._wrench is None:
            self._wrench = self._contact_wrench()
        return self._wrench

    def snapshot(self) -> Any:
        """For `draw`."""
        return self._surroundings.snapshot()

    def draw(self, camera: str, snapshot: Any) -> NDArray[np.uint8]:
        """A picture."""
        return self._surroundings.draw(camera, snapshot)

    def close(self) -> None:
        """Free the pictures' memory."""
        self._surroundings.close()

    def _read(self) -> None:
        self.q, self.qd = self._data.qpos[self._qpos], self._data.qvel[self._qvel]
        self.opening = float(np.clip(self._data.qpos[self._finger] / self._names.gripper_travel, 0.0, 1.0))
        self._wrench = None

    def _contact_wrench(self) -> Vector:
        data, total = self._data, np.zeros(6)
        if not data.ncon:
            return total
        mine = self._hand_geoms[data.contact.geom]  # [contacts, 2]
        at, force = data.site_xpos[self._tcp], np.zeros(6)
        for index in np.flatnonzero(mine[:, 0] != mine[:, 1]):
            contact = data.contact[index]
            self._mujoco.mj_contactForce(self._model, data, index, force)
            frame = contact.frame.reshape(3, 3).T
            # The contact frame's x axis points from the first geom to the second, and the force is on the second.
            sign = 1.0 if mine[index, 1] else -1.0
            push, twist = frame @ force[:3] * sign, frame @ force[3:] * sign
            total[:3] += push
            total[3:] += twist + np.cross(contact.pos - at, push)
        turn = data.xmat[self._base].reshape(3, 3).T
        return np.concatenate([turn @ total[:3], turn @ total[3:]])


def _geoms_below(model: Any, body: int) -> NDArray[np.bool_]:
    """Which geoms belong to a body or to one that hangs on it."""
    below = np.zeros(model.nbody, bool)
    below[body] = True
    for child in range(body + 1, model.nbody):  # parents come before their children
        below[child] |= below[model.body_parentid[child]]
    return below[model.geom_bodyid]


def strengths(model: Any, actuators: Sequence[str], torques: Sequence[float]) -> None:
    """Limit the servos of these names to the torques (N m), in place of what the scene gave them."""
    for name, torque in zip(actuators, torques, strict=True):
        model.actuator_forcerange[model.actuator(name).id] = (-torque, torque)
