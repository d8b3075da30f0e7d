"""Whatever goes in, what comes out keeps every limit: judged by a checker that shares no code with the filter."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from limit_checker import violations
from ur_motion import ARM, DT, HOME, LIMITS, TCP, WORKSPACE, turned

from vlasteer.errors import ConfigError, WorldError
from vlasteer.kinematics import UR5, Vector
from vlasteer.robots.ur.limits import Limits, Workspace
from vlasteer.robots.ur.reasons import Reason
from vlasteer.robots.ur.safety_filter import Filtered, SafetyFilter

LAX = Limits(joint_speed=2.0, joint_acceleration=15.0, tcp_speed=0.5, tcp_turn=1.5, elbow_speed=0.5)
STRICT = Limits(joint_speed=0.3, joint_acceleration=1.0, tcp_speed=0.05, tcp_turn=0.1, elbow_speed=0.05)


def started(limits: Limits = LIMITS, dt: float = DT, workspace: Workspace = WORKSPACE) -> SafetyFilter:
    found = SafetyFilter(ARM, TCP, limits, workspace, dt)
    found.start(HOME)
    return found


def check(filtered: list[Filtered], limits: Limits = LIMITS, dt: float = DT) -> None:
    found = violations([f.q for f in filtered], dt, ARM, TCP, limits, WORKSPACE, before=HOME)
    assert not found, found[0]


WISHES = st.lists(
    st.tuples(
        st.sampled_from(["jump", "far", "ramp", "noise", "hold", "nan", "inf", "degrees", "short", "words"]),
        st.integers(0, 2**32 - 1),
        st.integers(1, 60),
    ),
    min_size=1,
    max_size=6,
)


def wished(kind: str, rng: np.random.Generator, q: Vector, goal: Vector, drift: Vector) -> object:
    match kind:
        case "jump":
            return HOME + 0.3 * goal
        case "far":
            return HOME + 1.5 * goal
        case "ramp":
            return q + 0.02 * drift
        case "noise":
            return q + rng.normal(0.0, 0.02, 6)
        case "hold":
            return None
        case "nan":
            return np.where(rng.random(6) < 0.3, np.nan, q) if rng.random() < 0.5 else np.full(6, np.nan)
        case "inf":
            return np.where(np.arange(6) == rng.integers(6), np.inf, q)
        case "degrees":
            return np.degrees(HOME)
        case "short":
            return q[:5]
        case _:
            return ["left", "right"]


@pytest.mark.parametrize(
    ("limits", "dt"),
    [(LIMITS, 0.008), (LAX, 0.008), (STRICT, 0.008), (LIMITS, 0.002)],
    ids=["125", "lax", "strict", "500"],
)
@given(wishes=WISHES)
@settings(max_examples=20, deadline=None)
def test_nothing_that_comes_out_breaks_a_limit(wishes: list[tuple[str, int, int]], limits: Limits, dt: float) -> None:
    subject, out = started(limits, dt), []
    for kind, seed, count in wishes:
        rng = np.random.default_rng(seed)
        goal, drift = rng.normal(size=6), rng.normal(size=6)
        out += [subject.tick(wished(kind, rng, subject.q, goal, drift)) for _ in range(count)]  # type: ignore[arg-type]
    while not out[-1].held:  # from wherever it is, it comes to rest within the limits, and in bounded time
        out.append(subject.tick(None))
        assert len(out) < 6 * 60 + limits.joint_speed / limits.joint_acceleration / dt + 3
    check(out, limits, dt)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=10, deadline=None)
def test_walls_are_come_close_to_and_never_crossed(seed: int) -> None:
    rng, subject, out = np.random.default_rng(seed), started(), []
    for _ in range(2):
        target = HOME + rng.normal(0.0, 1.0, 6)
        out += [subject.tick(target) for _ in range(200)]
    check(out)


ROOMY = Workspace((-1.5, -1.5, -1.5), (1.5, 1.5, 1.5), (-1.5, -1.5, -1.5), (1.5, 1.5, 1.5), table_z=-1.5)


def lowered(by: float) -> Vector:
    """Home, with the tool `by` m lower."""
    pose = ARM.forward(HOME)
    pose[2, 3] -= by
    found = ARM.inverse(pose, HOME)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("target", "workspace", "reason"),
    [
        (lowered(0.3), WORKSPACE, Reason.TABLE),
        (turned(0, 1.5), WORKSPACE, Reason.TCP_WORKSPACE),
        (turned(5, 6.2), WORKSPACE, Reason.JOINT_LIMIT),
        (turned(4, 1.57), ROOMY, Reason.SINGULARITY),
        (turned(1, -1.2), replace(ROOMY, elbow_high=WORKSPACE.elbow_high), Reason.ELBOW_WORKSPACE),
        (HOME + 2.0, ROOMY, Reason.TCP_SPEED),
        (turned(5, 2.0), ROOMY, Reason.TCP_TURN),
    ],
    ids=["table", "box", "joint", "singularity", "elbow", "speed", "turn"],
)
def test_it_says_what_holds_it_back(target: Vector, workspace: Workspace, reason: Reason) -> None:
    subject, said, out = started(workspace=workspace), Reason(0), []
    while not (len(out) > 500 or np.array_equal(subject.q, target)):
        filtered = subject.tick(target)
        said |= filtered.reasons
        out.append(filtered.q)
    assert reason in said, said.names
    assert reason.names[0] in said.names
    assert not violations(out, DT, ARM, TCP, LIMITS, workspace, before=HOME)


def test_what_can_be_followed_is_followed_exactly() -> None:
    subject = started()
    for i in range(200):
        target = HOME + 0.1 * (1.0 - np.cos(2.0 * i * DT)) * np.array([1.0, 0.5, -0.5, 0.3, 0.2, -1.0])
        filtered = subject.tick(target)
        np.testing.assert_array_equal(filtered.reasons, Reason(0))
        np.testing.assert_allclose(filtered.q, target, atol=1e-12)


def test_a_jump_is_walked_without_overshoot() -> None:
    subject, target = started(), HOME + np.array([0.2, 0.0, 0.1, -0.1, 0.0, 0.3])
    out = np.array([subject.tick(target).q for _ in range(300)])
    np.testing.assert_allclose(out[-1], target, atol=1e-9)
    beyond = (out - target) * np.sign(target - HOME)
    assert beyond.max() < 2e-3


@pytest.mark.parametrize("nothing", [None, [np.nan] * 6, [1.0] * 5, np.degrees(HOME), "stop", [None] * 6])
def test_nothing_decelerates_to_hold(nothing: object) -> None:
    subject, target = started(), HOME + np.array([0.5, 0, 0, 0, 0, 0])
    for _ in range(30):
        moving = subject.tick(target)
    assert np.abs(moving.qd).max() > 0.3
    speeds = [np.abs(subject.tick(nothing).qd).max() for _ in range(40)]  # type: ignore[arg-type]
    assert speeds[-1] == 0.0
    assert np.all(np.diff(speeds) <= 1e-9)
    assert subject.tick(nothing).held  # type: ignore[arg-type]


def test_it_starts_where_the_arm_is_at_zero_speed() -> None:
    subject = started()
    for _ in range(50):
        subject.tick(HOME + 0.2)
    moved = HOME + np.array([-0.1, 0.05, 0.0, 0.0, 0.1, 0.4])
    subject.start(moved)
    first = subject.tick(moved)
    np.testing.assert_array_equal(first.q, moved)
    np.testing.assert_array_equal(first.qd, 0.0)
    back = subject.tick(HOME)
    assert np.abs(back.q - moved).max() <= LIMITS.joint_acceleration * DT**2 * (1 + 1e-9)


@pytest.mark.parametrize(
    ("q", "message"),
    [
        (np.full(6, np.nan), "nan"),
        (HOME[:5], "6 finite"),
        (turned(1, 1.2), "tool point is at"),
        (turned(5, 6.25), "joint 5"),
        (turned(1, -1.2), "is at"),
    ],
)
def test_it_does_not_start_outside_and_not_after_a_failed_start(q: Vector, message: str) -> None:
    subject = started()
    with pytest.raises(WorldError, match=message):
        subject.start(q)
    with pytest.raises(WorldError, match="no start"):
        subject.tick(HOME)


def test_an_arm_that_stands_between_the_walls_may_go_back_and_not_further() -> None:
    subject = started()
    tool = np.array([ARM.forward(HOME)]) @ subject.points.tool
    near = Workspace(
        (float(tool[0, 0, 3]) - 0.002, *WORKSPACE.tcp_low[1:]),
        WORKSPACE.tcp_high,
        WORKSPACE.elbow_low,
        WORKSPACE.elbow_high,
    )
    for side in (-0.3, 0.3):
        subject = started(workspace=near)
        out = [subject.tick(turned(1, side)) for _ in range(200)]
        assert not violations([f.q for f in out], DT, ARM, TCP, LIMITS, near, before=HOME)
        moved = float(np.abs(out[-1].q - HOME).max())
        assert (moved > 0.05) == (subject.points.pose(out[-1].q)[0, 3] > tool[0, 0, 3] + 0.004)


def test_it_refuses_a_period_that_no_controller_has() -> None:
    with pytest.raises(ConfigError, match="control period"):
        SafetyFilter(UR5, TCP, LIMITS, WORKSPACE, 0.1)
