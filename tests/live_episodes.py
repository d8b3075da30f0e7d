"""Running live episodes of toys: a memory for a sink, an operator who acts at chosen steps."""

from __future__ import annotations

from collections.abc import Callable

from toys import SPEC, ToyClock

from vlasteer.knobs import Knob, KnobBoard, Source
from vlasteer.live import LiveStatus
from vlasteer.runtime import PlannedEpisode
from vlasteer.types import EpisodeInfo, EpisodeKey, Outcome, StepRecord


class Memory:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.info: EpisodeInfo | None = None
        self.records: list[StepRecord] = []
        self.outcome: Outcome | None = None

    def open(self, episode: EpisodeInfo) -> None:
        self.info = episode

    def step(self, record: StepRecord) -> None:
        self.records.append(record)

    def close(self, outcome: Outcome) -> None:
        self.outcome = outcome


class Memories:
    """Makes the sinks of every take, and keeps them."""

    def __init__(self) -> None:
        self.takes: list[Memory] = []

    def __call__(self, _: PlannedEpisode) -> list[Memory]:
        self.takes.append(Memory())
        return [self.takes[-1]]

    @property
    def only(self) -> Memory:
        (take,) = self.takes
        return take


class Operator:
    """Holds from the first tick on, renews at every tick, and does what `acts` says at its tick number."""

    def __init__(self, board: KnobBoard, acts: dict[int, Callable[[Source], None]] | None = None) -> None:
        self.source = board.source("operator", live=True)
        self.holding, self.acts = True, acts or {}
        self.ticks: list[LiveStatus] = []

    def __call__(self, status: LiveStatus) -> None:
        act = self.acts.get(len(self.ticks))
        self.ticks.append(status)
        if act is not None:
            act(self.source)
        self.source.hold(self.holding)

    def let_go(self, _: Source) -> None:
        self.holding = False

    def press(self, _: Source) -> None:
        self.holding = True


def planned(index: int = 0, instruction: str = "do it") -> PlannedEpisode:
    return PlannedEpisode(EpisodeInfo(index, EpisodeKey(0, 0, 7), instruction, "live", "toy", SPEC))


def board_of(clock: ToyClock, *knobs: Knob, instruction: str = "") -> KnobBoard:
    return KnobBoard(knobs or [Knob.feature("fast", 8.0)], instruction=instruction, clock=clock)
