"""Live knobs: setpoints that several sources write and one controller reads, once per control step.

`Knob` says what may be turned and how far, `KnobBoard` keeps the setpoints, a `Source` is what a page, keyboard or
script writes with. Imports: the standard library and `vlasteer.errors`.

    board = KnobBoard([Knob.feature("fast", 8.0), Knob.speed()])
    page = board.source("page", live=True)
    page.set("fast", 4.0)
    board.read().values  # {"fast": ...}, on its way to 4
"""

from vlasteer.knobs.board import INSTRUCTION, MARK, KnobBoard
from vlasteer.knobs.knob import Knob, KnobKind
from vlasteer.knobs.readings import BoardState, Cause, KnobChange, KnobReading, KnobState, SourceState
from vlasteer.knobs.source import Source

__all__ = [
    "INSTRUCTION",
    "MARK",
    "BoardState",
    "Cause",
    "Knob",
    "KnobBoard",
    "KnobChange",
    "KnobKind",
    "KnobReading",
    "KnobState",
    "Source",
    "SourceState",
]
