"""The live loop on a simulation: holding, pausing, knobs, takes, ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from live_episodes import Memories, Operator, board_of, planned
from toys import ToyClock, ToyPolicy, ToyWorld

from vlasteer.anatomy import Neuron
from vlasteer.knobs import Knob, KnobBoard, Source
from vlasteer.live import LiveOptions, LivePhase, run_live
from vlasteer.runtime import LoopOptions, run_episodes
from vlasteer.steering import Feature, Steering, steer
from vlasteer.types import Outcome

Acts = dict[int, Callable[[Source], None]]
FEATURE = Feature.of("fast", [Neuron("vlm", i, j) for i in range(3) for j in range(8)])


def test_an_unsteered_episode_is_that_of_the_other_loop() -> None:
    clock, mine, theirs = ToyClock(), Memories(), Memories()
    board = board_of(clock)
    outcome = run_live(
        ToyPolicy(), ToyWorld(), planned(), sinks=mine, board=board, on_tick=Operator(board), sleep=clock.sleep
    )
    run_episodes(ToyPolicy(), [ToyWorld()], [planned()], sinks=theirs, options=LoopOptions())
    assert outcome is mine.only.outcome is theirs.only.outcome
    assert [r.chunk_step for r in mine.only.records] == [r.chunk_step for r in theirs.only.records]
    for live, plain in zip(mine.only.records, theirs.only.records, strict=True):
        assert np.array_equal(live.executed, plain.executed)
        assert live.step == plain.step
        assert live.chunk == plain.chunk


def test_it_keeps_real_time_and_the_speed_knob_slows_it() -> None:
    times = []
    for speed in (1.0, 0.5):
        clock = ToyClock()
        board = board_of(clock, Knob.speed(speed))
        operator = Operator(board)
        run_live(ToyPolicy(), ToyWorld(), planned(), sinks=Memories(), board=board, on_tick=operator, sleep=clock.sleep)
        assert operator.ticks[-1].rate_hz == pytest.approx(20 * speed)
        times.append(clock.now)
    assert times[1] == pytest.approx(2 * times[0], rel=0.1)


def test_nothing_moves_before_the_first_hold_and_a_press_of_before_does_not_count() -> None:
    clock, memories, world = ToyClock(), Memories(), ToyWorld()
    board = board_of(clock)
    operator = Operator(board, {10: lambda s: s.hold(False), 12: lambda s: s.stop()})
    operator.source.hold(True)
    outcome = run_live(ToyPolicy(), world, planned(), sinks=memories, board=board, on_tick=operator, sleep=clock.sleep)
    assert outcome is Outcome.STOPPED
    assert all(tick.phase is LivePhase.WAITING for tick in operator.ticks[:11])
    assert operator.ticks[5].observation is not None, "a page has something to show while it waits"
    assert operator.ticks[-1].phase is LivePhase.ENDED
    assert len(memories.only.records) == 2, "of ticks 11 and 12, after the fresh press"


def test_letting_go_pauses_and_on_resume_the_policy_is_asked_anew() -> None:
    clock, memories = ToyClock(), Memories()
    board = board_of(clock)
    operator = Operator(board)
    operator.acts = {4: operator.let_go, 9: operator.press}
    policy = ToyPolicy()
    run_live(policy, ToyWorld(), planned(), sinks=memories, board=board, on_tick=operator, sleep=clock.sleep)
    phases = [tick.phase for tick in operator.ticks]
    assert phases[5:10] == [LivePhase.PAUSED] * 5
    records = memories.only.records
    assert [r.step for r in records] == list(range(len(records)))
    assert records[4].chunk_step == 0
    assert records[4].chunk == records[3].chunk + 1
    assert all(tick.record is None for tick in operator.ticks[5:10])


def steered(acts: Acts, *, board: KnobBoard, clock: ToyClock, wait: int = 0, **options) -> tuple[Memories, Operator]:
    """An episode with the feature mounted; the operator presses at the tick `wait`."""
    policy, memories, operator = ToyPolicy(), Memories(), Operator(board, acts)
    if wait:
        operator.holding, acts[wait] = False, operator.press
    with steer(policy, Steering.of(FEATURE, None)) as port:
        run_live(
            policy,
            ToyWorld(),
            planned(),
            sinks=memories,
            board=board,
            port=port,
            on_tick=operator,
            sleep=clock.sleep,
            **options,
        )
    return memories, operator


def test_the_same_settings_at_the_same_steps_give_the_same_episode() -> None:
    runs = []
    for wait, real_s in ((0, 0.0), (7, 0.001)):  # however long somebody takes to press, and however late the clock is
        clock = ToyClock()
        board = board_of(clock, Knob.feature("fast", 20.0))

        def late(source: Source, by: float = real_s, clock: ToyClock = clock) -> None:
            clock.now += by
            source.set("fast", 20.0)

        memories, _ = steered({wait + 3: late}, board=board, clock=clock, wait=wait)
        runs.append(memories.only.records)
    values = [[r.extra["knob.fast"] for r in records] for records in runs]
    assert len(set(values[0])) > 4, "it was slewed"
    np.testing.assert_array_equal(values[0], values[1])
    np.testing.assert_array_equal([r.executed for r in runs[0]], [r.executed for r in runs[1]])


def test_a_knob_reaches_the_model_slewed_and_moves_the_arm(tmp_path: Path) -> None:
    plain, _ = steered({}, board=board_of(clock := ToyClock()), clock=clock)
    clock, log = ToyClock(), tmp_path / "knobs.jsonl"
    board = board_of(clock, Knob("fast", low=-40, high=40, slew_per_s=200))
    memories, operator = steered({5: lambda s: s.set("fast", 40.0)}, board=board, clock=clock, log=log)
    records, before = memories.only.records, plain.only.records
    assert [r.applied["fast"] for r in records[:7]] == [None] * 6 + [20.0]
    assert records[6].chunk_step == 0, "chunks of two: the policy is asked at even steps"
    assert records[5].extra["knob.fast.setpoint"] == 40.0
    assert records[5].extra["knob.fast"] == 10.0, "200 a second at 20 Hz"
    assert np.array_equal(records[5].executed, before[5].executed)
    assert not np.allclose(records[6].executed, before[6].executed, atol=1e-3)

    (line,) = [json.loads(text) for text in log.read_text().splitlines()]
    assert line["knob"] == "fast"
    assert (line["old"], line["new"], line["source"], line["cause"]) == (None, 40.0, "operator", "set")
    assert (line["step"], line["chunk"]) == (6, 3)
    assert line["latency_s"] == pytest.approx(0.1), "two periods: it was set in the middle of a chunk"
    tick = next(tick for tick in operator.ticks if tick.changes)
    assert tick.record is not None
    assert tick.record.step == 6
    assert tick.knob_latency_s == line["latency_s"]


def test_another_instruction_is_given_at_the_next_question() -> None:
    clock = ToyClock()
    board = board_of(clock, instruction="do it")
    memories, _ = steered({3: lambda s: s.say("  do   that ")}, board=board, clock=clock)
    words = [r.observation.instruction for r in memories.only.records]
    assert words[:6] == ["do it"] * 4 + ["do that"] * 2


def test_the_replan_knob_counts_from_the_next_chunk() -> None:
    clock = ToyClock()
    board = board_of(clock, Knob.feature("fast"), Knob.replan(2))
    memories, _ = steered({2: lambda s: s.set("replan", 1)}, board=board, clock=clock)
    assert [r.chunk for r in memories.only.records[:6]] == [0, 0, 1, 2, 3, 4]


def test_recording_off_and_on_makes_takes_and_marks_are_in_their_step() -> None:
    clock = ToyClock()
    board = board_of(clock)
    acts: Acts = {
        2: lambda s: s.mark("here"),
        4: lambda s: s.record(False),
        8: lambda s: s.record(True),
    }
    memories, _ = steered(acts, board=board, clock=clock)
    first, second = memories.takes
    assert [r.step for r in first.records] == [0, 1, 2, 3]
    assert [r.extra["mark"] for r in first.records] == [0, 0, 1, 0]
    assert first.outcome is Outcome.STOPPED
    assert second.records[0].step == 8
    assert second.outcome is second.records[-1].outcome is not Outcome.RUNNING
    assert first.info is not None
    assert second.info is not None
    assert second.info.index == first.info.index + 1
    assert second.info.extra["take"] == 1


@pytest.mark.parametrize(("error", "outcome"), [(KeyboardInterrupt, Outcome.STOPPED), (RuntimeError, Outcome.FAILED)])
def test_an_episode_that_breaks_is_saved(error: type[BaseException], outcome: Outcome) -> None:
    clock, memories = ToyClock(), Memories()
    board = board_of(clock)

    def broken(_: Source) -> None:
        raise error("now")

    operator = Operator(board, {3: broken})
    with pytest.raises(error):
        run_live(ToyPolicy(), ToyWorld(), planned(), sinks=memories, board=board, on_tick=operator, sleep=clock.sleep)
    assert memories.only.outcome is outcome
    assert len(memories.only.records) == 3
    assert operator.ticks[-1].outcome is outcome


def test_a_simulation_may_run_unheld_and_as_fast_as_it_can() -> None:
    clock, memories = ToyClock(), Memories()
    board = board_of(clock)
    options = LiveOptions(hold_to_run=False, realtime=False, look_always=False)
    outcome = run_live(
        ToyPolicy(), ToyWorld(), planned(), sinks=memories, board=board, options=options, sleep=clock.sleep
    )
    assert outcome is memories.only.records[-1].outcome
    assert clock.now == 0
    assert [bool(r.observation.images) for r in memories.only.records[:4]] == [True, False, True, False]


def test_a_board_that_was_stopped_starts_nothing() -> None:
    clock, memories = ToyClock(), Memories()
    board = board_of(clock)
    operator = Operator(board)
    operator.source.stop()
    outcome = run_live(
        ToyPolicy(), ToyWorld(), planned(), sinks=memories, board=board, on_tick=operator, sleep=clock.sleep
    )
    assert outcome is Outcome.STOPPED
    assert memories.takes == []
    board.rearm()
    operator.source.hold(False)
    again = run_live(
        ToyPolicy(), ToyWorld(), planned(), sinks=memories, board=board, on_tick=operator, sleep=clock.sleep
    )
    assert again is memories.only.outcome is not Outcome.STOPPED
