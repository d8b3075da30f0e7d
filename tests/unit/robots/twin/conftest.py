"""Fixtures of the twin's unit tests."""

from __future__ import annotations

import pytest
from twin_bench import Bench


@pytest.fixture
def bench() -> Bench:
    """A UR5e with the control script running."""
    bench = Bench()
    bench.upload()
    return bench
