"""Schedules and callbacks: at which step they act, and what they refuse."""

from __future__ import annotations

from pathlib import Path

import pytest
from live_episodes import Memories, planned
from toys import ToyClock, ToyPolicy, ToyWorld

from vlasteer.errors import InputError, VlasteerError
from vlasteer.knobs import Knob, KnobBoard
from vlasteer.launch.sources.callback import Callback
from vlasteer.launch.sources.faders import fader_value, turned
from vlasteer.launch.sources.schedule import Schedule
from vlasteer.live import LiveOptions, LiveStatus, run_live
from vlasteer.types import Outcome

KNOBS = [Knob("fast", low=-16, high=16), Knob("up", low=-8, high=8), Knob.speed()]


def schedule(tmp_path: Path, text: str, name: str = "s.yaml") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def episode(board: KnobBoard, clock: ToyClock, tick, **options) -> tuple[Outcome, Memories]:
    memories = Memories()
    outcome = run_live(
        ToyPolicy(),
        ToyWorld(),
        planned(),
        sinks=memories,
        board=board,
        options=LiveOptions(**options),
        on_tick=tick,
        sleep=clock.sleep,
    )
    return outcome, memories


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "s.yaml",
            "- {step: 0, fast: 2}\n- {step: 3, fast: 8, say: that}\n- {step: 5, fast: off}\n- {step: 6, stop: true}",
        ),
        ("s.csv", "step, fast, say, stop\n0, 2,,\n3, 8, that,\n5, off,,\n6,,,1\n"),
    ],
)
def test_entries_are_in_force_at_their_very_step(tmp_path: Path, name: str, text: str) -> None:
    for _ in range(2):
        clock = ToyClock()
        board = KnobBoard(KNOBS, clock=clock)
        with Schedule(board, schedule(tmp_path, text, name)) as script:
            outcome, memories = episode(board, clock, script.tick, hold_to_run=False)
        records = memories.only.records
        assert outcome is Outcome.STOPPED
        values = [r.extra["knob.fast"] for r in records]
        assert values[:5] == [2, 2, 2, 8, 8]
        assert len(values) == 6
        assert values[5] != values[5], "off"
        assert [r.observation.instruction for r in records][4:] == ["that", "that"]


def test_by_time_from_when_it_began_to_run(tmp_path: Path) -> None:
    clock = ToyClock()
    clock.now = 100.0
    board = KnobBoard(KNOBS, clock=clock)
    with Schedule(board, schedule(tmp_path, "- {time: 0.12, fast: 4}")) as script:
        _, memories = episode(board, clock, script.tick, hold_to_run=False)
    values = [r.extra["knob.fast"] for r in memories.only.records]
    assert next(i for i, value in enumerate(values) if value == 4) in (3, 4)


def test_it_may_hold_and_a_person_overrides_it(tmp_path: Path) -> None:
    clock = ToyClock(real_s=0.001)
    board = KnobBoard(KNOBS, clock=clock)
    person = board.source("page", live=False)
    with Schedule(
        board, schedule(tmp_path, "- {step: 0, hold: true, fast: 2, up: 1}\n- {step: 4, fast: 8, up: 3}")
    ) as s:

        def tick(status: LiveStatus) -> None:
            s._source.hold(s._holding.is_set())  # the toy's clock is faster than the thread that renews
            s.tick(status)
            if status.step == 2:
                person.set("fast", -5.0)

        outcome, memories = episode(board, clock, tick)
    assert outcome is not Outcome.STOPPED
    records = memories.only.records
    assert [r.extra["knob.fast"] for r in records[:6]] == [2, 2, -5, -5, -5, -5]
    assert [r.extra["knob.up"] for r in records[:6]] == [1, 1, 1, 1, 3, 3]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- {step: 0, quick: 2}", "quick"),
        ("- {fast: 2}", "step or time"),
        ("- {step: 0, time: 1, fast: 2}", "step or time"),
        ("- {step: -1, fast: 2}", "-1"),
        ("- {step: 0, fast: loud}", "loud"),
        ("- {step: 0, fast: .nan}", "NaN"),
        ("- {step: 0, speed: off}", "cannot be off"),
        ("fast: 2", "no list"),
        ("- {step: 0", "YAML"),
    ],
)
def test_nonsense_is_refused_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    board = KnobBoard(KNOBS)
    with pytest.raises(VlasteerError, match=said):
        Schedule(board, schedule(tmp_path, text))
    assert board.state().sources == (), "nothing is left behind"
    with pytest.raises(InputError, match="cannot be read"):
        Schedule(board, tmp_path / "absent.yaml")


def test_a_callback_regulates() -> None:
    clock = ToyClock()
    board = KnobBoard(KNOBS, clock=clock)

    def function(status: LiveStatus) -> dict[str, float | None]:
        return {"fast": status.step / 2}

    with Callback(board, function) as callback:
        _, memories = episode(board, clock, callback.tick, hold_to_run=False)
    assert [r.extra["knob.fast"] for r in memories.only.records] == [r.step / 2 for r in memories.only.records]


def test_fader_positions() -> None:
    fast, speed, scale = KNOBS[0], KNOBS[2], Knob("gain", low=0, high=4, default=1.0, neutral=1.0)
    assert [fader_value(fast, p) for p in (-1, 0, 0.25, 0.5, 0.75, 1)] == [-16, -16, -8, None, 8, 16]
    assert [fader_value(speed, p) for p in (0, 1)] == [0.05, 1]
    assert [fader_value(scale, p) for p in (0, 0.5, 0.75, 1)] == [0, 1, 2.5, 4]


def test_key_steps_come_back_to_rest() -> None:
    knob, value = KNOBS[0], None
    for _ in range(7):
        value = turned(knob, value, 1)
    for _ in range(7):
        value = turned(knob, value, -1)
    assert value == 0.0
    assert turned(knob, 16.0, 1) == 16.0
    assert turned(Knob.replan(10), 10.0, 1) >= 11
