"""The operator's button and what a heartbeat depends on."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlasteer.robots.ur.watchdog import Deadman, Heartbeat

FRESH = 0.3


def test_off_at_the_start_and_on_by_a_press() -> None:
    deadman = Deadman(FRESH)
    assert not deadman.granted(0.0)
    deadman.hear(True, 0.0, 0.0)  # held since before the start
    assert not deadman.granted(0.0)
    deadman.hear(False, 0.1, 0.1)
    deadman.hear(True, 0.2, 0.2)
    assert deadman.granted(0.2)
    deadman.hear(False, 0.3, 0.3)
    assert not deadman.granted(0.3)


def test_stale_is_released_until_a_new_press() -> None:
    deadman = Deadman(FRESH)
    deadman.hear(False, 0.0, 0.0)
    deadman.hear(True, 0.0, 0.0)
    assert deadman.granted(0.29)
    assert not deadman.granted(0.31)
    deadman.hear(True, 0.4, 0.4)
    assert not deadman.granted(0.4)
    deadman.hear(False, 0.5, 0.5)
    deadman.hear(True, 0.6, 0.6)
    assert deadman.granted(0.6)


def test_a_gap_counts_although_nobody_looked_in_it() -> None:
    deadman = Deadman(FRESH)
    deadman.hear(False, 0.0, 0.0)
    deadman.hear(True, 0.0, 0.0)
    deadman.hear(True, 1.0, 1.0)
    assert not deadman.granted(1.0)


def test_words_that_come_in_a_heap_count_by_when_they_were_said() -> None:
    deadman = Deadman(FRESH)
    deadman.hear(False, 0.0, 0.0)
    deadman.hear(True, 0.0, 0.0)
    for said in (0.1, 0.2, 0.3, 0.4, 0.5):  # the loop was away for half a second
        deadman.hear(True, said, 0.5)
    assert deadman.granted(0.5)


def test_a_late_hold_renews_nothing_and_a_late_release_releases() -> None:
    deadman = Deadman(FRESH)
    deadman.hear(False, 0.0, 0.0)
    deadman.hear(True, -1.0, 0.0)
    assert not deadman.granted(0.0)
    deadman.hear(True, 0.0, 0.0)
    deadman.hear(False, -1.0, 0.1)
    assert not deadman.granted(0.1)


def test_another_press_counts_although_its_release_was_never_told() -> None:
    deadman = Deadman(FRESH)
    deadman.hear(True, 0.0, 0.0, press=3)
    assert not deadman.granted(0.0), "from before the start"
    assert deadman.refused_press == 3
    deadman.hear(True, 0.1, 0.1, press=4)
    assert deadman.granted(0.1)
    assert deadman.refused_press == 0
    assert not deadman.granted(0.5)
    assert deadman.refused_press == 4
    deadman.hear(True, 0.6, 0.6, press=4)
    assert not deadman.granted(0.6)
    deadman.hear(True, 0.7, 0.7, press=5)
    assert deadman.granted(0.7)
    deadman.revoke()
    assert deadman.refused_press == 5
    deadman.hear(False, 0.8, 0.8)
    assert deadman.refused_press == 0
    deadman.hear(True, 0.9, 0.9, press=5)
    assert deadman.granted(0.9), "a release was told"


words = st.lists(st.tuples(st.floats(0.0, 0.6), st.integers(0, 3)), max_size=40)


@given(words, st.booleans())
def test_never_granted_without_a_fresh_hold_behind_a_release(said: list[tuple[float, int]], counted: bool) -> None:
    """Or, where presses are counted, behind another press."""
    deadman, now, history = Deadman(FRESH), 0.0, []
    for pause, press in said:
        now += pause
        press = press if counted else min(press, 1)
        deadman.hear(press > 0, now, now, press if counted else 0)
        history.append((now, press))
        for later in (now, now + 0.2, now + 0.35):
            if later > now and len(history) != len(said):
                continue  # looking ahead is only allowed where nothing follows
            if not deadman.granted(later):
                continue
            recent = list(itertools.takewhile(lambda word: word[1] == history[-1][1] > 0, reversed(history)))
            assert recent
            assert later - recent[0][0] <= FRESH
            assert len(recent) < len(history)  # a release, or another press, is behind it
            times = [word[0] for word in reversed(recent)]
            assert all(b - a <= FRESH + 1e-9 for a, b in itertools.pairwise(times))


@pytest.mark.parametrize(
    ("heartbeat", "missing"),
    [
        (Heartbeat(True, True, True), ""),
        (Heartbeat(False, True, True), "state"),
        (Heartbeat(True, False, True), "operator"),
        (Heartbeat(True, True, False), "policy"),
    ],
)
def test_a_heartbeat_takes_all_three(heartbeat: Heartbeat, missing: str) -> None:
    assert heartbeat.allowed == (missing == "")
    assert missing in heartbeat.missing
