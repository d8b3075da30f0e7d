"""What tabs say, and what reaches the board."""

from __future__ import annotations

import json

import pytest

from vlasteer.errors import InputError
from vlasteer.knobs import Knob, KnobBoard
from vlasteer.launch.page.operator import OperatorDesk


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def board(clock) -> KnobBoard:
    return KnobBoard([Knob.feature("fast", 8.0), Knob.feature("up", 4.0), Knob.speed()], clock=clock)


class Tab:
    """A tab without a browser."""

    def __init__(self, desk: OperatorDesk, clock: Clock, number: int = 1) -> None:
        self.desk, self.clock, self.id = desk, clock, number
        desk._lease.join(number)

    def told(self) -> dict:
        return json.loads(self.desk.tick(self.id, self.clock.now))

    def say(self, **message) -> None:
        self.desk.hear(self.id, json.dumps(message), self.clock.now)

    def press(self) -> None:
        self.say(press=self.told()["n"])


@pytest.fixture
def desk(board) -> OperatorDesk:
    return OperatorDesk(board, {"a": ("fast",), "b": ("fast", "up")})


@pytest.fixture
def tab(desk, clock) -> Tab:
    return Tab(desk, clock)


class TestHold:
    def test_press_hold_release(self, tab, board, clock):
        tab.press()
        assert board.held()
        for _ in range(20):
            clock.now += 0.05
            message = tab.told()
            assert message["hold"] == "mine"
            tab.say(held=message["n"])
        assert board.held()
        tab.say(release=1)
        assert not board.held()
        assert tab.told()["hold"] == "free"

    def test_silence_releases(self, tab, board, clock):
        tab.press()
        clock.now += 0.26
        assert not board.held()
        assert tab.told()["hold"] == "lapsed"

    def test_late_words_do_not_revive_it(self, tab, board, clock):
        tab.press()
        number = tab.told()["n"]
        clock.now += 0.3
        tab.say(held=number)
        tab.say(held=tab.told()["n"])
        assert not board.held()

    def test_another_source_holds(self, tab, board):
        board.source("keyboard", live=True).hold(True)
        tab.press()
        assert board.state().holder == "keyboard"
        tab.say(release=1)
        assert board.held(), "the page's release is not the keyboard's"

    def test_second_tab_watches(self, tab, desk, board, clock):
        other = Tab(desk, clock, 2)
        tab.press()
        other.press()
        assert other.told()["hold"] == "other"
        other.say(release=1)
        assert board.held()

    def test_after_a_stop_the_hold_does_not_count(self, tab, board):
        tab.press()
        tab.say(stop=True)
        assert board.state().stop
        assert not board.held()
        assert tab.told()["hold"] == "lapsed"

    def test_beats_keep_the_source_alive(self, tab, board, clock):
        tab.say(set={"fast": 3.0})
        for _ in range(30):
            clock.now += 0.1
            tab.say(beat=tab.told()["n"])
            board.read()
        assert not board.state().knobs["fast"].stale

    def test_without_beats_its_knobs_are_lost(self, tab, board, clock):
        tab.say(set={"fast": 3.0})
        clock.now += 2.0
        board.read()
        assert board.state().knobs["fast"].stale


class TestKnobsAndWords:
    def test_set_off_reset(self, tab, board):
        tab.say(set={"fast": 3.5, "speed": 0.5})
        assert board.read().setpoints["fast"] == 3.5
        tab.say(set={"fast": None})
        tab.say(reset="speed")
        setpoints = board.read().setpoints
        assert setpoints["fast"] is None
        assert setpoints["speed"] == 1.0

    def test_words_recording_marks(self, tab, board):
        tab.say(say="lift the cube")
        tab.say(record=False)
        tab.say(mark="here")
        reading = board.read()
        assert (reading.instruction, reading.recording, reading.marks) == ("lift the cube", False, ("here",))

    def test_another_pack_turns_off_what_is_no_longer_shown(self, tab, desk, board):
        tab.say(pack="b")
        tab.say(set={"fast": 2.0, "up": 1.0})
        tab.say(pack="a")
        setpoints = board.read().setpoints
        assert desk.pack == "a"
        assert (setpoints["fast"], setpoints["up"]) == (2.0, None)

    @pytest.mark.parametrize(
        "message",
        [
            "",
            "[1]",
            "{",
            '{"jump": 1}',
            '{"set": {"fast": "3"}}',
            '{"set": {"fast": true}}',
            '{"set": {"fast": NaN}}',
            '{"set": {"slow": 1}}',
            '{"set": {}}',
            '{"say": 3}',
            '{"pack": "c"}',
            '{"say": "' + "x" * 5000 + '"}',
            b"\xff\xfe",
        ],
    )
    def test_what_cannot_be_done_is_refused(self, desk, tab, board, message):
        with pytest.raises(InputError):
            desk.hear(tab.id, message, 100.0)
        assert board.read().setpoints == {"fast": None, "up": None, "speed": 1.0}
