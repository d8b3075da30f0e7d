"""Twins that several tests share: a process each, put back to its start before every test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twin_client import Client

from vlasteer.robots.twin import TwinProcess


@pytest.fixture(scope="session", autouse=True)
def _needs_the_client() -> None:
    pytest.importorskip("rtde_control", reason="ur_rtde is not installed: pip install 'vlasteer[ur]'")


@pytest.fixture(scope="session")
def shared_twin() -> Iterator[TwinProcess]:
    """A UR5e with PolyScope 5.25."""
    with TwinProcess() as twin:
        yield twin


@pytest.fixture
def twin(shared_twin: TwinProcess) -> TwinProcess:
    """The same at its start, without a client."""
    shared_twin.call("drop")
    shared_twin.call("reset")
    shared_twin.wait_for(lambda state: state["connections"] == [])
    return shared_twin


@pytest.fixture
def start_client() -> Iterator[Callable[..., Client]]:
    """Starts clients that have ended when the test has."""
    clients: list[Client] = []

    def start(function: Callable[..., Any], *arguments: Any) -> Client:
        clients.append(Client(function, *arguments))
        return clients[-1]

    yield start
    for client in clients:
        client.close()
