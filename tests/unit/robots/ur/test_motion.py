"""Chunks, permission and time: what `ServoMotion` commands."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from ur_motion import ARM, DT, HOME, LIMITS, TCP, WORKSPACE, Bench, move, turned

from vlasteer.errors import InputError, WorldError
from vlasteer.robots.ur.limits import Workspace
from vlasteer.robots.ur.motion import ServoMotion, replay
from vlasteer.robots.ur.reasons import Reason
from vlasteer.types import ActionKind


@pytest.fixture
def bench() -> Bench:
    return Bench()


# --- execution --------------------------------------------------------------------------------------------------------


def test_a_delta_is_executed_exactly_and_without_overshoot(bench: Bench) -> None:
    before = bench.motion.filter.points.pose(HOME)
    bench.deltas([[0.0, 0.03, -0.01, 0.0, 0.0, 0.1]])
    last = bench.tick(100)
    after = bench.motion.filter.points.pose(last.q)
    np.testing.assert_allclose(after[:3, 3] - before[:3, 3], [0.0, 0.03, -0.01], atol=1e-9)
    turned = after[:3, :3] @ before[:3, :3].T
    np.testing.assert_allclose(
        turned, [[math.cos(0.1), -math.sin(0.1), 0], [math.sin(0.1), math.cos(0.1), 0], [0, 0, 1]], atol=1e-9
    )
    assert bench.tools[:, 1].max() <= after[1, 3] + 1e-6
    assert last.held
    assert Reason.UNDERRUN in last.reasons
    assert not bench.violations()


def test_deltas_chain_and_joint_targets_are_absolute(bench: Bench) -> None:
    start = bench.motion.filter.points.pose(HOME)[:3, 3]
    bench.deltas([move(y=0.005)] * 4 + [move(z=0.01)] * 2)
    bench.tick(120)
    np.testing.assert_allclose(bench.tools[-1] - start, [0.0, 0.02, 0.02], atol=1e-9)
    bench.joints([HOME + 0.02, HOME + 0.05, HOME + 0.01])
    np.testing.assert_allclose(bench.tick(120).q, HOME + 0.01, atol=1e-9)
    assert not bench.violations()


def test_limits_stretch_time_and_keep_the_path(bench: Bench) -> None:
    start = bench.motion.filter.points.pose(HOME)[:3, 3]
    bench.deltas([move(y=0.04)] * 3 + [move(z=0.04)] * 3)
    bench.tick(250)
    assert Reason.STRETCHED in bench.filtered[5].reasons
    path = bench.tools - start
    np.testing.assert_allclose(path[-1], [0.0, 0.12, 0.12], atol=1e-9)
    corner = np.minimum(np.hypot(path[:, 0], path[:, 2]), np.hypot(path[:, 0], path[:, 1] - 0.12))
    assert corner.max() < 0.012
    speeds = np.linalg.norm(np.diff(path, axis=0), axis=1) / DT
    assert 0.2 < speeds.max() <= LIMITS.tcp_speed
    assert not bench.violations()


def test_speed_stretches_time(bench: Bench) -> None:
    bench.deltas([move(y=0.005)] * 4, speed=0.25)
    bench.tick(100)  # 0.8 s: as long as the four take
    assert bench.motion.progress.idle
    early = np.abs(np.diff(bench.tools[:80], axis=0)).max() / DT
    assert early < 0.035  # 5 mm in 0.2 s
    assert bench.tools[-1, 1] - bench.tools[0, 1] == pytest.approx(0.02, abs=2e-3)


@pytest.mark.parametrize(
    ("count", "age", "dropped"), [(10, 0.0, 0), (10, 0.12, 2), (10, 0.9, 9), (1, 0.4, 0), (3, 0.04, 0)]
)
def test_steps_that_are_past_are_dropped_but_never_all(bench: Bench, count: int, age: float, dropped: int) -> None:
    bench.tick(125)
    assert bench.deltas([move(y=0.002)] * count, age=age) == dropped
    bench.tick()
    assert bench.motion.progress.step == dropped
    bench.tick(150)
    assert bench.tools[-1, 1] - bench.tools[0, 1] == pytest.approx((count - dropped) * 0.002, abs=1e-4)


def test_a_chunk_replaces_what_has_not_begun_without_a_jump(bench: Bench) -> None:
    bench.deltas([move(y=0.01)] * 10)
    bench.tick(32)
    reached = bench.tools[-1, 1]
    bench.deltas([move(z=0.01)] * 2)
    bench.tick()
    assert bench.motion.progress.step == -1  # the step that had begun is finished first
    bench.tick(150)
    assert bench.tools[-1, 1] - reached < 0.025
    assert bench.motion.progress.chunk == 1
    assert not bench.violations()
    bench.joints([HOME])
    bench.tick(3)
    bench.joints([HOME + 0.03])
    np.testing.assert_allclose(bench.tick(150).q, HOME + 0.03, atol=1e-9)
    assert not bench.violations()


def stream(bench: Bench, arrivals: list[tuple[float, float]], until: float) -> np.ndarray:
    """Speed of the tool while single actions of 1 cm arrive: pairs of arrival and observation, s."""
    while bench.now < until:
        while arrivals and arrivals[0][0] <= bench.now:
            bench.deltas([move(y=-0.005)], age=bench.now - arrivals.pop(0)[1])
        bench.tick()
    assert not bench.violations()
    return np.linalg.norm(np.diff(bench.tools, axis=0), axis=1) / DT


def test_single_actions_at_20_hz_make_one_smooth_motion(bench: Bench) -> None:
    speeds = stream(bench, [(k * 0.05 + 0.12, k * 0.05) for k in range(40)], 2.0)[60:]
    assert speeds.min() > 0.095
    assert speeds.max() < 0.105


def test_a_slow_policy_with_single_actions_makes_no_stop_and_go(bench: Bench) -> None:
    rng, arrivals, now = np.random.default_rng(0), [], 0.0
    while now < 3.0:
        arrival = now + rng.uniform(0.05, 0.2)
        arrivals.append((arrival, now))
        now = arrival
    count = len(arrivals)
    speeds = stream(bench, arrivals, 4.0)
    middle = speeds[100:360]
    assert middle.min() > 0.5 * middle.mean()
    assert bench.tools[0, 1] - bench.tools[-1, 1] == pytest.approx(0.005 * count, abs=1e-4)  # nothing is lost


# --- what is not executed ---------------------------------------------------------------------------------------------


ROOMY = Workspace((-1.4,) * 3, (1.4,) * 3, (-1.4,) * 3, (1.4,) * 3, table_z=-1.4)


@pytest.mark.parametrize(
    ("action", "reason"), [(move(x=-0.09), Reason.OUT_OF_REACH), ([0, 0, 0, 0, 0.5, 0], Reason.BRANCH_JUMP)]
)
def test_out_of_reach_and_other_branches_hold_and_later_actions_go_on(action: list[float], reason: Reason) -> None:
    bench, said = Bench(workspace=ROOMY), Reason(0)
    while reason not in said:
        assert bench.now < 4.0, said.names
        if bench.motion.progress.idle:
            bench.deltas([action])
        said |= bench.tick().reasons
    bench.tick(60)
    assert bench.filtered[-1].held
    at = bench.tools[-1]
    bench.deltas([move(z=-0.02, y=0.01)])
    bench.tick(80)
    np.testing.assert_allclose(bench.tools[-1] - at, [0, 0.01, -0.02], atol=1e-6)
    assert not bench.violations()


def test_poses_are_moved_back_into_the_workspace_and_slide_along_its_walls(bench: Bench) -> None:
    bench.deltas([move(z=-0.05, y=0.01)] * 10)
    bench.tick(400)
    assert any(Reason.CLIPPED in filtered.reasons for filtered in bench.filtered)
    assert bench.tools[-1, 1] - bench.motion.filter.points.pose(HOME)[1, 3] == pytest.approx(0.1, abs=1e-6)
    assert 0.01 <= bench.tools[-1, 2] < 0.025
    assert not bench.violations()


def test_a_target_behind_a_wall_is_waited_for_and_the_next_chunk_goes_on_from_the_arm(bench: Bench) -> None:
    bench.joints([turned(0, 0.9)])
    bench.tick(300)
    assert Reason.TCP_WORKSPACE in bench.filtered[-1].reasons
    assert bench.filtered[-1].held
    at = bench.tools[-1]
    bench.deltas([move(z=0.01)])
    bench.tick(100)
    np.testing.assert_allclose(bench.tools[-1] - at, [0, 0, 0.01], atol=2e-3)
    assert not bench.violations()


NAN = math.nan


@pytest.mark.parametrize(
    ("actions", "kind", "message"),
    [
        ([[0.0] * 6, [0, 0, NAN, 0, 0, 0]], "ee_delta", "number 2 of action 1 is nan"),
        ([[math.inf, 0, 0, 0, 0, 0]], "ee_delta", "number 0 of action 0 is inf"),
        ([move(y=0.001), move(y=30.0)], "ee_delta", "translation of action 1 is 30 m"),
        ([move(turn=5.0)], "ee_delta", "rotation of action 0 is 5 rad"),
        ([np.degrees(HOME)], "joint_target", "joint 1 of action 0 is -99.69 rad"),
        (
            [HOME, turned(2, 1.5)],
            "joint_target",
            "joint 2 of action 1 is \\+1.500 rad from the action before",
        ),
        ([HOME + 1.5], "joint_target", "joint 0 of action 0 is \\+1.50. rad from the last command"),
        ([[0.0] * 7], "ee_delta", "shape \\(1, 7\\)"),
        ([0.0] * 6, "ee_delta", "shape \\(6,\\)"),
        (np.zeros((0, 6)), "ee_delta", "shape \\(0, 6\\)"),
        (np.zeros((2000, 6)), "ee_delta", "shape \\(2000, 6\\)"),
        ([["a"] * 6], "ee_delta", "no array of numbers"),
        ([[0.0] * 6], "joint_velocity", "kind 'joint_velocity'"),
    ],
)
def test_one_bad_value_rejects_the_whole_chunk_and_the_one_before_goes_on(
    bench: Bench, actions: Any, kind: str, message: str
) -> None:
    bench.deltas([move(y=0.01)] * 3)
    bench.tick(4)
    with pytest.raises(InputError, match=message):
        bench.motion.submit(actions, ActionKind(kind), 0.05, bench.now, bench.now)
    bench.tick(100)
    assert bench.motion.progress.chunk == 0
    assert bench.tools[-1, 1] - bench.tools[0, 1] == pytest.approx(0.03, abs=1e-3)
    np.testing.assert_array_equal([f.q for f in replay(bench.log)], bench.commands)


@pytest.mark.parametrize(
    "times",
    [
        {"speed": 0.0},
        {"speed": 1.1},
        {"speed": NAN},
        {"step_s": 0.0},
        {"step_s": NAN},
        {"observed_at_s": NAN},
        {"now_s": math.inf},
        {"observed_at_s": 100.0},
    ],
    ids=lambda t: "-".join(f"{k}{v}" for k, v in t.items()),
)
def test_impossible_times_are_refused(bench: Bench, times: dict[str, float]) -> None:
    values: dict[str, float] = {"step_s": 0.05, "observed_at_s": 0.0, "now_s": 0.0, **times}
    with pytest.raises(InputError):
        bench.motion.submit([[0.0] * 6], ActionKind.EE_DELTA, **values)


# --- time and permission ----------------------------------------------------------------------------------------------


def test_a_chunk_that_comes_too_late_is_refused(bench: Bench) -> None:
    bench.tick(200)
    with pytest.raises(WorldError, match=r"1\.10 s old"):
        bench.deltas([move(y=0.01)], age=1.1)
    assert bench.tick(50).held
    assert bench.motion.progress.chunk == -1


def test_an_answer_to_an_older_observation_than_the_one_answered_is_dropped(bench: Bench) -> None:
    bench.tick(100)
    bench.deltas([move(y=0.01)], age=0.05)
    assert bench.deltas([move(y=-0.01)] * 2, age=0.1) == 2
    bench.tick(100)
    assert bench.tools[-1, 1] - bench.tools[0, 1] == pytest.approx(0.01, abs=1e-6)


def test_what_is_left_of_an_old_chunk_expires(bench: Bench) -> None:
    bench.deltas([move(y=0.001), move(y=-0.001)] * 100)
    bench.tick(round(LIMITS.chunk_expiry / DT) - 5)
    assert not bench.motion.progress.idle
    last = bench.tick(60)
    assert last.held
    assert Reason.EXPIRED in last.reasons
    bench.deltas([move(y=0.01)])
    assert Reason.EXPIRED not in bench.tick(5).reasons


@pytest.mark.parametrize("how", ["released", "lapsed"])
def test_letting_go_holds_in_bounded_time_and_nothing_resumes_by_itself(bench: Bench, how: str) -> None:
    bench.deltas([move(y=0.01)] * 20)
    bench.tick(30)
    bench.held = False
    if how == "released":
        bench.motion.permit(False, bench.now)
        bound = LIMITS.joint_speed / LIMITS.joint_acceleration
    else:
        bound = LIMITS.permit_age + LIMITS.joint_speed / LIMITS.joint_acceleration
    last = bench.tick(math.ceil(bound / DT) + 1)
    assert last.held
    assert Reason[how.upper()] in last.reasons
    bench.motion.permit(True, bench.now)
    assert bench.motion.progress.permitted == (how == "released")  # one that lapsed needs a release first
    assert bench.deltas([move(y=0.01)], age=0.7) == 1  # from before: dropped
    rest = bench.tick().q
    np.testing.assert_array_equal(bench.tick(100).q, rest)
    bench.press()
    np.testing.assert_array_equal(bench.tick(20).q, rest)  # a press alone moves nothing
    bench.deltas([move(y=0.01)])
    assert not bench.tick(5).held
    assert not bench.violations()


def test_nothing_moves_before_a_permission_that_is_newer_than_the_start(bench: Bench) -> None:
    bench.motion.start(HOME)
    bench.motion.permit(True, bench.now)  # still held from before
    assert bench.deltas([move(y=0.01)] * 3) == 3
    assert bench.tick(20).held
    assert Reason.LAPSED in bench.filtered[-1].reasons


def test_it_resumes_from_where_the_arm_is_at_zero_speed(bench: Bench) -> None:
    bench.deltas([move(y=0.01)] * 10)
    bench.tick(30)
    moved = HOME + np.array([0.05, -0.02, 0.03, 0.0, 0.1, -0.2])
    bench.motion.start(moved)
    bench.press()
    np.testing.assert_array_equal(bench.tick(5).q, moved)
    bench.deltas([move(y=0.01)])
    first = bench.tick()
    assert np.abs(first.q - moved).max() <= LIMITS.joint_acceleration * DT**2 * (1 + 1e-9)


def test_it_wants_a_start() -> None:
    motion = ServoMotion(ARM, TCP, LIMITS, WORKSPACE)
    with pytest.raises(WorldError, match="no start"):
        motion.tick(0.0)
