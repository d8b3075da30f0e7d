"""Hold-to-run: one operator at a time, fresh or not at all, and never by a press that began before it was asked for."""

from __future__ import annotations

FRESH_S = 0.25
"""A hold that was not renewed for so long is released."""


class HoldToRun:
    """Who holds. Not thread-safe: the board locks.

    A press counts when it is new (the source did not hold just before) and nobody else holds. It lasts while it is
    renewed; once released, expired or dropped, it takes a release and a new press, so that neither a page that comes
    back after a stall nor a second operator who leans on the key starts a motion.
    """

    def __init__(self) -> None:
        self._down: set[str] = set()
        self._holder = ""
        self._renewed_s = 0.0
        self._presses = 0

    def press(self, source: str, held: bool, now: float) -> None:
        """`source` says whether its key is down."""
        if not held:
            self.leave(source)
            return
        new, holder = source not in self._down, self.holder(now)
        self._down.add(source)
        if new and not holder:
            self._holder, self._presses = source, self._presses + 1
        if self._holder == source:
            self._renewed_s = now

    def holder(self, now: float) -> str:
        """The source that holds now; "" for none."""
        if self._holder and now - self._renewed_s > FRESH_S:
            self._holder = ""  # its key is still taken for down: it must be seen up first
        return self._holder

    def number(self, now: float) -> int:
        """Of the press that holds now, counted from 1; 0 for none. Two presses differ, however short the release."""
        return self._presses if self.holder(now) else 0

    def leave(self, source: str) -> None:
        """The source's key is up, or the source is gone."""
        self._down.discard(source)
        if self._holder == source:
            self._holder = ""

    def drop(self) -> None:
        """Nobody holds any more; whoever does has to press anew."""
        self._holder = ""
