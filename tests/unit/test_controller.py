"""The controller: staging, which step answers which change, the log, the relay of hold-to-run."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from toys import ToyClock, ToyPolicy, ToyRobot

from vlasteer.anatomy import Neuron
from vlasteer.controller import AppliedChange, Controller, Moved
from vlasteer.errors import OutputError, UnknownNameError, WorldError
from vlasteer.knobs import Knob, KnobBoard
from vlasteer.steering import Feature, Steering, steer
from vlasteer.types import EpisodeKey

FEATURE = Feature.of("fast", [Neuron("vlm", 0, 1)])
KNOBS = [Knob("fast", low=-16, high=16), Knob.speed(), Knob.replan()]


def test_coefficients_reach_the_model_at_its_next_step_and_not_before() -> None:
    policy = ToyPolicy()
    board = KnobBoard(KNOBS)
    source = board.source("s", live=False)
    with steer(policy, Steering.of(FEATURE, None)) as port, Controller(board, port=port) as controller:
        source.set("fast", 5.0)
        controller.apply()
        assert port.applied() == {"fast": None}
        chunk = policy.act(policy.example())
        assert chunk.applied == {"fast": 5.0}
        source.set("fast", None)
        controller.apply()
        assert policy.act(policy.example()).applied == {"fast": None}


def test_a_knob_that_is_not_mounted_is_an_error() -> None:
    board = KnobBoard([Knob("quick")])
    with (
        steer(ToyPolicy(), Steering.of(FEATURE, None)) as port,
        Controller(board, port=port) as controller,
        pytest.raises(UnknownNameError, match="quick"),
    ):
        controller.apply()


def test_every_change_is_told_with_the_step_that_first_answered_it(tmp_path: Path) -> None:
    clock = ToyClock()
    board, log, told = KnobBoard(KNOBS, clock=clock), tmp_path / "knobs.jsonl", []
    source = board.source("page", live=True)
    with Controller(board, log=log, on_change=told.append) as controller:
        controller.apply()
        asked = controller.generation
        clock.now = 1.0
        source.set("fast", 4.0)
        source.set("speed", 0.5)
        source.mark("here")
        controller.apply()
        # The step that is executed now answers a question of before; it was paced after.
        first = controller.moved(Moved(step=7, chunk=2, asked=asked, paced=controller.generation, time_s=1.1))
        assert {a.change.knob for a in first} == {"speed", "mark"}
        assert controller.moved(Moved(8, 2, asked, controller.generation, 1.2)) == ()
        second = controller.moved(Moved(9, 3, controller.generation, controller.generation, 1.3))
        assert [a.change.knob for a in second] == ["fast"]
        assert (second[0].step, second[0].chunk, second[0].latency_s) == (9, 3, pytest.approx(0.3))
        source.set("fast", 5.0)
        controller.apply()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(line["knob"], line["step"], line["chunk"]) for line in lines] == [
        ("speed", 7, 2),
        ("mark", 7, 2),
        ("fast", 9, 3),
        ("fast", None, None),
    ]
    assert lines[-1]["old"] == 4.0
    assert lines[-1]["new"] == 5.0
    assert [a.as_json() for a in told] == lines


def test_a_log_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        Controller(KnobBoard([]), log=tmp_path / "absent" / "knobs.jsonl")


class Listener(ToyRobot):
    """A robot that remembers every permission, and can refuse one."""

    def __init__(self) -> None:
        super().__init__(ToyClock())
        self.reset(EpisodeKey(0, 0, 0))
        self.heard: list[bool] = []
        self.told = threading.Condition()
        self.breaks = False

    def permit(self, held: bool, press: int = 0) -> None:
        if self.breaks:
            raise WorldError("the servo process is gone")
        super().permit(held, press)
        with self.told:
            self.heard.append(held)
            self.told.notify_all()

    def after(self, count: int) -> list[bool]:
        """The next so many permissions."""
        with self.told:
            begin = len(self.heard)
            assert self.told.wait_for(lambda: len(self.heard) >= begin + count, timeout=5)
            return self.heard[begin : begin + count]


def test_the_hold_is_relayed_while_the_loop_is_busy() -> None:
    board, robot = KnobBoard([]), Listener()
    source = board.source("s", live=True)
    with Controller(board, robot=robot):
        assert robot.after(2) == [False, False]
        ended = threading.Event()

        def hold() -> None:
            while not ended.wait(0.02):
                source.hold(True)

        holder = threading.Thread(target=hold)
        holder.start()
        assert robot.after(4)[1:] == [True] * 3, "nobody called apply"
        ended.set()
        holder.join()
        assert False in robot.after(12), "the hold was not renewed"
    assert not robot.permitted


def test_a_press_that_the_robot_does_not_count_ends_on_the_board_and_the_next_one_counts() -> None:
    board, robot = KnobBoard([]), Listener()
    source = board.source("s", live=True)
    with Controller(board, robot=robot) as controller:
        source.hold(True)
        assert controller.apply().held
        robot.refused_press = board.press()  # it came too late
        robot.after(2)
        assert not board.held()
        assert "press again" in board.state().note
        source.hold(True)
        assert not board.held(), "the same press"
        source.hold(False)  # shorter than the relay's period: the robot is never told
        source.hold(True)
        controller.apply()
        assert board.held()
        assert robot.permitted


def test_leaving_withdraws_the_permission() -> None:
    board, robot = KnobBoard([]), Listener()
    with Controller(board, robot=robot) as controller:
        board.source("s", live=True).hold(True)
        assert controller.apply().held
        assert robot.permitted, "at once"
    assert robot.heard[-1] is False


def test_a_robot_that_refuses_the_permission_ends_the_loop() -> None:
    board, robot = KnobBoard([]), Listener()
    with Controller(board, robot=robot) as controller:
        robot.after(1)
        robot.breaks = True

        def run() -> None:
            for _ in range(500):
                controller.apply()
                threading.Event().wait(0.01)

        with pytest.raises(WorldError, match="servo"):
            run()


def test_a_change_without_effect_is_one_line_too() -> None:
    from vlasteer.knobs import KnobChange

    line = AppliedChange(KnobChange(1.0, "instruction", "page", "a", "b")).as_json()
    assert (line["old"], line["new"], line["step"], line["latency_s"]) == ("a", "b", None, None)
