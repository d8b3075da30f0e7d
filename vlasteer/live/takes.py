"""Recording that can be switched off and on: every stretch of it is an episode of its own."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

from vlasteer.protocols import Sink
from vlasteer.runtime import PlannedEpisode, Sinks
from vlasteer.types import Outcome, StepRecord


class Takes:
    """The recorded stretches of a live episode.

    The first take is the episode itself. Later ones have the indices after its own and a number in
    `EpisodeInfo.extra["take"]`; their first step is not step 0, since the world did not begin anew.

    Args:
        episode: that is run.
        sinks: makes the sinks of a take.
    """

    def __init__(self, episode: PlannedEpisode, sinks: Sinks) -> None:
        self._episode, self._make = episode, sinks
        self._open: Sequence[Sink] | None = None
        self._count = self._length = 0

    def switch(self, on: bool) -> None:
        """Recording is to be on or off from the next step on."""
        if on and self._open is None:
            info = self._episode.info
            if self._count:
                extra = {**info.extra, "take": self._count}
                info = replace(info, index=info.index + self._count, extra=extra)
            take = replace(self._episode, info=info)
            self._open, self._length = self._make(take), 0
            for sink in self._open:
                sink.open(info)
        elif not on and self._open is not None:
            self.close(Outcome.STOPPED)

    @property
    def at_start(self) -> bool:
        """Whether the next step is the first of its take."""
        return self._length == 0

    def step(self, record: StepRecord) -> None:
        """Record a step, if recording is on."""
        if self._open is None:
            return
        self._length += 1
        for sink in self._open:
            sink.step(record)

    def close(self, outcome: Outcome) -> None:
        """End the take that is open; every sink is closed even if one of them fails."""
        sinks, self._open = self._open or (), None
        self._count += self._length > 0
        self._length = 0
        with ExitStack() as stack:
            for sink in sinks:
                stack.callback(sink.close, outcome)
