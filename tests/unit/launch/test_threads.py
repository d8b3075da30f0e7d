"""How many threads a command computes with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from vlasteer.anatomy import Site, SiteKey
from vlasteer.errors import SteeringError
from vlasteer.launch.threads import settle_threads


@dataclass
class Sized:
    """A policy of that size, as far as is asked."""

    width: int
    hidden: int
    layers: int

    @property
    def anatomy(self) -> Any:
        sites = [Site(SiteKey("vlm", layer), self.width, self.hidden, "") for layer in range(self.layers)]
        return SimpleNamespace(sites=sites)


class Served(Sized):
    """One whose model is on a server, and its anatomy as well."""

    steered = None

    @property
    def anatomy(self) -> Any:
        raise SteeringError("the neurons are on the server")


NANO, OPENVLA, SERVED = Sized(384, 96, 4), Sized(11008, 4096, 32), Served(0, 0, 0)


@pytest.fixture
def _two_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("_two_threads")
@pytest.mark.parametrize(("policy", "threads"), [(NANO, 1), (OPENVLA, 2), (SERVED, 2)])
def test_one_for_a_small_policy(policy: Any, threads: int) -> None:
    settle_threads(policy)
    assert torch.get_num_threads() == threads


@pytest.mark.usefixtures("_two_threads")
def test_what_the_environment_says_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    policy: Any = NANO
    settle_threads(policy)
    assert torch.get_num_threads() == 2
