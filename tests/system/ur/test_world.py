"""The robot as a world, against a twin: what is observed, executed, returned and logged."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ur_arm import KEY, Operator, Policy, commands, motions, rest, run, travel, wait_for

from vlasteer.errors import ConventionError, InputError, WorldError
from vlasteer.kinematics import pose_matrix
from vlasteer.protocols import Robot
from vlasteer.robots.cameras import Frame
from vlasteer.robots.twin import TwinProcess
from vlasteer.robots.ur.config import TABLETOP_TCP, ActionConfig, RobotConfig
from vlasteer.robots.ur.gripper import GripperConfig, GripperThread
from vlasteer.robots.ur.journal import read, verify
from vlasteer.robots.ur.world import URWorld
from vlasteer.types import Executed, Gripper, Outcome, Phase

Make = Callable[..., URWorld]


def test_it_is_a_robot_that_stands_still_until_it_is_told(twin: TwinProcess, make_world: Make) -> None:
    world = make_world()
    assert isinstance(world, Robot)
    assert world.status.phase is Phase.DISARMED
    with pytest.raises(WorldError, match="no episode"):
        world.observe()
    world.reset(KEY)
    assert world.status.phase is Phase.HOLDING
    seen = world.observe()
    state = twin.state()
    pose = pose_matrix(state["tcp_pose"])
    assert seen.state is not None
    np.testing.assert_allclose(seen.state[:3], [-pose[0, 3], -pose[1, 3], pose[2, 3]], atol=1e-9)  # the table's axes
    np.testing.assert_allclose(seen.state[6:], [0.04, 0.04])
    assert abs(seen.time_s - time.monotonic()) < 1.0
    assert world.readings["robot"].latency_s < 1.0
    assert not state["moving"]
    assert world.outcome is Outcome.RUNNING
    world.close()
    assert twin.wait_for(lambda state: not state["connections"])["runtime_state"] == "STOPPED"


def test_actions_are_executed_and_what_was_sent_is_returned(twin: TwinProcess, since: int, make_world: Make) -> None:
    world = make_world()
    world.reset(KEY)
    began = world.observe().state
    with Operator(world) as operator:
        operator.press()
        wait_for(lambda: motions(twin, since))
        total = np.zeros(7)
        for _ in range(20):
            total[:6] += world.act(np.array([0.1, 0.0, 0.05, 0.0, 0.0, 0.0, -1.0]))[:6]
        operator.release()
        wait_for(lambda: world.status.phase is Phase.HOLDING)
        time.sleep(0.3)
    assert began is not None
    ended = world.observe().state
    assert ended is not None
    moved = ended[:3] - began[:3]
    assert moved[0] > 0.02
    assert 0.4 * moved[0] < moved[2] < 0.6 * moved[0]
    np.testing.assert_allclose(total[:3] * 0.05, moved, atol=0.025)  # less what was slowed down after the last period
    assert abs(moved[1]) < 1e-3


def test_chunks_overlap_with_execution_and_are_followed(twin: TwinProcess, make_world: Make) -> None:
    world = make_world()
    world.reset(KEY)
    executed: list[Executed | None] = []
    with Operator(world) as operator, Policy(world):
        run(world, operator)
        for _ in range(20):
            executed.append(world.advance())
        status = world.status
    done = [step for step in executed if step is not None]
    assert len(done) >= 15
    assert all(0 <= step.index < 10 for step in done)
    assert len({frozenset(step.extra) for step in done}) == 1  # the same names in every period
    assert 0 < status.latency_s < 1.0
    assert status.loop_rate_hz > 60


def test_nothing_is_executed_without_the_operator(twin: TwinProcess, since: int, make_world: Make) -> None:
    world = make_world()
    world.reset(KEY)
    assert world.submit(np.full((5, 7), 0.1), time.monotonic()) == 5  # all dropped
    assert world.advance() is None
    np.testing.assert_array_equal(world.act(np.full(7, 0.1))[:6], 0.0)
    assert motions(twin, since) == []


def test_joint_targets_and_the_gripper_of_openpi(twin: TwinProcess, make_world: Make) -> None:
    convention = ActionConfig(kind="joint_target", gripper=Gripper.ZERO_OPEN_ONE_CLOSED)
    world = make_world(RobotConfig.of_twin(twin.host, cameras={}, gripper=None, action=convention))
    world.reset(KEY)
    state = world.observe().state
    assert state is not None
    assert world.state_names[:6] == ("joint1", "joint2", "joint3", "joint4", "joint5", "joint6")
    np.testing.assert_allclose(state, [*twin.state()["q"], 0.0])
    target = state.copy()
    target[0] += 0.1
    with Operator(world) as operator:
        operator.press()

        def arrived() -> bool:
            world.act(target)
            return abs(twin.state()["q"][0] - target[0]) < 2e-3

        wait_for(arrived)
    with pytest.raises(InputError, match="joint"):
        world.submit(np.full((1, 7), 90.0), time.monotonic())


@pytest.mark.parametrize("bad", [np.nan, np.inf, 57.3])
def test_one_bad_value_rejects_the_whole_chunk(twin: TwinProcess, since: int, make_world: Make, bad: float) -> None:
    world = make_world()
    world.reset(KEY)
    chunk = np.full((10, 7), 0.1)
    chunk[7, 2] = bad
    with Operator(world) as operator:
        operator.press()
        wait_for(lambda: motions(twin, since))
        with pytest.raises(InputError):
            world.submit(chunk, time.monotonic())
        time.sleep(0.2)
    sent = motions(twin, since)
    assert not twin.state()["moving"]
    assert np.all(np.isfinite([list(entry["values"].values()) for entry in sent]))
    with pytest.raises(ConventionError, match="shape"):
        world.submit(np.zeros((3, 6)), time.monotonic())


def test_a_dry_run_does_everything_but_move(twin: TwinProcess, since: int, make_world: Make, tmp_path: Path) -> None:
    world = make_world(dry_run=True, log=tmp_path)
    world.reset(KEY)
    with Operator(world) as operator, Policy(world):
        run(world, operator)
        for _ in range(10):
            world.advance()
        assert world.status.dry_run
    world.close()
    entries = twin.log(since)
    assert {entry["source"].split()[0] for entry in entries if entry["kind"] == "connect"} <= {"rtde", "dashboard"}
    assert not [entry for entry in entries if entry["kind"] in ("rtde_inputs", "input", "script")]
    asked = {entry["line"] for entry in entries if entry["kind"] == "dashboard"}
    assert asked <= {"PolyscopeVersion", "is in remote control", "get robot model"}
    assert verify(tmp_path / "servo-000.jsonl") > 20  # and yet commands were worked out


def test_the_log_replays_to_the_same_bits(twin: TwinProcess, since: int, make_world: Make, tmp_path: Path) -> None:
    world = make_world(log=tmp_path)
    world.reset(KEY)
    with Operator(world) as operator, Policy(world, [0.2, -0.1, 0.3, 0.05, 0.0, 0.1, 1.0]):
        run(world, operator)
        time.sleep(0.5)
        rest(world, operator)
        run(world, operator)
        time.sleep(0.3)
    world.close()
    path = tmp_path / "servo-000.jsonl"
    count = verify(path)
    assert 50 < len(motions(twin, since)) <= count
    entries = read(path)
    last = [entry for entry in entries if entry.get("input") == "submit"][-4]
    last["actions"] = (np.array(last["actions"]) * 0.9).tolist()
    altered = tmp_path / "altered.jsonl"
    altered.write_text("\n".join(map(json.dumps, entries)))
    with pytest.raises(InputError, match="replay"):
        verify(altered)


def test_an_episode_ends_at_its_horizon_and_another_begins(twin: TwinProcess, make_world: Make) -> None:
    world = make_world(horizon=5)
    world.reset(KEY)
    with Operator(world) as operator, Policy(world):
        run(world, operator)
        wait_for(lambda: (world.advance(), world.outcome is Outcome.HORIZON)[1])
        world.stop("the episode is over")
        assert world.outcome is Outcome.HORIZON
        assert world.status.phase is Phase.STOPPED
        world.reset(KEY._replace(seed=1))
        assert world.outcome is Outcome.RUNNING
        run(world, operator)


def test_the_gripper_does_what_the_executed_action_says(twin: TwinProcess, since: int, make_world: Make) -> None:
    gripper = GripperThread(twin.host, GripperConfig(speed=1.0, allow_activation=True))
    try:
        gripper.wait_ready(10.0)
        world = make_world(gripper=gripper)
        world.reset(KEY)
        state = world.observe().state
        assert state is not None
        assert state[6] == pytest.approx(0.04 * gripper.opening)
        world.submit(np.tile([0.0] * 6 + [1.0], (10, 1)), time.monotonic())  # nobody holds
        time.sleep(0.3)
        opening = twin.state()["gripper_opening"]
        with Operator(world) as operator, Policy(world, [0.05, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]) as policy:
            assert opening > 0.9
            run(world, operator)
            twin.wait_for(lambda now: now["gripper_opening"] < 0.1)
            policy.action[6] = -1.0
            twin.wait_for(lambda now: now["gripper_opening"] > 0.9)
    finally:
        gripper.close()


class StillCamera:
    """A camera whose picture was taken some time ago."""

    name = "image"

    def __init__(self) -> None:
        self.age_s = 0.05

    def frame(self) -> Frame:
        if self.age_s > 0.2:
            raise WorldError("the newest picture of camera 'image' is old")
        now = time.monotonic()
        return Frame(np.zeros((8, 8, 3), np.uint8), now - self.age_s, now, 0)

    def close(self) -> None:
        pass


def test_every_part_of_an_observation_has_its_own_time(twin: TwinProcess, make_world: Make) -> None:
    camera = StillCamera()
    world = make_world(cameras={"image": camera})
    world.reset(KEY)
    seen = world.observe()
    assert seen.images["image"].shape == (8, 8, 3)
    assert seen.time_s == min(world.readings["image"].time_s, world.readings["robot"].time_s)  # the oldest
    assert world.readings["image"].latency_s == pytest.approx(0.05, abs=0.01)
    assert world.status.camera_ages_s == {"image": 0.05}
    camera.age_s = 1.0
    with pytest.raises(WorldError, match="old"):
        world.observe()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "version", "rate"),
    [("ur5", "3.15", 125), ("ur5e", "5.11", 125), ("ur5e", "10.11", 125), ("ur5e", "", 500)],
)
def test_other_arms_versions_and_rates(make_world: Make, model: Any, version: str, rate: Any) -> None:
    with TwinProcess(model=model, version=version, tcp=TABLETOP_TCP) as other:
        config = RobotConfig.of_twin(other.host, cameras={}, gripper=None)
        world = make_world(replace(config, model=model, rtde_rate_hz=rate))
        world.reset(KEY)
        with Operator(world) as operator, Policy(world):
            run(world, operator)
            wait_for(lambda: world._servo is not None and world._servo.status.watchdog)
            at = other.state()
            time.sleep(0.5)
            sent = [entry["name"] for entry in commands(other, at["log_count"])]
            assert travel(other, at["time_s"]) > 0.02, world.status
        # Whatever else is written to the register of commands may replace a target before the controller has read it.
        assert len(sent) > 10
        assert set(sent) == {"servoJ"}
        world.close()
        wait_for(lambda: not other.state()["moving"])
