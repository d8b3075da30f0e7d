"""The arm's model is the DH table's arm."""

from __future__ import annotations

import numpy as np

from vlasteer.envs.gl import import_mujoco
from vlasteer.envs.tabletop import arm
from vlasteer.kinematics import JOINTS, UR5E

mujoco = import_mujoco()


def _model(tool: str = "", strength: float = 1.0):
    return mujoco.MjModel.from_xml_string(
        '<mujoco><compiler angle="radian" autolimits="true"/>'
        f"<asset>{arm.mjcf_assets()}</asset><worldbody>{arm.mjcf_body(tool)}</worldbody>"
        f"<actuator>{arm.mjcf_actuators(strength)}</actuator></mujoco>"
    )


def test_its_flange_is_where_the_table_says() -> None:
    model = _model()
    data = mujoco.MjData(model)
    for angles in np.random.default_rng(0).uniform(-np.pi, np.pi, (50, 6)):
        data.qpos[:] = angles
        mujoco.mj_kinematics(model, data)
        flange = data.body("flange")
        np.testing.assert_allclose(flange.xpos, UR5E.forward(angles)[:3, 3], atol=1e-12)
        np.testing.assert_allclose(flange.xmat.reshape(3, 3), UR5E.forward(angles)[:3, :3], atol=1e-12)


def test_masses_and_their_centres_are_the_tables() -> None:
    model = _model()
    data = mujoco.MjData(model)
    angles = np.array([0.3, -1.2, 1.5, -1.0, -1.4, 0.7])
    data.qpos[:] = angles
    mujoco.mj_kinematics(model, data)
    frames = UR5E.frames(angles)
    for joint, name in enumerate(JOINTS):
        assert model.body(name).mass[0] == UR5E.link_mass[joint]
        centre = frames[joint + 1] @ [*UR5E.link_com[joint], 1.0]
        np.testing.assert_allclose(data.body(name).xipos, centre[:3], atol=1e-12)


def test_limits_and_servos() -> None:
    model = _model(strength=2.0)
    assert [model.joint(i).name for i in range(model.njnt)] == list(JOINTS)
    np.testing.assert_allclose(model.jnt_range[:, 1], UR5E.joint_limit)
    np.testing.assert_allclose(model.actuator_forcerange[:, 1], 2 * np.array(arm.JOINT_TORQUE))
    data = mujoco.MjData(model)
    data.ctrl[:] = goal = [0.2, -1.0, 0.8, -0.5, 0.3, 1.0]
    for _ in range(1000):
        mujoco.mj_step(model, data)
    np.testing.assert_allclose(data.qpos, goal, atol=1e-6)  # its weight is compensated


def test_a_tool_hangs_on_the_flange() -> None:
    model = _model('<site name="tip" pos="0 0 .1"/>')
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    np.testing.assert_allclose(data.site("tip").xpos, (UR5E.forward(np.zeros(6)) @ [0, 0, 0.1, 1])[:3], atol=1e-12)
