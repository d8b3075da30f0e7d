"""Rows 10 and 13 of the safety table on the wire of a twin: what a press starts, and when it is over."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from ur_arm import KEY, Operator, Policy, at_rest, motions, rest, run, targets, travel, wait_for

from vlasteer.robots.twin import TwinProcess
from vlasteer.robots.ur.world import URWorld
from vlasteer.types import Phase

Make = Callable[..., URWorld]


def test_a_stale_permission_slows_down_and_needs_a_new_press(twin: TwinProcess, since: int, make_world: Make) -> None:
    world = make_world()
    world.reset(KEY)
    with Policy(world):
        with Operator(world) as operator:
            run(world, operator)
        at = twin.state()  # the page was closed while its button was held
        wait_for(lambda: world.status.phase is Phase.HOLDING)
        at_rest(twin)
        assert travel(twin, at["time_s"]) < 0.12
        for _ in range(10):  # it comes back, still held: not enough
            world.permit(True)
            time.sleep(0.05)
        assert world.status.phase is Phase.HOLDING
        with Operator(world) as operator:
            run(world, operator)


def test_another_press_counts_although_its_release_was_too_short_to_be_told(
    twin: TwinProcess, since: int, make_world: Make
) -> None:
    world = make_world()
    world.reset(KEY)
    world.permit(False)

    def hold(press: int, until: Callable[[], bool]) -> None:
        end = time.monotonic() + 4.0
        while not until():
            assert time.monotonic() < end, world.status
            world.permit(True, press)
            time.sleep(0.05)

    with Policy(world):
        hold(1, lambda: world.status.phase is Phase.RUNNING)
        wait_for(lambda: world.status.refused_press == 1, 2.0)  # nothing was said for too long
        at_rest(twin)
        hold(1, lambda: "press again" in world.status.reason)
        hold(2, lambda: world.status.phase is Phase.RUNNING)
        assert world.status.refused_press == 0


def test_an_arm_that_is_led_by_hand_is_not_taken_over_before_it_stands(
    twin: TwinProcess, since: int, make_world: Make
) -> None:
    """Motion begins at zero speed: were the arm moving, with a jerk."""
    world = make_world()
    world.reset(KEY)
    with Operator(world) as operator, Policy(world):
        twin.call("lead", speed=[0.3, 0.0, 0.0, 0.0, 0.0, 0.0], seconds=30.0)
        twin.wait_for(lambda state: state["qd"][0] > 0.29, 3.0)
        operator.press()
        wait_for(lambda: "stands" in world.status.reason)
        time.sleep(0.3)
        assert motions(twin, since) == []
        twin.call("lead", speed=[0.0] * 6, seconds=0.0)
        run(world, operator)


def test_an_arm_that_was_moved_while_it_paused_goes_on_from_where_it_is(
    twin: TwinProcess, since: int, make_world: Make
) -> None:
    world = make_world()
    world.reset(KEY)
    with Operator(world) as operator, Policy(world):
        run(world, operator)
        rest(world, operator)
        at_rest(twin)
        moved = np.add(twin.state()["q"], [0.2, 0.0, 0.0, 0.0, 0.0, 0.1])
        twin.call("place", q=moved.tolist())
        time.sleep(0.1)
        at = twin.state()["log_count"]
        run(world, operator)
        sent = targets([entry for entry in motions(twin, at) if entry["name"] == "servoJ"])
    np.testing.assert_allclose(sent[0], moved, atol=1e-4)
    assert np.abs(np.diff(sent, axis=0)).max() < 0.009  # 1 rad/s at 125 Hz
