"""Each protection is what keeps its row of the safety table: with it the scenario is clean, without it is not.

A scenario returns what went wrong in it. A mutation takes one protection away and nothing else.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable

import numpy as np
import pytest
from limit_checker import violations
from numpy.typing import ArrayLike
from ur_motion import ARM, DT, HOME, LIMITS, TCP, WORKSPACE, Bench, move

from vlasteer.errors import InputError, WorldError
from vlasteer.kinematics import Vector
from vlasteer.robots.ur.limits import Limits
from vlasteer.robots.ur.motion import ServoMotion
from vlasteer.robots.ur.points import Points
from vlasteer.robots.ur.reasons import Reason
from vlasteer.robots.ur.safety_filter import Filtered, SafetyFilter
from vlasteer.robots.ur.trajectory import Trajectory

Patch = pytest.MonkeyPatch
Scenario = Callable[[], list[str]]


def judged(bench: Bench) -> list[str]:
    return [str(violation) for violation in bench.violations()]


# --- scenarios --------------------------------------------------------------------------------------------------------


def garbage_in_a_chunk() -> list[str]:
    """Row 5: not one number of a chunk with a bad one has any effect."""
    bench = Bench()
    for chunk in ([move(y=0.005), move(y=math.nan)], [move(y=0.005), move(y=5.0)]):
        with contextlib.suppress(InputError):
            bench.deltas(chunk)
        bench.tick(30)
    found = judged(bench)
    return found or (["moved"] if np.ptp(bench.commands, axis=0).any() else [])


def garbage_behind_the_trajectory() -> list[str]:
    """Row 5, the second line: whatever reaches the filter."""
    subject = SafetyFilter(ARM, TCP, LIMITS, WORKSPACE, DT)
    subject.start(HOME)
    wanted: list[ArrayLike] = [HOME + 0.001] * 5 + [np.full(6, np.nan)] * 5 + [np.degrees(HOME)] * 200
    out = [subject.tick(target).q for target in wanted]
    found = [str(v) for v in violations(out, DT, ARM, TCP, LIMITS, WORKSPACE, before=HOME)]
    return found or (["moved"] if np.abs(out[-1] - HOME).max() > 0.01 else [])


def seams_and_jumps() -> list[str]:
    """Rows 6 and 9: knobs at their extremes make the policy jump about."""
    bench, rng = Bench(), np.random.default_rng(0)
    for _ in range(25):
        bench.joints(np.clip(bench.motion.filter.q + rng.choice([-0.8, 0.8], (1, 6)), HOME - 0.3, HOME + 0.3))
        bench.tick(12)
    return judged(bench)


def walls() -> list[str]:
    """Rows 7 and 8: joint targets behind every wall and beyond a joint's margin."""
    bench = Bench()
    for way in ([0, 0.8, 0, 0, 0, 0], [0.9, 0, 0, 0, 0, 0], [0, 0, -0.9, 0, 0, 0], [-0.9, 0, 0, 0, 0, 0]):
        for _ in range(3):
            try:
                bench.joints([bench.motion.filter.q + way])
            except InputError:
                break
            bench.tick(40)
    return judged(bench)


def dead_policy() -> list[str]:
    """Row 12: a policy was killed after a long chunk."""
    bench = Bench()
    bench.deltas([move(y=0.001), move(y=-0.001)] * 200)
    bench.tick(round(LIMITS.chunk_expiry / DT) + 60)
    return [] if bench.tick().held else ["moves on without a policy"]


def late_policy() -> list[str]:
    """Row 12: an answer comes two seconds after the question."""
    bench = Bench()
    bench.tick(300)
    with contextlib.suppress(WorldError):
        bench.deltas([move(y=0.01)], age=2.0)
    bench.tick(20)
    return [] if bench.filtered[-1].held else ["does what is no longer true"]


def used_up_chunk() -> list[str]:
    """Row 12: nothing comes after a chunk."""
    bench = Bench()
    bench.deltas([move(y=0.012)] * 6)
    bench.tick(150)
    moved = bench.tools[-1, 1] - bench.motion.filter.points.pose(HOME)[1, 3]
    return judged(bench) + ([] if bench.filtered[-1].held and moved < 0.073 else [f"went on for {moved:.3f} m"])


def silent_operator() -> list[str]:
    """Row 10: the page that holds has been closed."""
    bench = Bench()
    bench.deltas([move(y=0.002), move(y=-0.002)] * 25)
    bench.tick(20)
    bench.held = False
    bench.tick(round((LIMITS.permit_age + 0.25) / DT))
    return [] if bench.tick().held else ["moves without permission"]


