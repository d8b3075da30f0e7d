"""What is shown: history, lamps, console, pictures, the shape of the arm."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlasteer.errors import ConfigError
from vlasteer.kinematics import UR5, UR5E, pose_matrix
from vlasteer.knobs import Knob, KnobBoard
from vlasteer.launch.page.arm_pose import follower_of
from vlasteer.launch.page.arm_shape import arm_parts, hand_parts, joint_frames
from vlasteer.launch.page.cameras import HEIGHT, mosaic
from vlasteer.launch.page.console import console_html, number, state_of
from vlasteer.launch.page.history import History
from vlasteer.launch.page.lamps import Level, lamps, milliseconds
from vlasteer.launch.page.plots import action_unit
from vlasteer.types import EE_NAMES, ActionKind, ActionSpec, Gripper, Observation, Phase, RobotStatus


class TestHistory:
    @given(st.lists(st.floats(0, 0.2), min_size=1, max_size=200), st.integers(2, 30))
    def test_the_newest_rows_in_order(self, waits, capacity):
        history, times = History(1, capacity), list(np.cumsum(waits))
        for time_s in times:
            history.add(time_s, np.array([2 * time_s]))
        rows = history.since(-1.0)
        assert rows[:, 0].tolist() == times[-capacity:]
        assert np.array_equal(rows[:, 1], 2 * rows[:, 0])

    def test_memory_does_not_grow(self):
        history = History(10, 600, 0.05)
        size = history.nbytes
        for i in range(200_000):
            history.add(i * 0.008, np.zeros(10))
        assert history.nbytes == size
        assert len(history.since(0.0)) == 600

    def test_rows_in_quick_succession_become_one(self):
        history = History(1, 100, 0.25)
        for i in range(64):
            history.add(i / 16, np.array([float(i)]))
        rows = history.since(0.0)
        assert len(rows) == 16
        assert rows[:, 1].tolist() == list(range(3, 64, 4)), "of each quarter second the newest"

    def test_only_what_is_recent(self):
        history = History(1, 100)
        for i in range(10):
            history.add(float(i), np.array([0.0]))
        assert len(history.since(7.0)) == 3
        history.clear()
        assert len(history.since(0.0)) == 0

    def test_too_small(self):
        with pytest.raises(ConfigError):
            History(0, 10)


def robot(**changes) -> RobotStatus:
    values = {
        "phase": Phase.RUNNING,
        "safety": "normal",
        "reason": "",
        "dry_run": False,
        "state_age_s": 0.008,
        "loop_rate_hz": 500.0,
        "latency_s": 0.1,
        "joints": np.zeros(6),
        "tcp_pose": np.zeros(6),
        "tcp_speed_m_s": 0.1,
        "camera_ages_s": {"wrist": 0.03},
    }
    return RobotStatus(**(values | changes))


def status(**changes):
    values = {
        "step": 3,
        "phase": "running",
        "rate_hz": 20.0,
        "inference_s": 0.05,
        "chunk_age_s": 0.2,
        "underruns": 0,
        "robot": robot(),
        "reading": SimpleNamespace(speed=1.0),
        "note": "",
        "outcome": SimpleNamespace(value="running"),
    }
    return SimpleNamespace(**(values | changes))


class TestLamps:
    board = KnobBoard([]).state()

    def levels(self, **changes) -> dict[str, Level]:
        return {lamp.label: lamp.level for lamp in lamps(status(**changes), self.board, 20.0, math.nan)}

    def test_all_is_well(self):
        levels = self.levels()
        assert levels.pop("knob to motion") is Level.OFF
        assert set(levels.values()) == {Level.OK}

    @pytest.mark.parametrize(
        ("changes", "lamp", "level"),
        [
            ({"robot": robot(safety="protective stop")}, "safety", Level.BAD),
            ({"robot": robot(state_age_s=0.07)}, "robot state", Level.WARN),
            ({"robot": robot(state_age_s=math.inf)}, "robot state", Level.BAD),
            ({"robot": robot(camera_ages_s={"wrist": 0.6})}, "camera wrist", Level.BAD),
            ({"rate_hz": 12.0}, "control loop", Level.BAD),
            ({"rate_hz": 12.0, "phase": "paused"}, "control loop", Level.OFF),
            ({"rate_hz": math.nan}, "control loop", Level.OK),
            ({"underruns": 2}, "underruns", Level.WARN),
            ({"inference_s": math.nan}, "inference", Level.OFF),
        ],
    )
    def test_what_is_wrong_shows(self, changes, lamp, level):
        assert self.levels(**changes)[lamp] is level

    def test_a_simulation_has_no_robot_lamps(self):
        assert set(self.levels(robot=None)) == {"control loop", "inference", "knob to motion"}

    def test_a_simulation_that_is_slowed_down_is_not_late(self):
        slowed = {"robot": None, "reading": SimpleNamespace(speed=0.25), "rate_hz": 5.0}
        assert self.levels(**slowed)["control loop"] is Level.OK

    @pytest.mark.parametrize(("seconds", "text"), [(0.085, "85 ms"), (1.2, "1.20 s"), (math.nan, "–"), (math.inf, "–")])
    def test_durations(self, seconds, text):
        assert milliseconds(seconds) == text


@pytest.mark.parametrize(
    ("kind", "scale", "unit"),
    [
        ("ee_delta", 0.05, "full scale"),
        ("ee_delta", 1.0, "m, rad"),
        ("joint_target", 1.0, "rad"),
        ("joint_velocity", 1.0, "rad/s"),
        ("unknown", 1.0, ""),
    ],
)
def test_what_an_action_is_measured_in(kind, scale, unit):
    assert (
        action_unit(ActionSpec(ActionKind(kind), Gripper.MINUS_OPEN_PLUS_CLOSED, (scale,) * 6, 20.0, EE_NAMES)) == unit
    )


class TestConsole:
    def test_every_knob_has_a_slider_a_switch_and_its_mark(self):
        knobs = {k.name: k for k in (Knob.feature("fast", 8.0, default=8.0), Knob.speed(0.3), Knob.replan(10))}
        html = console_html("twin", knobs, ["a", "b"], dry_run=True)
        for name in knobs:
            assert f'data-vl-slider="{name}"' in html
            assert f'data-vl-switch="{name}"' in html
        assert 'data-rest="0.0"' in html, "unsteered is off, wherever the knob begins"
        assert 'data-rest="0.3"' in html
        assert "dry run" in html
        assert "<option>b</option>" in html

    def test_names_are_escaped(self):
        html = console_html("<b>", {"<i>": Knob.feature('"<i>"', 1.0)}, (), dry_run=False)
        assert "<i>&quot;" not in html
        assert "&lt;b&gt;" in html

    def test_state_is_json_whatever_happens(self):
        board = KnobBoard([Knob.feature("fast", 8.0)])
        board.source("osc", live=True).set("fast", 2.0)
        shown = {"trouble": "", "task": "t", "pack": "", "hidden": (), "tabs": 1}
        for each in (None, status(), status(phase="ended"), status(robot=robot(reason="table"))):
            state = json.loads(state_of(each, board.state(), lamps(each, board.state(), 20.0, math.nan), **shown))
            assert state["knobs"]["fast"] == {"setpoint": 2.0, "value": None, "by": "osc", "stale": False}
            assert state["texts"]["setpoint:fast"] == "→ 2"
        assert state["texts"]["note"] == "table"

    @pytest.mark.parametrize(
        ("value", "text"), [(None, "off"), (0.0, "0"), (3.456, "3.46"), (12.0, "12"), (100.0, "100")]
    )
    def test_numbers(self, value, text):
        assert number(value) == text


class TestPictures:
    def test_side_by_side_at_one_height(self):
        one, two = np.full((480, 640, 3), 10, np.uint8), np.full((64, 64, 3), 200, np.uint8)
        whole = mosaic([one, two])
        assert whole.shape == (HEIGHT, round(HEIGHT * 4 / 3) + 4 + HEIGHT, 3)
        assert (whole[0, 0, 0], whole[0, -1, 0]) == (10, 200)

    def test_a_fourth_camera_begins_another_row(self):
        assert mosaic([np.zeros((HEIGHT, HEIGHT, 3), np.uint8)] * 4).shape[0] == 2 * HEIGHT + 4


class TestArm:
    @pytest.mark.parametrize("arm", [UR5, UR5E])
    def test_links_meet(self, arm):
        joints = np.array([0.3, -1.2, 1.5, -0.8, 0.4, 2.0])
        frames = joint_frames(arm, joints)
        assert np.allclose(frames[7], arm.forward(joints))
        for part in (*arm_parts(arm), *hand_parts()):
            assert part.faces.max() < len(part.vertices)
            assert np.all(np.isfinite(part.vertices))
        # The last tube ends at the flange.
        tip = arm_parts(arm)[-1].vertices[:, 2].max()
        assert np.allclose(frames[6] @ [0, 0, tip, 1], frames[7] @ [0, 0, 0, 1], atol=1e-6)

    def test_the_tabletops_arm_is_found_from_its_hand(self):
        follower = follower_of("tabletop_transport", UR5E)
        state = np.array([0.45, 0.1, 0.2, math.pi, 0.0, 0.0, 0.04, 0.04])
        pose = follower.read(status(robot=None, observation=Observation({}, "t", state)))
        assert pose is not None
        solved = follower.solve(pose)
        assert solved.joints is not None
        assert solved.gripper == 1.0
        flange = follower.base @ UR5E.forward(solved.joints)
        assert np.allclose((flange @ [0, 0, 0.145, 1])[:3], state[:3], atol=1e-9)

    def test_elsewhere_the_tool_alone(self):
        follower = follower_of("libero_goal", UR5E)
        state = np.array([0.1, 0.2, 1.1, 0.0, 0.0, 0.1])
        for time_s, moved in ((0.0, 0.0), (0.05, 0.01)):
            seen = Observation({}, "t", state + np.eye(6)[0] * moved, time_s)
            pose = follower.read(status(robot=None, observation=seen))
        assert pose is not None
        assert follower.solve(pose).joints is None
        assert pose.speed == pytest.approx(0.2)
        assert np.allclose(pose.pose, pose_matrix(seen.state))
