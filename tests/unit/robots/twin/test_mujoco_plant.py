"""The plant in MuJoCo, with a scene of its own: no world is needed for it, and no pictures."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from vlasteer.errors import ConfigError
from vlasteer.kinematics import JOINTS, UR5E
from vlasteer.robots.twin.mujoco_plant import MuJoCoPlant, strengths
from vlasteer.robots.twin.settings import HOME

DT = 0.002


class Nothing:
    """Surroundings without cameras."""

    cameras: tuple[str, ...] = ()

    def arrange(self, seed: int) -> None:
        return None

    def snapshot(self) -> Any:
        return None

    def draw(self, camera: str, snapshot: Any) -> NDArray[np.uint8]:
        raise AssertionError("there is nothing to draw")

    def close(self) -> None:
        return None


def scene(timestep: float = DT, floor: float = -1.0) -> str:
    """An arm of sticks with a ball for a hand above a floor."""
    inner = (
        f'<body name="flange" pos="0 0 {UR5E.d[5]}"><site name="tcp"/><geom name="ball" size=".03" mass=".1"/>'
        '<body name="finger_left"><joint name="finger_left" type="slide" axis="1 0 0" range="0 .04" damping="5"/>'
        '<geom size=".005" mass=".05" contype="0" conaffinity="0"/></body></body>'
    )
    for joint in reversed(range(6)):
        place = ""
        if joint:
            half = UR5E.alpha[joint - 1] / 2
            place = f'pos="{UR5E.a[joint - 1]} 0 {UR5E.d[joint - 1]}" quat="{math.cos(half)} {math.sin(half)} 0 0"'
        mass = '<inertial pos="0 0 0" mass="1" diaginertia=".01 .01 .01"/>'
        hinge = f'<joint name="{JOINTS[joint]}" axis="0 0 1" armature=".2"/>'
        inner = f'<body name="{JOINTS[joint]}" {place} gravcomp="1">{hinge}{mass}{inner}</body>'
    servos = "".join(f'<position name="{j}" joint="{j}" kp="8000" kv="300"/>' for j in JOINTS)
    gripper = '<position name="gripper" joint="finger_left" kp="2000" kv="50"/>'
    ground = f'<geom type="plane" size="2 2 .1" pos="0 0 {floor}"/>'
    return (
        f'<mujoco><compiler angle="radian"/><option timestep="{timestep}" integrator="implicitfast"/>'
        f'<worldbody>{ground}<body name="base" quat="0 0 0 1">{inner}</body></worldbody>'
        f"<actuator>{servos}{gripper}</actuator></mujoco>"
    )


def make(timestep: float = DT, floor: float = -1.0) -> MuJoCoPlant:
    mujoco = pytest.importorskip("mujoco", reason="mujoco is not installed")
    model = mujoco.MjModel.from_xml_string(scene(timestep, floor))
    plant = MuJoCoPlant(model, mujoco.MjData(model), Nothing(), DT)
    plant.place(np.array(HOME))
    return plant


@pytest.mark.parametrize("timestep", [0.002, 0.0005])
def test_joints_follow_a_moving_setpoint(timestep: float) -> None:
    plant, q = make(timestep), np.array(HOME)
    speed = np.array([0.5, -0.3, 0.3, 0.2, 0.5, 1.0])
    for tick in range(1, 301):
        plant.step(q + speed * DT * tick, speed, DT)
    np.testing.assert_allclose(plant.q, q + speed * 0.6, atol=0.01)
    np.testing.assert_allclose(plant.qd, speed, atol=0.05)


def test_pressing_on_the_floor_is_felt_in_the_base_frame() -> None:
    q = np.array(HOME)
    height = UR5E.forward(q)[2, 3]
    plant = make(floor=height - 0.029)  # the ball of 3 cm stands 1 mm deep in it
    for _ in range(300):
        plant.step(q, np.zeros(6), DT)
    force = plant.wrench()
    assert force[2] > 5.0
    assert np.abs(force[:2]).max() < force[2] / 2
    free = make()
    free.step(q, np.zeros(6), DT)
    np.testing.assert_array_equal(free.wrench(), 0)


def test_the_gripper_goes_where_it_is_told_faster_when_told_so() -> None:
    reached = []
    for speed in (0.0, 1.0):
        plant, q = make(), np.array(HOME)
        plant.grip(1.0, speed, 1.0)
        for _ in range(300):
            plant.step(q, np.zeros(6), DT)
        plant.grip(0.0, speed, 1.0)
        for _ in range(150):
            plant.step(q, np.zeros(6), DT)
        reached.append(plant.opening)
    assert reached[1] < 0.6 < reached[0]


def test_time_steps_have_to_fit_the_control_period() -> None:
    with pytest.raises(ConfigError, match="time step"):
        make(timestep=0.0015)


def test_servos_can_be_given_the_arms_own_torques() -> None:
    mujoco = pytest.importorskip("mujoco", reason="mujoco is not installed")
    model = mujoco.MjModel.from_xml_string(scene())
    strengths(model, JOINTS, (150.0, 150.0, 150.0, 28.0, 28.0, 28.0))
    assert model.actuator_forcerange[:6].tolist() == [[-t, t] for t in (150.0, 150.0, 150.0, 28.0, 28.0, 28.0)]
