"""Safety rows 1 and 11: however a driving process or a servo process ends, the arm stands soon after, and stays so."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from twin_client import Client, say
from ur_arm import KEY, Operator, Policy, commands, motions, rest, run, travel, wait_for
from ur_mutant import mutant

from vlasteer.errors import WorldError
from vlasteer.robots.twin import TwinProcess
from vlasteer.robots.ur.world import URWorld
from vlasteer.types import Outcome, Phase

Make = Callable[..., URWorld]
Start = Callable[..., Client]
TESTS = str(Path(__file__).parents[2])


def drive(tests: str, host: str, state: str, ending: str) -> str:
    """A driving process: brings the arm to a state, then goes on until it is ended or ends itself."""
    import signal
    import sys
    import time

    sys.path.insert(0, tests)
    from ur_arm import KEY, Operator, Policy, rest, run

    from vlasteer.robots.ur.config import RobotConfig
    from vlasteer.robots.ur.world import URWorld

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupted)
    world = URWorld(RobotConfig.of_twin(host, cameras={}, gripper=None), cameras={}, gripper=None, instruction="")
    try:
        world.reset(KEY)
        with Operator(world) as operator, Policy(world):
            if state != "idle":
                run(world, operator)
            if state == "holding":
                rest(world, operator)
            assert world._servo is not None
            say(world._servo.pid)
            if ending == "exception":
                raise ValueError("a bug in the policy")
            while True:
                time.sleep(0.1)
    except (KeyboardInterrupt, ValueError) as error:
        world.stop(type(error).__name__)
        return world.status.reason
    finally:
        world.close()


def _stands(twin: TwinProcess, within_s: float, clock: float, metres: float) -> None:
    """The arm comes to rest in that time and way, without a program, and stays there."""
    state = twin.wait_for(
        lambda state: not state["moving"] and state["runtime_state"] == "STOPPED" and not state["connections"],
        within_s,
    )
    assert travel(twin, clock) < metres
    time.sleep(0.3)
    assert twin.state()["q"] == state["q"]


def _last_commands(twin: TwinProcess, since: int) -> list[str]:
    """The last four; behind servoStop come the ends of the script and of the connection."""
    return [entry["name"] for entry in commands(twin, since) if entry["name"] != "none"][-4:]


@pytest.mark.parametrize("state", ["idle", "holding", "running"])
def test_the_driving_process_is_killed(twin: TwinProcess, start_client: Start, state: str) -> None:
    driver = start_client(drive, TESTS, twin.host, state, "")
    driver.hear()
    clock = twin.state()["time_s"]
    driver.kill()
    _stands(twin, 3.0, clock, 0.12)


@pytest.mark.parametrize("state", ["idle", "holding", "running"])
def test_the_servo_process_is_killed(twin: TwinProcess, make_world: Make, state: str) -> None:
    world = make_world()
    world.reset(KEY)
    with Operator(world) as operator, Policy(world):
        if state != "idle":
            run(world, operator)
        if state == "holding":
            rest(world, operator)
        assert world._servo is not None
        clock = twin.state()["time_s"]
        os.kill(world._servo.pid, signal.SIGKILL)
        wait_for(lambda: world.status.phase is Phase.STOPPED)
        assert world.outcome is Outcome.FAILED
        assert "SIGKILL" in world.status.reason
        with pytest.raises(WorldError):
            world.submit([[0.0] * 7], time.monotonic())  # pyright: ignore[reportArgumentType]
        wait_for(lambda: not twin.state()["moving"], 2.0)
        assert travel(twin, clock) < 0.12
        if state == "running":
            twin.wait_for(lambda now: now["runtime_state"] == "STOPPED")
        assert motions(twin, twin.state()["log_count"]) == []
        world.reset(KEY)  # a new start by a person leads on
        assert world.status.phase is Phase.HOLDING


def test_without_the_watchdog_a_killed_servo_process_leaves_the_program_running(
    twin: TwinProcess, make_world: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vlasteer.robots.ur.dashboard.stop_program", lambda host: False)  # as if this one had gone too
    world = make_world(program=mutant("no_watchdog"))
    world.reset(KEY)
    with Operator(world) as operator, Policy(world):
        run(world, operator)
        assert world._servo is not None
        os.kill(world._servo.pid, signal.SIGKILL)
        time.sleep(1.0)
    assert twin.state()["runtime_state"] == "PLAYING"  # held by its last target, with nobody there


def test_the_servo_process_is_frozen(twin: TwinProcess, make_world: Make) -> None:
    world = make_world()
    world.reset(KEY)
    with Operator(world) as operator, Policy(world):
        run(world, operator)
        assert world._servo is not None
        clock = twin.state()["time_s"]
        os.kill(world._servo.pid, signal.SIGSTOP)
        twin.wait_for(lambda now: now["runtime_state"] == "STOPPED" and not now["moving"], 2.0)
        assert travel(twin, clock) < 0.12
        time.sleep(0.5)
        at = twin.state()["log_count"]
        os.kill(world._servo.pid, signal.SIGCONT)
        wait_for(lambda: world.status.phase is Phase.STOPPED)
        time.sleep(0.3)
        assert motions(twin, at)[3:] == []


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, "exception"])
@pytest.mark.parametrize("state", ["idle", "holding", "running"])
def test_signals_and_errors_end_in_order(
    twin: TwinProcess, since: int, start_client: Start, state: str, ending: signal.Signals | str
) -> None:
    driver = start_client(drive, TESTS, twin.host, state, "exception" if ending == "exception" else "")
    driver.hear()
    clock = twin.state()["time_s"]
    if isinstance(ending, signal.Signals):
        os.kill(driver.pid, ending)
    ended = driver.wait(10.0)
    assert ended.status == 0
    assert ended.returned == ("ValueError" if ending == "exception" else "KeyboardInterrupt")
    _stands(twin, 2.0, clock, 0.12)
    if state == "running":
        assert "servoStop" in _last_commands(twin, since)


def test_sigterm_to_the_servo_process_ends_it_in_order(twin: TwinProcess, since: int, make_world: Make) -> None:
    world = make_world()
    world.reset(KEY)
    with Operator(world) as operator, Policy(world):
        run(world, operator)
        assert world._servo is not None
        os.kill(world._servo.pid, signal.SIGINT)  # a terminal's Ctrl-C is not for it
        time.sleep(0.3)
        assert world.status.phase is Phase.RUNNING
        os.kill(world._servo.pid, signal.SIGTERM)
        wait_for(lambda: world.status.phase is Phase.STOPPED)
        twin.wait_for(lambda now: now["runtime_state"] == "STOPPED" and not now["moving"], 3.0)
    assert "servoStop" in _last_commands(twin, since)
