"""What a page, keyboard, fader box or script writes with."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vlasteer.knobs.arbitration import Origin
    from vlasteer.knobs.board import KnobBoard


class Source:
    """One source of a board; made by `KnobBoard.source`. Every method may be called from any thread and never blocks.

    Everything that it says counts as a sign of life. A context manager: leaving closes it.
    """

    def __init__(self, board: KnobBoard, origin: Origin) -> None:
        self._board, self._origin = board, origin

    @property
    def name(self) -> str:
        """Unique on the board."""
        return self._origin.name

    def set(self, knob: str, value: float | None) -> float | None:
        """Set a knob; None is off. Returns what was taken: `value` within the knob's range.

        A value out of range is clamped, and the board's note says so. Of a group, its members are set.

        Raises:
            UnknownNameError: there is no such knob.
            ConfigError: NaN, or off where the knob has no off.
        """
        return self._board._set(self._origin, knob, value)

    def release(self, knob: str) -> None:
        """Let go of a knob: who set it before, or else its default, comes into force.

        Raises:
            UnknownNameError: there is no such knob.
        """
        self._board._release(self._origin, knob)

    def beat(self) -> None:
        """A sign of life."""
        self._board._beat(self._origin)

    def hold(self, held: bool) -> None:
        """Whether the operator holds to run; while held, repeat it at 10 Hz or faster.

        A hold that was not renewed for 0.25 s is released, and it then takes `hold(False)` and a new `hold(True)`.
        While another source holds, a press is ignored, and it stays ignored after the other has let go.
        """
        self._board._press(self._origin, held)

    def say(self, instruction: str) -> None:
        """Give the policy another instruction, from its next answer on. Blank ones are refused by a note."""
        self._board._say(self._origin, instruction)

    def stop(self) -> None:
        """End the episode. Counts from any source, whoever holds, and stays until `KnobBoard.rearm`."""
        self._board._stop(self._origin)

    def record(self, on: bool) -> None:
        """Start or stop recording."""
        self._board._record(self._origin, on)

    def mark(self, label: str = "") -> None:
        """Mark this moment in the recording."""
        self._board._mark(self._origin, label)

    def close(self) -> None:
        """Leave: its hold ends at once, its knobs are lost; what it sets afterwards counts no more. Idempotent."""
        self._board._close(self._origin)

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
