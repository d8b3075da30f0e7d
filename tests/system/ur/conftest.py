"""One kinematic twin for all tests of the driver, at its start before each; and worlds that are closed after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twin_client import Client

from vlasteer.robots.twin import TwinProcess
from vlasteer.robots.ur.config import TABLETOP_TCP, RobotConfig
from vlasteer.robots.ur.world import URWorld


@pytest.fixture(scope="session", autouse=True)
def _needs_the_client() -> None:
    pytest.importorskip("rtde_control", reason="ur_rtde is not installed: pip install 'vlasteer[ur]'")


@pytest.fixture(scope="session")
def shared_twin() -> Iterator[TwinProcess]:
    """A UR5e with the tabletop's tool."""
    with TwinProcess(tcp=TABLETOP_TCP) as twin:
        yield twin


@pytest.fixture
def twin(shared_twin: TwinProcess) -> TwinProcess:
    """The same at its start, without a client."""
    shared_twin.call("drop")
    shared_twin.call("reset")
    shared_twin.wait_for(lambda state: state["connections"] == [])
    return shared_twin


@pytest.fixture
def since(twin: TwinProcess) -> int:
    """Where the wire log stands when the test begins."""
    return twin.state()["log_count"]


@pytest.fixture
def make_world(twin: TwinProcess) -> Iterator[Callable[..., URWorld]]:
    """Makes worlds around the twin; options are those of the configuration and of `URWorld`."""
    worlds: list[URWorld] = []

    def make(config: RobotConfig | None = None, **options: Any) -> URWorld:
        config = config or RobotConfig.of_twin(twin.host, cameras={}, gripper=None)
        given: dict[str, Any] = {"cameras": {}, "gripper": None, "instruction": "lift the cube", **options}
        worlds.append(URWorld(config, **given))
        return worlds[-1]

    yield make
    for world in worlds:
        world.close()


@pytest.fixture
def start_client() -> Iterator[Callable[..., Client]]:
    """Starts functions in processes of their own that have ended when the test has."""
    clients: list[Client] = []

    def start(function: Callable[..., Any], *arguments: Any) -> Client:
        clients.append(Client(function, *arguments))
        return clients[-1]

    yield start
    for client in clients:
        client.close()
