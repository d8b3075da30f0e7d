"""The board: ranges, slew, loss of sources, arbitration, hold-to-run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys import ToyClock

from vlasteer.errors import ConfigError, UnknownNameError
from vlasteer.knobs import Cause, Knob, KnobBoard, KnobKind

values = st.floats(allow_nan=False) | st.none()
durations = st.floats(0.0, 2.0)


class Board(KnobBoard):
    """A board with a clock to turn."""

    def __init__(self, *knobs: Knob) -> None:
        self.time = ToyClock()
        super().__init__(knobs or [Knob.feature("fast", 8.0), Knob("up", low=-4, high=4)], clock=self.time)

    def after(self, seconds: float):
        self.time.now += seconds
        return self.read()

    def setpoint(self, name: str = "fast") -> float | None:
        return self.state().knobs[name].setpoint


# -- ranges and slew ---------------------------------------------------------------------------------------------------
@given(
    low=st.floats(-20, 0),
    span=st.floats(0.1, 40),
    slew=st.floats(0.01, 100),
    neutral=st.floats(-30, 30),
    steps=st.lists(st.tuples(values, durations), max_size=12),
)
def test_a_value_stays_in_range_and_never_moves_faster_than_its_slew(low, span, slew, neutral, steps) -> None:
    knob = Knob("k", low=low, high=low + span, slew_per_s=slew, neutral=neutral)
    board = Board(knob)
    source = board.source("s", live=False)
    board.read()
    before: float | None = None
    for wanted, seconds in steps:
        taken = source.set("k", wanted)
        assert (taken is None) == (wanted is None)
        value = board.after(seconds).values["k"]
        assert value is None or knob.low <= value <= knob.high
        start = knob.rest if before is None else before
        end = knob.rest if value is None else value
        assert abs(end - start) <= slew * seconds * (1 + 1e-9) + 1e-9
        before = value


@given(values)
def test_it_arrives_where_it_was_set(wanted: float | None) -> None:
    board = Board()
    taken = board.source("s", live=False).set("fast", wanted)
    board.read()
    assert board.after(10.0).values["fast"] == taken


def test_on_begins_at_rest_and_off_ends_there() -> None:
    board = Board(Knob("gain", low=0, high=4, slew_per_s=1.0, neutral=1.0))
    source = board.source("s", live=False)
    source.set("gain", 3.0)
    assert board.read(0.5).values["gain"] == 1.5
    source.set("gain", None)
    assert board.read(0.25).values["gain"] == 1.25
    assert board.read(0.25).values["gain"] is None


def test_what_is_out_of_range_is_clamped_and_said() -> None:
    board = Board()
    source = board.source("page", live=True)
    assert source.set("fast", 99.0) == 16.0
    assert "99" in board.state().note
    assert source.set("fast", -float("inf")) == -16.0
    with pytest.raises(ConfigError, match="NaN"):
        source.set("fast", float("nan"))
    with pytest.raises(UnknownNameError, match="fast"):
        source.set("fasst", 1.0)
    assert board.setpoint() == -16.0


def test_loop_knobs() -> None:
    board = Board(Knob.speed(), Knob.replan(10, high=30))
    source = board.source("s", live=False)
    assert source.set("speed", 7.0) == 1.0
    assert source.set("speed", 0.0) == 0.05
    assert source.set("replan", 4.4) == 4
    with pytest.raises(ConfigError, match="off"):
        source.set("speed", None)
    board.read()
    reading = board.after(10)
    assert (reading.speed, reading.replan) == (0.05, 4)
    assert reading.values == {}, "the model has no such knobs"


@pytest.mark.parametrize(
    "wrong",
    [
        {"low": 1.0, "high": 1.0},
        {"high": float("inf")},
        {"default": 99.0},
        {"slew_per_s": 0.0},
        {"stale_after_s": 0.0},
        {"when_stale": "explode"},
        {"members": ("a",)},
        {"kind": KnobKind.GROUP},
        {"kind": KnobKind.SPEED, "low": 0.1, "high": 2.0, "default": 1.0},
        {"kind": KnobKind.SPEED, "low": 0.1, "high": 1.0},
        {"kind": KnobKind.SPEED, "low": 0.1, "high": 1.0, "default": 1.0, "when_stale": "decay"},
        {"kind": KnobKind.REPLAN, "low": 0.0, "high": 9.0, "default": 1.0},
    ],
)
def test_knobs_that_make_no_sense_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError, match="k"):
        Knob("k", **wrong)


def test_boards_that_make_no_sense_are_refused() -> None:
    for knobs in (
        [Knob("a"), Knob("a")],
        [Knob.speed(), Knob("s2", KnobKind.SPEED, 0.1, 1.0, 1.0)],
        [Knob("instruction")],
    ):
        with pytest.raises(ConfigError):
            KnobBoard(knobs)
    with pytest.raises(UnknownNameError, match="fast"):
        KnobBoard([Knob("fast"), Knob.group("g", ("fasst",))])


# -- sources that are lost ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("rule", "setpoint"), [("freeze", 2.0), ("decay", None)])
def test_a_lost_source_freezes_or_decays_its_knobs_and_releases(rule, setpoint) -> None:
    board = Board(Knob("fast", low=-10, high=10, slew_per_s=2.0, stale_after_s=1.0, when_stale=rule))
    source = board.source("page", live=True)
    board.read()
    source.set("fast", 10.0)
    source.hold(True)
    assert board.after(0.2).held
    assert not board.after(0.8).held
    assert board.state().knobs["fast"].stale is False
    reading = board.after(0.5)
    assert reading.values["fast"] == pytest.approx(2.0 if rule == "freeze" else 1.0)
    state = board.state().knobs["fast"]
    assert (state.setpoint, state.stale, state.source) == (pytest.approx(setpoint), True, "page")
    (change,) = reading.changes
    assert (change.cause, change.source, change.old) == (Cause.LOST, "page", 10.0)
    assert board.after(5.0).values["fast"] == pytest.approx(setpoint)
    source.beat()
    assert board.after(0.0).setpoints["fast"] == pytest.approx(setpoint), "a source that is back has to move it"
    source.set("fast", 4.0)
    assert board.state().knobs["fast"].stale is False


def test_a_beating_source_and_one_that_need_not_beat_are_not_lost() -> None:
    board = Board()
    live, script = board.source("live", live=True), board.source("script", live=False)
    live.set("fast", 1.0)
    script.set("up", 1.0)
    for _ in range(20):
        live.beat()
        board.after(0.5)
    assert not board.state().knobs["fast"].stale
    assert not board.state().knobs["up"].stale
    script.close()
    board.after(0.1)
    assert board.state().knobs["up"].stale, "closed is lost"
    assert script.set("up", 2.0) == 2.0
    assert board.setpoint("up") == 1.0, "and counts no more"
    board.source("script", live=False)
    with pytest.raises(ConfigError, match="live"):
        board.source("live", live=True)


# -- arbitration -------------------------------------------------------------------------------------------------------
def test_the_higher_rank_wins_and_gives_back() -> None:
    board = Board()
    low, high = board.source("script", live=False, rank=-1), board.source("page", live=True)
    low.set("fast", 1.0)
    high.set("fast", 5.0)
    low.set("fast", 2.0)
    assert board.setpoint() == 5.0
    assert "higher rank" in board.state().note
    assert board.setpoint("up") is None, "knob by knob"
    high.release("fast")
    assert board.setpoint() == 2.0, "what it wanted meanwhile"
    high.set("fast", 5.0)
    reading = board.after(3.0)
    assert reading.setpoints["fast"] == 2.0, "a lost source gives back too"
    assert board.state().knobs["fast"].source == "script"
    low.release("fast")
    assert board.setpoint() is None, "nobody is left: the default"


def test_of_equals_the_last_who_moved_it_has_it() -> None:
    board = Board()
    one, two = board.source("one", live=False), board.source("two", live=False)
    one.set("fast", 1.0)
    two.set("fast", 2.0)
    assert board.setpoint() == 2.0
    one.release("fast")
    assert board.setpoint() == 2.0, "it was not one's any more"
    one.set("fast", 3.0)
    one.release("fast")
    assert board.setpoint() is None, "what two wanted is forgotten"


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["set", "release", "close"]), values), max_size=30))
def test_whoever_does_what_one_owner_of_highest_rank_is_left(actions) -> None:
    board = Board()
    ranks = (0, 0, 1, 2)
    sources = [board.source(str(i), live=False, rank=rank) for i, rank in enumerate(ranks)]
    wants: dict[int, float | None] = {}
    closed: set[int] = set()
    for who, action, value in actions:
        if who in closed:
            continue
        if action == "set":
            wants[who] = sources[who].set("fast", value)
        elif action == "release":
            sources[who].release("fast")
            wants.pop(who, None)
        else:
            sources[who].close()
            closed.add(who)
            wants.pop(who, None)
        board.read()
    top = max((w for w in wants if w >= 2), default=None)
    if top is not None:
        assert board.setpoint() == wants[top]
        assert board.state().knobs["fast"].source == str(top)


def test_groups_move_their_members_in_proportion() -> None:
    board = Board(Knob("fast", low=-16, high=16), Knob("up", low=0, high=4), Knob.group("both", ("fast", "up")))
    source = board.source("page", live=True)
    source.set("both", 0.5)
    assert (board.setpoint("fast"), board.setpoint("up")) == (8.0, 2.0)
    source.set("both", -1.0)
    assert (board.setpoint("fast"), board.setpoint("up")) == (-16.0, 0.0)
    source.set("fast", 3.0)
    assert board.setpoint("up") == 0.0
    reading = board.read()
    assert set(reading.values) == {"fast", "up"}
    assert {c.knob for c in reading.changes} == {"fast", "up", "both"}
    source.set("both", None)
    assert (board.setpoint("fast"), board.setpoint("up")) == (None, None)
    source.set("both", 1.0)
    source.release("both")
    assert board.setpoint("fast") is None


# -- changes -----------------------------------------------------------------------------------------------------------
def test_changes_are_told_once_with_the_newest_time_and_only_if_something_changed() -> None:
    board = Board()
    source = board.source("page", live=True)
    source.set("fast", 1.0)
    board.time.now = 0.3
    source.set("fast", 2.0)
    source.set("up", 1.0)
    source.set("up", None)
    source.say("go up")
    source.mark("here")
    reading = board.read()
    fast, words, mark = reading.changes
    assert (fast.time_s, fast.old, fast.new, fast.source) == (0.3, None, 2.0, "page")
    assert (words.knob, words.old, words.new) == ("instruction", "", "go up")
    assert (mark.knob, mark.new) == ("mark", "here")
    assert reading.instruction == "go up"
    assert reading.marks == ("here",)
    assert board.read().changes == ()
    source.say("  ")
    assert board.read().instruction == "go up"
    assert "empty" in board.state().note


# -- hold-to-run -------------------------------------------------------------------------------------------------------
def test_a_hold_has_to_be_renewed_and_then_pressed_anew() -> None:
    board = Board()
    source = board.source("page", live=True)
    source.hold(True)
    for _ in range(5):
        board.time.now += 0.2
        assert board.held()
        source.hold(True)
    board.time.now += 0.26
    assert not board.held()
    source.hold(True)
    assert not board.held(), "that is no new press"
    source.hold(False)
    source.hold(True)
    assert board.held()


def test_one_holds_at_a_time_and_a_waiting_press_does_not_take_over() -> None:
    board = Board()
    one, two = board.source("one", live=True), board.source("two", live=True)
    one.hold(True)
    two.hold(True)
    assert board.state().holder == "one"
    two.hold(False)
    assert board.held(), "who does not hold cannot release"
    two.hold(True)
    one.hold(False)
    two.hold(True)
    assert not board.held()
    two.hold(False)
    two.hold(True)
    assert board.state().holder == "two"
    two.close()
    assert not board.held(), "at once"


def test_stop_counts_from_anybody_and_lasts_until_rearmed() -> None:
    board = Board()
    one, two = board.source("one", live=True), board.source("two", live=True)
    one.hold(True)
    two.stop()
    assert not board.held()
    reading = board.read()
    assert reading.stop
    assert not reading.held
    assert (board.stopping, board.stopped_by) == (True, "two")
    one.hold(False)
    one.hold(True)
    assert not board.held()
    board.rearm()
    assert not board.held(), "a press of before the rearming"
    one.hold(False)
    one.hold(True)
    assert board.held()
    board.drop_hold()
    one.hold(True)
    assert not board.held()


def test_presses_are_told_apart_and_a_lost_one_ends() -> None:
    board = Board()
    one, two = board.source("one", live=True), board.source("two", live=True)
    assert board.press() == 0
    one.hold(True)
    first = board.press()
    two.hold(True)
    one.hold(True)
    assert board.press() == first > 0, "renewed, and by nobody else"
    one.hold(False)
    one.hold(True)
    second = board.press()
    assert second not in (0, first)
    board.lose_hold(first)
    board.lose_hold(0)
    assert board.press() == second, "another one was lost"
    board.lose_hold(second)
    one.hold(True)
    assert board.press() == 0
    assert "press again" in board.state().note


@given(st.lists(st.tuples(st.integers(0, 1), st.booleans(), st.floats(0, 0.6)), max_size=40))
def test_nothing_is_held_without_a_fresh_press(actions) -> None:
    """A model: a source holds from a press that began while nobody held, as long as no gap exceeds 0.25 s."""
    board = Board()
    sources = [board.source(str(i), live=True) for i in range(2)]
    down, owner, renewed, now = [False, False], None, 0.0, 0.0
    for who, held, pause in actions:
        now += pause
        board.time.now = now
        if owner is not None and now - renewed > 0.25:
            owner = None
        assert board.held() == (owner is not None)
        sources[who].hold(held)
        if not held:
            owner = None if owner == who else owner
        elif owner == who or (owner is None and not down[who]):
            owner, renewed = who, now
        down[who] = held
        assert board.held() == (owner is not None)


# -- threads -----------------------------------------------------------------------------------------------------------
