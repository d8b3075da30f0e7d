"""Hold-to-run over a network: who holds, and whether what they say is fresh. No sockets, no clock of its own.

The server sends every tab a number 20 times a second, and a tab whose button is down sends it back. A renewal counts
only if its number is fresh, so one that was stuck in a stalled connection cannot keep an arm moving after the finger
has left the button, however late it arrives. A hold that lapsed is over: only a new press begins another.
"""

from __future__ import annotations

from collections import deque
from enum import StrEnum

from vlasteer.errors import ConfigError

FRESH_S = 0.25
"""Age of a number, counted from when it was sent to the tab, up to which its return is believed."""
LAPSE_S = 0.25
"""A hold that was not renewed for this long is released."""
_REMEMBERED = 64


class Hold(StrEnum):
    """How the hold stands, as one tab sees it."""

    FREE = "free"
    """Nobody holds."""
    MINE = "mine"
    """This tab does."""
    OTHER = "other"
    """Another one does."""
    LAPSED = "lapsed"
    """This tab's button is down, but its renewals came too late; it has to be released and pressed again."""


class HoldLease:
    """The hold of all tabs of a page: the first that presses has it. Times are seconds of one monotonic clock."""

    def __init__(self, fresh_s: float = FRESH_S, lapse_s: float = LAPSE_S) -> None:
        if not (fresh_s > 0 and lapse_s > 0):
            raise ConfigError(f"hold times {fresh_s} and {lapse_s} s", expected="positive numbers")
        self._fresh_s, self._lapse_s = fresh_s, lapse_s
        self._sent: dict[int, deque[tuple[int, float]]] = {}
        self._number = 0
        self._holder: int | None = None
        self._renewed = 0.0
        self._lapsed: set[int] = set()

    @property
    def tabs(self) -> int:
        """How many are connected."""
        return len(self._sent)

    def join(self, tab: int) -> None:
        """A tab connects."""
        self._sent[tab] = deque(maxlen=_REMEMBERED)

    def leave(self, tab: int) -> bool:
        """A tab is gone. Whether that released the hold."""
        self._sent.pop(tab, None)
        return self.release(tab)

    def issue(self, tab: int, now: float) -> int:
        """The next number for a tab."""
        self._number += 1
        self._sent[tab].append((self._number, now))
        return self._number

    def age(self, tab: int, number: object, now: float) -> float | None:
        """Seconds since the tab was sent this number; None if it was not, or very long ago."""
        return next((now - at for sent, at in self._sent.get(tab, ()) if sent == number), None)

    def is_fresh(self, tab: int, number: object, now: float) -> bool:
        """Whether the tab was sent this number a moment ago."""
        age = self.age(tab, number, now)
        return age is not None and 0 <= age <= self._fresh_s

    def press(self, tab: int, number: object, now: float) -> bool:
        """A button goes down. Whether the tab holds now."""
        self.expire(now)
        self._lapsed.discard(tab)
        if not self.is_fresh(tab, number, now):
            self._lapsed.add(tab)
            return False
        if self._holder not in (None, tab):
            return False
        self._holder, self._renewed = tab, now
        return True

    def renew(self, tab: int, number: object, now: float) -> bool:
        """A button is still down. Whether the tab still holds."""
        self.expire(now)
        if self._holder != tab or not self.is_fresh(tab, number, now):
            return False
        self._renewed = now
        return True

    def release(self, tab: int) -> bool:
        """A button comes up. Whether that released the hold."""
        self._lapsed.discard(tab)
        if self._holder != tab:
            return False
        self._holder = None
        return True

    def expire(self, now: float) -> bool:
        """Release a hold that was not renewed in time. Whether there was one to release."""
        if self._holder is None or now - self._renewed <= self._lapse_s:
            return False
        self._lapsed.add(self._holder)
        self._holder = None
        return True

    def seen_by(self, tab: int) -> Hold:
        """How the hold stands for a tab."""
        if self._holder == tab:
            return Hold.MINE
        if tab in self._lapsed:
            return Hold.LAPSED
        return Hold.FREE if self._holder is None else Hold.OTHER
