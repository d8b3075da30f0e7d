"""The rows of the safety table that the servo process is answerable for, on the wire of a twin.

What the filter is answerable for (rows 5 to 9) is in tests/unit/robots/ur; rows 10 and 13 are in `test_hold_to_run`,
row 16 in `test_preflight`, rows 17 and 20 in `test_world`, signals and kill -9 in `test_ends`. Mutants (`ur_mutant`)
run the same process without one protection: the same look at the wire then has to find something.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ur_arm import KEY, MOTIONS, Operator, Policy, at_rest, commands, motions, rest, run, targets, travel, wait_for
from ur_mutant import mutant

from vlasteer.errors import WorldError
from vlasteer.robots.twin import TwinProcess
from vlasteer.robots.ur import dashboard
from vlasteer.robots.ur.process import PROGRAM
from vlasteer.robots.ur.world import URWorld
from vlasteer.types import Outcome, Phase

Make = Callable[..., URWorld]


def _kill(world: URWorld) -> None:
    """A mutant does not end when it is asked to."""
    if world._servo is not None:
        world._servo.close()


# --- row 2: the controller's watchdog ---------------------------------------------------------------------------------


def test_the_watchdog_is_armed_when_heartbeats_flow_and_again_with_every_upload(
    twin: TwinProcess, since: int, make_world: Make
) -> None:
    world = make_world()
    world.reset(KEY)
    time.sleep(0.3)
    assert twin.log(since, "watchdog") == []  # nothing flows yet
    with Operator(world) as operator, Policy(world):
        for _ in range(2):
            run(world, operator)
            wait_for(lambda: world._servo is not None and world._servo.status.watchdog)
            rest(world, operator)
    entries = twin.log(since, "watchdog", "script", "input")
    names = [entry.get("name", entry["kind"]) for entry in entries]
    armed = [n for n, entry in enumerate(entries) if entry["kind"] == "watchdog" and entry["armed"]]
    assert len(armed) >= 2
    for number in armed:
        assert "servoJ" in names[max(0, number - 12) : number]
    assert names.count("script") >= 2


@pytest.mark.parametrize("program", [PROGRAM, mutant("careless_heartbeat")], ids=["protected", "mutant"])
def test_without_the_operator_no_targets_and_no_heartbeats(
    twin: TwinProcess, since: int, make_world: Make, program: tuple[str, ...]
) -> None:
    world = make_world(program=program)
    world.reset(KEY)
    with Operator(world) as operator, Policy(world):
        run(world, operator)
        operator.vanish()
        time.sleep(1.5)
        began = twin.state()
        time.sleep(0.3)
        later = motions(twin, began["log_count"])
    if program == PROGRAM:
        assert later == []
        assert began["runtime_state"] == "STOPPED"
        assert twin.state()["q"] == began["q"]
        assert world.status.phase is Phase.HOLDING
    else:
        assert len(later) > 10
        _kill(world)


# --- row 3: fresh by the controller's clock ---------------------------------------------------------------------------


@pytest.mark.parametrize(("hook", "seconds"), [("stall", 6.0), ("drop", 0.0)])
def test_a_lost_connection_ends_the_process_and_stops_the_arm(
    twin: TwinProcess, since: int, make_world: Make, hook: str, seconds: float
) -> None:
    world = make_world()
    world.reset(KEY)
    with Operator(world) as operator, Policy(world):
        run(world, operator)
        before, uploads = twin.state(), len(twin.log(since, "script"))
        twin.call(hook, seconds=seconds)
        began = time.monotonic()
        servo = world._servo
        assert servo is not None
        wait_for(lambda: not servo.alive)
        assert time.monotonic() - began < 2.4  # at 2.5 s the client would begin to reconnect
        assert servo._process.wait(2.0) == 3  # no signal: it left by itself
        assert world.outcome is Outcome.FAILED
        with pytest.raises(WorldError):
            world.advance()
    twin.call("resume")
    state = at_rest(twin)
    assert travel(twin, before["time_s"]) < 0.15
    time.sleep(0.2)
    assert twin.state()["q"] == state["q"]
    assert len(twin.log(since, "script")) == uploads  # nothing was uploaded unasked


@pytest.mark.slow
def test_a_client_that_stays_through_a_stall_is_what_row_three_is_for(
    twin: TwinProcess, since: int, make_world: Make
) -> None:
    world = make_world(program=mutant("blind"))
    world.reset(KEY)
    with Operator(world) as operator, Policy(world):
        run(world, operator)
        uploads = len(twin.log(since, "script"))
        twin.call("stall", seconds=4.0)
        time.sleep(6.0)
        servo = world._servo
        assert servo is not None
        died = servo._process.poll() not in (None, 3)
        _kill(world)
        assert died or len(twin.log(since, "script")) > uploads or world.status.phase is Phase.STOPPED


def test_a_late_state_slows_the_arm_down(twin: TwinProcess, since: int, make_world: Make) -> None:
    world = make_world()
    world.reset(KEY)
    with Operator(world) as operator, Policy(world):
        run(world, operator)
        twin.call("stall", seconds=0.3)
        wait_for(lambda: "late" in world.status.reason or world.status.phase is not Phase.RUNNING)


# --- row 4: results and safety bits -----------------------------------------------------------------------------------


def test_after_a_protective_stop_no_motion_command(twin: TwinProcess, since: int, make_world: Make) -> None:
    world = make_world()
    world.reset(KEY)
    with Operator(world) as operator, Policy(world) as policy:
        run(world, operator)
        twin.call("protective_stop")
        twin.wait_for(lambda state: state["runtime_state"] == "STOPPED")  # not paused: nothing to be resumed
        time.sleep(0.3)
        stop = twin.log(since, "safety")[-1]
        # What was on its way when the stop happened may still arrive.
        assert [entry for entry in motions(twin, since) if entry["wall"] > stop["wall"] + 0.06] == []
        assert world.status.phase is Phase.STOPPED
        assert world.status.safety == "protective stop"
        assert world.outcome is Outcome.STOPPED
        wait_for(lambda: policy.refused)
        assert isinstance(policy.refused[-1], WorldError)


@pytest.mark.slow
@pytest.mark.parametrize("program", [PROGRAM, mutant("no_checks")], ids=["protected", "mutant"])
def test_unlocking_at_the_pendant_sets_nothing_moving(
    twin: TwinProcess, since: int, make_world: Make, program: tuple[str, ...]
) -> None:
    world = make_world(program=program)
    world.reset(KEY)
    with Operator(world) as operator, Policy(world):
        run(world, operator)
        twin.call("protective_stop")
        time.sleep(5.0)
        at = twin.state()["log_count"]
        wait_for(lambda: dashboard.ask(twin.host, "unlock protective stop").startswith("Protective stop releasing"))
        dashboard.ask(twin.host, "play")
        if program == PROGRAM:
            time.sleep(0.5)
            assert motions(twin, at) == []
        else:
            wait_for(lambda: motions(twin, at))
        _kill(world)


@pytest.mark.parametrize(
    ("hook", "arguments", "safety"),
    [
        ("emergency_stop", {}, "robot emergency stop"),
        ("safety_mode", {"mode": "SAFEGUARD_STOP"}, "safeguard stop"),
        ("power", {"on": False}, ""),
    ],
)
def test_other_stops_are_latched_too(
    twin: TwinProcess, since: int, make_world: Make, hook: str, arguments: dict[str, Any], safety: str
) -> None:
    world = make_world()
    world.reset(KEY)
    with Operator(world) as operator, Policy(world):
        run(world, operator)
        twin.call(hook, **arguments)
        wait_for(lambda: world.status.phase is Phase.STOPPED and safety in world.status.safety)
        with pytest.raises(WorldError, match="pendant"):
            world.recover()
        at = twin.state()["log_count"]
        operator.press()
        time.sleep(0.3)
        assert motions(twin, at) == []
    _no_power(twin, since)


# --- row 12: late and expired chunks ----------------------------------------------------------------------------------


@pytest.mark.parametrize("program", [PROGRAM, mutant("no_expiry")], ids=["protected", "mutant"])
def test_a_chunk_that_is_too_late_is_not_executed(
    twin: TwinProcess, since: int, make_world: Make, program: tuple[str, ...]
) -> None:
    world = make_world(program=program)
    world.reset(KEY)
    with Operator(world) as operator:
        operator.press()
        wait_for(lambda: len(motions(twin, since)) > 5)
        with Policy(world, late_s=1.5) as policy:
            time.sleep(1.0)
        if program == PROGRAM:
            assert policy.refused
            assert "old" in str(policy.refused[0])
            assert _spread(twin, since) < 1e-6
        else:
            assert _spread(twin, since) > 0.01


def _spread(twin: TwinProcess, since: int) -> float:
    sent = targets([entry for entry in motions(twin, since) if entry["name"] == "servoJ"])
    return float(np.ptp(sent, axis=0).max())


def test_a_policy_that_dies_leaves_the_arm_holding(twin: TwinProcess, since: int, make_world: Make) -> None:
    world = make_world()
    world.reset(KEY)
    with Operator(world) as operator:
        with Policy(world):
            run(world, operator)
        wait_for(lambda: world.status.phase is Phase.HOLDING)  # the chunk's ten actions and no more
        state = at_rest(twin)
        time.sleep(0.3)
        np.testing.assert_allclose(twin.state()["q"], state["q"], atol=1e-4)
        assert twin.state()["runtime_state"] == "PLAYING"  # a hold that the operator permits
        assert "underrun" in world.status.reason


# --- row 14 and 15: recovery; nothing by itself -----------------------------------------------------------------------


@pytest.mark.slow
def test_recovery_from_a_protective_stop_takes_a_person_twice(twin: TwinProcess, since: int, make_world: Make) -> None:
    world = make_world()
    world.reset(KEY)
    with Operator(world) as operator, Policy(world):
        run(world, operator)
        twin.call("protective_stop")
        wait_for(lambda: world.status.phase is Phase.STOPPED)
        with pytest.raises(WorldError, match="5s after"):
            world.recover()
        stopped_s = twin.state()["time_s"]  # the controller's five seconds are those of its own clock
        wait_for(lambda: twin.state()["time_s"] > stopped_s + 5.1, 30.0)
        assert twin.state()["safety_mode"] == "PROTECTIVE_STOP"  # never automatic
        at = twin.state()["log_count"]
        world.recover()
        assert twin.state()["safety_mode"] == "NORMAL"
        time.sleep(0.4)
        assert world.status.phase is Phase.HOLDING
        assert motions(twin, at) == []  # still held from before: does not count
        run(world, operator)
        assert [entry for entry in twin.log(at, "script") if entry["accepted"]]
        wait_for(lambda: [entry for entry in twin.log(at, "watchdog") if entry["armed"]])
    world.close()
    _no_power(twin, since)


def _no_power(twin: TwinProcess, since: int) -> None:
    lines = {entry["line"].lower() for entry in twin.log(since, "dashboard")}
    assert not lines & {"power on", "brake release", "play", "restart safety"}


# --- row 18 and 19 ----------------------------------------------------------------------------------------------------


def test_a_second_process_is_refused(twin: TwinProcess, make_world: Make) -> None:
    world, other = make_world(), make_world()
    world.reset(KEY)
    with pytest.raises(WorldError, match="driven by another process"):
        other.reset(KEY)
    world.close()
    other.reset(KEY)


def test_a_push_beyond_the_force_limit_stops(twin: TwinProcess, since: int, make_world: Make) -> None:
    world = make_world()
    world.reset(KEY)
    with Operator(world) as operator, Policy(world):
        run(world, operator)
        twin.call("wrench", values=[0.0, 0.0, -30.0, 0.0, 0.0, 0.0])
        time.sleep(0.2)
        run(world, operator)
        assert world.status.phase is Phase.RUNNING
        twin.call("wrench", values=[0.0, 0.0, -70.0, 0.0, 0.0, 0.0])
        wait_for(lambda: world.status.phase is Phase.STOPPED)
        assert "tool_force" in world.status.reason
        assert twin.state()["safety_mode"] == "NORMAL"  # before the controller's own limit
        assert "servoStop" in {entry["name"] for entry in commands(twin, since)}
        twin.call("wrench", values=[0.0] * 6)
        world.recover()
        run(world, operator)


def test_only_servoj_ever_moves_the_arm(twin: TwinProcess, since: int, make_world: Make) -> None:
    world = make_world()
    world.reset(KEY)
    with Operator(world) as operator, Policy(world):
        run(world, operator)
        time.sleep(0.2)
    world.close()
    assert {entry["name"] for entry in commands(twin, since)} & set(MOTIONS) == {"servoJ"}
    _no_power(twin, since)
