"""Hold-to-run over a network: freshness, lapse, several tabs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlasteer.errors import ConfigError
from vlasteer.launch.page.hold import FRESH_S, LAPSE_S, Hold, HoldLease


def lease_of(*tabs: int) -> HoldLease:
    lease = HoldLease()
    for tab in tabs:
        lease.join(tab)
    return lease


class TestOneTab:
    def test_press_renew_release(self):
        lease = lease_of(1)
        assert lease.seen_by(1) is Hold.FREE
        assert lease.press(1, lease.issue(1, 0.0), 0.01)
        assert lease.seen_by(1) is Hold.MINE
        assert lease.renew(1, lease.issue(1, 0.05), 0.06)
        assert lease.release(1)
        assert lease.seen_by(1) is Hold.FREE
        assert not lease.release(1)

    def test_lapses_without_renewal_and_wants_a_new_press(self):
        lease = lease_of(1)
        lease.press(1, lease.issue(1, 0.0), 0.0)
        late = LAPSE_S + 0.01
        assert lease.expire(late)
        assert lease.seen_by(1) is Hold.LAPSED
        assert not lease.renew(1, lease.issue(1, late), late)
        lease.release(1)
        assert lease.press(1, lease.issue(1, late), late)

    def test_numbers_from_a_stalled_connection_renew_nothing(self):
        lease = lease_of(1)
        stalled = [lease.issue(1, 0.05 * i) for i in range(4)]
        assert lease.press(1, stalled[0], 0.0)
        # All that was said during the stall arrives at once, later than it is worth.
        now = 0.05 * 3 + FRESH_S + 0.01
        assert not any(lease.renew(1, number, now) for number in stalled)
        assert lease.seen_by(1) is Hold.LAPSED

    def test_a_stale_press_does_not_hold(self):
        lease = lease_of(1)
        number = lease.issue(1, 0.0)
        assert not lease.press(1, number, FRESH_S + 0.01)
        assert lease.seen_by(1) is Hold.LAPSED

    @pytest.mark.parametrize("number", [0, 999, None, "1", 1.5, [1]])
    def test_invented_numbers_do_not_hold(self, number):
        lease = lease_of(1)
        lease.issue(1, 0.0)
        assert not lease.press(1, number, 0.0)

    def test_leaving_releases(self):
        lease = lease_of(1)
        lease.press(1, lease.issue(1, 0.0), 0.0)
        assert lease.leave(1)
        assert lease.tabs == 0

    def test_times_must_be_positive(self):
        with pytest.raises(ConfigError, match="positive"):
            HoldLease(fresh_s=0.0)


class TestSeveralTabs:
    def test_the_first_holds_and_others_see_it(self):
        lease = lease_of(1, 2)
        assert lease.press(1, lease.issue(1, 0.0), 0.0)
        assert not lease.press(2, lease.issue(2, 0.0), 0.0)
        assert (lease.seen_by(1), lease.seen_by(2)) == (Hold.MINE, Hold.OTHER)

    def test_a_tab_cannot_renew_with_another_ones_number(self):
        lease = lease_of(1, 2)
        lease.press(1, lease.issue(1, 0.0), 0.0)
        assert not lease.renew(1, lease.issue(2, 0.1), 0.1)

    def test_another_leaving_changes_nothing(self):
        lease = lease_of(1, 2)
        lease.press(1, lease.issue(1, 0.0), 0.0)
        assert not lease.leave(2)
        assert lease.seen_by(1) is Hold.MINE

    def test_free_again_after_release(self):
        lease = lease_of(1, 2)
        lease.press(1, lease.issue(1, 0.0), 0.0)
        lease.release(1)
        assert lease.press(2, lease.issue(2, 0.1), 0.1)


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["press", "renew", "release", "expire"]),
        st.sampled_from([1, 2]),
        st.floats(0, 0.4),
        st.floats(0, 1),
    ),
    max_size=40,
)


@given(EVENTS)
def test_whoever_holds_has_said_so_freshly(events):
    """A holder's last accepted word is at most LAPSE_S old, and its number was at most FRESH_S old then."""
    lease, now, accepted = lease_of(1, 2), 0.0, {1: -1e9, 2: -1e9}
    for what, tab, wait, delay in events:
        number = lease.issue(tab, now)
        now += wait
        if what == "release":
            lease.release(tab)
        elif what != "expire" and getattr(lease, what)(tab, number, now):
            assert wait <= FRESH_S
            accepted[tab] = now
        now += delay
        lease.expire(now)
        holders = [tab for tab in (1, 2) if lease.seen_by(tab) is Hold.MINE]
        assert len(holders) <= 1
        assert all(now - accepted[tab] <= LAPSE_S for tab in holders)
