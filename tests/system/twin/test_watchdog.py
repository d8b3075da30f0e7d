"""What the unmodified client does when it dies, and what the controller's watchdog makes of it: hazards 3 to 5.

Like those of `test_hazards`, facts that a driver has to be built around.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from twin_client import Client, run_client, say

from vlasteer.robots.twin import TwinProcess

Start = Callable[..., Client]


def speed_and_wait(host: str, watchdog_hz: float) -> None:
    import time

    import rtde_control

    control = rtde_control.RTDEControlInterface(host)
    if watchdog_hz:
        control.setWatchdog(watchdog_hz)
    control.speedL([0, 0, -0.05, 0, 0, 0], 1.0)
    began = time.monotonic()
    while time.monotonic() - began < 0.5:
        control.kickWatchdog()
        time.sleep(0.01)
    say("moving")
    while True:
        control.kickWatchdog()
        time.sleep(0.01)


def _heights_after_kill(twin: TwinProcess, client: Client) -> tuple[float, float, dict[str, Any]]:
    """Height of the TCP when the client is killed and a while later, and the state then."""
    assert client.hear() == "moving"
    assert twin.state()["moving"]
    client.kill()
    before = twin.state()["tcp_pose"][2]
    time.sleep(1.0)
    state = twin.state()
    return before, state["tcp_pose"][2], state


def test_killing_the_client_does_not_stop_the_arm(twin: TwinProcess, start_client: Start) -> None:
    before, after, state = _heights_after_kill(twin, start_client(speed_and_wait, twin.host, 0.0))
    assert before - after > 0.03
    assert state["moving"]
    assert state["runtime_state"] == "PLAYING"


def test_a_watchdog_stops_the_arm_of_a_killed_client(twin: TwinProcess, start_client: Start) -> None:
    before, after, state = _heights_after_kill(twin, start_client(speed_and_wait, twin.host, 5.0))
    assert before - after < 0.05 * 0.2 + 0.004  # one period of the watchdog, and a few mm
    assert not state["moving"]
    assert state["runtime_state"] == "STOPPED"


def servo_and_wait(host: str, disconnect: bool) -> list[float]:
    import time

    import rtde_control
    import rtde_receive

    control, receive = rtde_control.RTDEControlInterface(host), rtde_receive.RTDEReceiveInterface(host)
    target = [a + 0.2 for a in receive.getActualQ()]
    for step in range(1, 51):
        control.servoJ([a - 0.2 + 0.2 * step / 50 for a in target], 0.0, 0.0, 0.008, 0.1, 300.0)
        time.sleep(0.01)
    if disconnect:
        control.disconnect()
        return target
    say(target)
    while True:
        time.sleep(1.0)


@pytest.mark.parametrize("disconnect", [False, True])
def test_the_last_servo_target_is_held_for_a_client_that_has_gone(
    twin: TwinProcess, start_client: Start, disconnect: bool
) -> None:
    client = start_client(servo_and_wait, twin.host, disconnect)
    if disconnect:
        target = client.wait().returned
    else:
        target = client.hear()
        client.kill()
    state = twin.wait_for(lambda state: not state["connections"])
    state = twin.wait_for(lambda state: not state["moving"])
    np.testing.assert_allclose(state["q"], target, atol=1e-3)
    assert state["runtime_state"] == "PLAYING"


def arm_watchdog_and_wait(host: str, seconds: float) -> dict[str, Any]:
    import time

    import rtde_control
    import rtde_receive

    control, receive = rtde_control.RTDEControlInterface(host), rtde_receive.RTDEReceiveInterface(host)
    armed = control.setWatchdog(10.0)
    time.sleep(seconds)
    q = receive.getActualQ()
    return {"armed": armed, "moved": control.moveJ([q[0] + 0.1, *q[1:]]), "running": control.isProgramRunning()}


def test_a_watchdog_armed_before_heartbeats_trips(twin: TwinProcess) -> None:
    seen = run_client(arm_watchdog_and_wait, twin.host, 0.5)
    assert seen == {"armed": True, "moved": False, "running": False}


def move_under_watchdog(host: str, asynchronous: bool) -> dict[str, Any]:
    import time

    import rtde_control
    import rtde_receive

    control, receive = rtde_control.RTDEControlInterface(host), rtde_receive.RTDEReceiveInterface(host)
    q = receive.getActualQ()
    control.setWatchdog(4.0)
    moved = control.moveJ([q[0] + 0.3, *q[1:]], 1.0, 2.0, asynchronous)
    for _ in range(100):
        control.kickWatchdog()
        time.sleep(0.01)
    return {"moved": moved, "running": control.isProgramRunning(), "way": receive.getActualQ()[0] - q[0]}


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_blocking_move_trips_the_watchdog_and_an_asynchronous_one_can_be_kicked(
    twin: TwinProcess, asynchronous: bool
) -> None:
    seen = run_client(move_under_watchdog, twin.host, asynchronous)
    assert seen["moved"] == asynchronous
    assert seen["running"] == asynchronous
    assert (abs(seen["way"] - 0.3) < 1e-6) == asynchronous


def servo_under_watchdog(host: str) -> dict[str, Any]:
    import time

    import rtde_control
    import rtde_receive

    control, receive = rtde_control.RTDEControlInterface(host), rtde_receive.RTDEReceiveInterface(host)
    q = receive.getActualQ()
    running = []
    for step in range(150):
        control.servoJ([q[0] + 0.001 * step, *q[1:]], 0.0, 0.0, 0.008, 0.1, 300.0)
        if step == 5:
            control.setWatchdog(5.0)
        time.sleep(0.008)
    running.append(control.isProgramRunning())
    way = receive.getActualQ()[0] - q[0]
    time.sleep(0.5)
    running.append(control.isProgramRunning())
    return {"running": running, "way": way}


def test_targets_alone_feed_the_watchdog(twin: TwinProcess) -> None:
    seen = run_client(servo_under_watchdog, twin.host)
    assert seen["running"] == [True, False]
    assert seen["way"] > 0.1
