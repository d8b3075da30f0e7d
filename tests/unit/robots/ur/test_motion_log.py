"""Whatever comes, in whatever order: the limits are kept, and the log of the inputs reproduces every command."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ur_motion import LIMITS, Bench

from vlasteer.errors import InputError, WorldError
from vlasteer.robots.ur.motion import replay

EVENTS = st.lists(
    st.tuples(
        st.sampled_from(
            ["deltas", "deltas", "single", "joints", "wild", "far", "bad", "release", "press", "silence", "restart"]
        ),
        st.integers(0, 2**32 - 1),
        st.integers(1, 50),
    ),
    min_size=3,
    max_size=14,
)


def happen(bench: Bench, events: list[tuple[str, int, int]]) -> None:
    """Random chunks with random ages and speeds (a knob at its extremes), presses, releases, resumes, garbage."""
    bench.now = 5.0
    bench.press()
    for kind, seed, count in events:
        rng = np.random.default_rng(seed)
        age, speed = (
            rng.choice([0.0, rng.uniform(0, 0.3), rng.uniform(0, 2.0)]),
            rng.choice([1.0, 0.05, rng.uniform(0.05, 1)]),
        )
        drift = rng.normal(size=3) * rng.choice([0.003, 0.02, 0.05])
        chunk = np.zeros((int(rng.integers(1, 12)), 6))
        try:
            match kind:
                case "deltas" | "single":
                    chunk = chunk[:1] if kind == "single" else chunk
                    chunk[:, :3] = np.clip(drift + rng.normal(0, 0.003, (len(chunk), 3)), -0.055, 0.055)
                    chunk[:, 3:] = rng.normal(0, 0.02, (len(chunk), 3))
                    bench.deltas(chunk, age, speed)
                case "wild":
                    chunk[:, :3] = rng.choice([-0.055, 0.0, 0.055], (len(chunk), 3))
                    chunk[:, 3:] = rng.choice([-0.5, 0.0, 0.5], (len(chunk), 3))
                    bench.deltas(chunk, age, speed)
                case "joints":
                    bench.joints(
                        bench.motion.filter.q + np.cumsum(rng.normal(0, 0.05, chunk.shape), axis=0), age, speed
                    )
                case "far":
                    bench.joints(bench.motion.filter.q + rng.uniform(-1, 1, (1, 6)), age, speed)
                case "bad":
                    chunk[-1, rng.integers(6)] = rng.choice([math.nan, math.inf, 90.0])
                    bench.deltas(chunk, age, speed)
                case "release":
                    bench.held = False
                    bench.motion.permit(False, bench.now)
                case "press":
                    bench.press()
                case "silence":
                    bench.held = False
                case _:  # comes to rest and starts again where it is
                    bench.held = False
                    bench.motion.permit(False, bench.now)
                    while not bench.tick().held:
                        pass
                    bench.motion.start(bench.motion.filter.q)
                    bench.press()
        except (InputError, WorldError):
            assert kind in ("bad", "far", "joints") or age > LIMITS.chunk_age
        bench.tick(count)


@given(events=EVENTS)
@settings(max_examples=40, deadline=None)
def test_whatever_comes_the_limits_are_kept_and_the_log_reproduces_it(events: list[tuple[str, int, int]]) -> None:
    bench = Bench()
    happen(bench, events)
    found = bench.violations()
    assert not found, found[0]
    lines = [json.loads(json.dumps(entry)) for entry in bench.log]
    np.testing.assert_array_equal([f.q for f in replay(lines)], bench.commands)


def test_a_log_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match="entry 0"):
        replay([{"input": "tick", "now_s": 0.0}])
    with pytest.raises(InputError, match="entry 1 of a motion log is 'dance'"):
        replay([Bench().log[0], {"input": "dance"}])