def arm_moved_in_a_pause() -> list[str]:
    """Row 13: pushed by hand while nothing was commanded."""
    bench = Bench()
    bench.tick(5)
    moved = HOME + 0.05
    bench.motion.start(moved)
    bench.press()
    bench.deltas([move(y=0.005)])
    bench.filtered.clear()
    bench.tick(50)
    found = violations(bench.commands, DT, ARM, TCP, LIMITS, WORKSPACE, before=moved)
    return [str(v) for v in found]


# --- mutations --------------------------------------------------------------------------------------------------------


def unchecked_chunks(patch: Patch) -> None:
    patch.setattr(ServoMotion, "_checked", lambda self, actions, *rest: np.array(actions, np.float64))


def unchecked_targets(patch: Patch) -> None:
    patch.setattr(SafetyFilter, "_checked", lambda self, wanted: (wanted, Reason(0)))
    patch.setattr(SafetyFilter, "_ways", all_ways_fine)


def no_filter(patch: Patch) -> None:
    def straight_through(self: SafetyFilter, wanted: Vector | None) -> Filtered:
        q = self._q if wanted is None else np.array(wanted, np.float64)
        self._qd, self._q = (q - self._q) / self.period_s, q
        return Filtered(q, self._qd, Reason(0), held=False)

    patch.setattr(SafetyFilter, "tick", straight_through)
    patch.setattr(
        Trajectory, "advance", lambda self, q, qd: (self._actions[0][1] if self._actions else None, Reason(0))
    )


def all_ways_fine(self: SafetyFilter, velocities: Vector) -> tuple[Vector, Points, Vector, Reason]:
    ends = self._q + velocities * self.period_s
    return ends[:, None, :], self.points.at(ends), np.ones(len(ends), bool), Reason(0)


def no_way_to_rest(patch: Patch) -> None:
    patch.setattr(SafetyFilter, "_ways", all_ways_fine)


def unlimited_acceleration(patch: Patch) -> None:
    rolled = SafetyFilter.tick

    def tick(self: SafetyFilter, wanted: ArrayLike | None) -> Filtered:
        limits = self.limits
        object.__setattr__(self, "limits", relaxed(limits, joint_acceleration=1e6))
        try:
            return rolled(self, wanted)
        finally:
            self.limits = limits

    patch.setattr(SafetyFilter, "tick", tick)
    patch.setattr(Trajectory, "_follow", lambda self, q, qd, way: q + way)


def relaxed(limits: Limits, **values: float) -> Limits:
    """A copy with values beyond what a configuration may say."""
    copy = object.__new__(Limits)
    for name, value in {**vars(limits), **values}.items():
        object.__setattr__(copy, name, value)
    return copy


def without_limit(name: str) -> Callable[[Patch], None]:
    def mutate(patch: Patch) -> None:
        begun = ServoMotion.__init__

        def begin(self: ServoMotion, *args: object, **values: object) -> None:
            begun(self, *args, **values)  # type: ignore[arg-type]
            self.limits = relaxed(self.limits, **{name: math.inf})

        patch.setattr(ServoMotion, "__init__", begin)

    return mutate


def no_braking_at_the_end(patch: Patch) -> None:
    advanced = Trajectory.advance

    def advance(self: Trajectory, q: Vector, qd: Vector) -> tuple[Vector | None, Reason]:
        return (q + qd * DT, Reason(0)) if self.idle else advanced(self, q, qd)

    patch.setattr(Trajectory, "advance", advance)


def anchored_elsewhere(patch: Patch) -> None:
    started = SafetyFilter.start

    def start(self: SafetyFilter, q_actual: ArrayLike) -> None:
        before = self._q
        started(self, q_actual)
        if before.any():
            self._q = before

    patch.setattr(SafetyFilter, "start", start)


@pytest.mark.parametrize(
    ("scenario", "mutate"),
    [
        (garbage_in_a_chunk, unchecked_chunks),
        (garbage_behind_the_trajectory, unchecked_targets),
        (seams_and_jumps, no_filter),
        (seams_and_jumps, unlimited_acceleration),
        (walls, no_way_to_rest),
        (dead_policy, without_limit("chunk_expiry")),
        (late_policy, without_limit("chunk_age")),
        (used_up_chunk, no_braking_at_the_end),
        (silent_operator, without_limit("permit_age")),
        (arm_moved_in_a_pause, anchored_elsewhere),
    ],
    ids=[
        "5 chunk",
        "5 filter",
        "6 and 9 filter",
        "6 acceleration",
        "7 and 8 way to rest",
        "12 expiry",
        "12 late",
        "12 underrun",
        "10 permission",
        "13 start",
    ],
)
def test_the_scenario_is_clean_with_the_protection_and_is_not_without(
    scenario: Scenario, mutate: Callable[[Patch], None], monkeypatch: Patch
) -> None:
    assert scenario() == []
    mutate(monkeypatch)
    assert scenario(), f"{scenario.__name__} does not notice that its protection is gone"
