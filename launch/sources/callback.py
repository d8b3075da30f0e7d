"""Knobs that a Python function turns: regulators, experiments, sweeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from vlasteer.knobs import KnobBoard
from vlasteer.live import LiveStatus

SCRIPT_RANK = -1
"""Below people: whoever turns a knob by hand has it until they let go of it."""


class Callback:
    """Sets what `function` returns, from the loop's own thread at the end of every control period.

    Args:
        board: what is turned.
        function: of the live status; gives the knobs to set, None for off. What it raises ends the episode.
        name: of the source.
        rank: of the source.
    """

    def __init__(
        self,
        board: KnobBoard,
        function: Callable[[LiveStatus], Mapping[str, float | None]],
        *,
        name: str = "callback",
        rank: int = SCRIPT_RANK,
    ) -> None:
        self._function = function
        self._source = board.source(name, live=False, rank=rank)

    def tick(self, status: LiveStatus) -> None:
        """For `run_live(on_tick=...)`."""
        for knob, value in self._function(status).items():
            self._source.set(knob, value)

    def __enter__(self) -> Callback:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the board; its knobs freeze or decay. Idempotent."""
        self._source.close()
