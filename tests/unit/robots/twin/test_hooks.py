"""Hooks by name and argument, without a network."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from twin_bench import Bench

from vlasteer.errors import InputError, VlasteerError
from vlasteer.robots.twin import hooks
from vlasteer.robots.twin.connections import Network
from vlasteer.robots.twin.states import SafetyMode


class Service:
    """What hooks act on, without an event loop: what is planned for later is kept."""

    def __init__(self) -> None:
        self.controller = Bench().controller
        self.network = Network(self.controller)
        self.channels: set[asyncio.Transport] = set()
        self.late_periods = 0
        self.planned: dict[str, tuple[float, Callable[[], object]]] = {}
        self.stopped = False

    def later(self, seconds: float, action: Callable[[], object], name: str) -> None:
        self.planned.pop(name, None)
        if seconds <= 0:
            action()
        elif math.isfinite(seconds):
            self.planned[name] = (seconds, action)

    def draw(self, camera: str) -> asyncio.Future[NDArray[np.uint8]]:
        raise AssertionError("a kinematic twin has no cameras")

    def stop(self) -> None:
        self.stopped = True


@pytest.fixture
def service() -> Service:
    return Service()


def test_faults_and_their_ends(service: Service) -> None:
    c = service.controller
    hooks.call(service, "stall", {"seconds": 2.0})
    assert service.network.stalled
    assert service.planned["stall"][0] == 2.0
    service.planned["stall"][1]()
    assert not service.network.stalled
    hooks.call(service, "drop", {"seconds": 1})
    assert service.network.refusing
    hooks.call(service, "resume", {})
    assert not service.network.refusing
    hooks.call(service, "emergency_stop", {"system": True})
    assert c.safety.safety_mode == SafetyMode.SYSTEM_EMERGENCY_STOP
    hooks.call(service, "reset", {})
    assert c.safety.safety_mode == SafetyMode.NORMAL
    hooks.call(service, "protective_stop", {"reason": "drill"})
    assert hooks.call(service, "state", {})["safety_reason"] == "drill"
    hooks.call(service, "quit", {})
    assert service.stopped


def test_what_a_pendant_can_change(service: Service) -> None:
    c = service.controller
    hooks.call(service, "place", {"q": [0.1, -1.2, 1.3, -1.4, -1.5, 0.6]})
    assert c.plant.q.tolist() == [0.1, -1.2, 1.3, -1.4, -1.5, 0.6]
    hooks.call(service, "lead", {"speed": [0.5, 0, 0, 0, 0, 0], "seconds": 2})
    for _ in range(200):
        c.tick()
    assert c.plant.qd[0] == pytest.approx(0.5)
    service.planned["lead"][1]()
    for _ in range(200):
        c.tick()
    assert not c.engine.moving
    assert c.plant.q[0] > 0.1
    hooks.call(service, "tcp", {"pose": [0, 0, 0.2, 0, 0, 0]})
    hooks.call(service, "payload", {"mass": 1.5, "cog": [0, 0, 0.1]})
    hooks.call(service, "speed_slider", {"fraction": 0.3})
    hooks.call(service, "digital_input", {"index": 9, "on": True})
    hooks.call(service, "remote_control", {"on": False})
    hooks.call(service, "registers_in_use", {"names": ["input_int_register_3"]})
    assert (c.arm.tcp[2], c.payload, c.io.speed_slider, c.io.digital_in) == (0.2, 1.5, 0.3, 1 << 9)
    assert not c.remote_control
    assert c.io.reserved == {"input_int_register_3"}
    before = c.arm.pose(c.plant.q)
    hooks.call(service, "tcp_error", {"offset": [0.01, 0, 0]})
    c.tick()
    np.testing.assert_allclose(c.readings.tcp_pose - before, [0.01, 0, 0, 0, 0, 0], atol=1e-12)
    np.testing.assert_allclose(c.readings.target_tcp_pose, before, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("dance", {}),
        ("stall", {"minutes": 1}),
        ("wrench", {}),
        ("wrench", {"values": [1, 2, 3]}),
        ("wrench", {"values": [1, 2, 3, 4, 5, math.nan]}),
        ("wrench", {"values": "strong"}),
        ("place", {"q": [0, 0, 0, 0, 0, math.inf]}),
        ("lead", {"speed": [1.0]}),
        ("speed_slider", {"fraction": "half"}),
        ("speed_slider", {"fraction": True}),
        ("safety_mode", {"mode": "SLEEPY"}),
        ("registers_in_use", {"names": ["input_int_register_99"]}),
        ("digital_input", {"index": 18, "on": True}),
        ("camera", {"name": "image"}),
        ("arrange", {"seed": -1}),
    ],
)
def test_hooks_that_make_no_sense_are_refused(service: Service, name: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        hooks.call(service, name, arguments)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=6),
    max_leaves=6,
)


@given(data=st.data())
def test_whatever_a_hook_is_given_the_controller_goes_on(data: st.DataObject) -> None:
    service = Service()
    name = data.draw(st.sampled_from(sorted(hooks.HOOKS)))
    parameters = list(inspect.signature(hooks.HOOKS[name]).parameters)[1:]
    arguments = {parameter: data.draw(JSON) for parameter in parameters if data.draw(st.booleans())}
    # What the hook channel answers with an error.
    with contextlib.suppress(VlasteerError, TypeError, ValueError, OverflowError):
        hooks.call(service, name, arguments)
    for _ in range(5):
        service.controller.tick()
    assert np.all(np.isfinite(service.controller.plant.q))
