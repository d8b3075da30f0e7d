"""The parts of `vlasteer drive` that need no robot: panel, status line, preflight table, permission, places, scene."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from toys import ToyPolicy, ToyWorld

from vlasteer.anatomy import Neuron
from vlasteer.envs.tabletop.gripper import TCP_OFFSET
from vlasteer.errors import ConfigError, UnknownNameError, WorldError
from vlasteer.kinematics import UR5E, pose_matrix
from vlasteer.knobs import Knob, KnobBoard, KnobKind
from vlasteer.launch.driving import permission, places, transport
from vlasteer.launch.driving.operators import attend
from vlasteer.launch.driving.panel import make_panel
from vlasteer.launch.driving.preflight_table import PreflightTable, preflight_table
from vlasteer.launch.driving.status_line import StatusLine, describe
from vlasteer.launch.options import SteeringOptions
from vlasteer.live import LivePhase, LiveStatus
from vlasteer.robots.ur.config import RobotConfig
from vlasteer.robots.ur.preflight import Check
from vlasteer.steering import Feature, FeaturePack
from vlasteer.types import EpisodeKey, Outcome, Phase, RobotStatus


def pack_of(*names: str) -> FeaturePack:
    features = {name: Feature.of(name, [Neuron("vlm", 0, i)]) for i, name in enumerate(names)}
    return FeaturePack(features, "toy-hash", "toy")


def panel(policy: ToyPolicy, *wanted: str, **options):
    return make_panel(policy, SteeringOptions(**options), wanted, speed=0.3, replan=5, replanning=True)


@pytest.fixture
def pack(tmp_path: Path) -> str:
    path = tmp_path / "pack.json"
    pack_of("fast", "slow", "up").save(path)
    return str(path)


# --- panel ------------------------------------------------------------------------------------------------------------


def test_what_is_steered_begins_turned_and_what_is_wanted_begins_off(pack) -> None:
    made = panel(ToyPolicy(), "up", pack=pack, steer=("fast=3",))
    assert made.steering.names == ("fast", "up")
    assert {term.name: term.factor for term in made.steering} == {"fast": 3.0, "up": None}
    fast, up, speed, replan = made.knobs
    assert (fast.default, fast.low, fast.high) == (3.0, -6.0, 6.0)
    assert (up.default, up.low, up.high) == (None, -8.0, 8.0)
    assert (speed.kind, speed.default) == (KnobKind.SPEED, 0.3)
    assert (replan.kind, replan.default) == (KnobKind.REPLAN, 5.0)


def test_a_pack_alone_brings_all_its_features_off(pack) -> None:
    made = panel(ToyPolicy(), pack=pack)
    assert made.steering.names == ("fast", "slow", "up")
    assert all(term.factor is None for term in made.steering)


def test_a_policy_without_pack_has_the_knobs_of_the_loop_only() -> None:
    made = panel(ToyPolicy())
    assert made.steering.names == ()
    assert made.pack is None
    assert [knob.name for knob in made.knobs] == ["speed", "replan"]


def test_the_operator_goes_to_every_feature_and_scale_rests_at_one(pack) -> None:
    made = panel(ToyPolicy(), pack=pack, operator="scale", steer=("fast=3",))
    assert {term.operator.value for term in made.steering} == {"scale"}
    assert made.knobs[0].neutral == 1.0


def test_another_pack_brings_its_features_off_and_under_names_of_their_own(pack, tmp_path) -> None:
    others = tmp_path / "others.json"
    features = {"fast": Feature.of("fast", [Neuron("vlm", 0, 7)]), "down": Feature.of("down", [Neuron("vlm", 0, 8)])}
    FeaturePack(features, "toy-hash", "toy").save(others)
    options = SteeringOptions(pack=pack, steer=("fast=3",))
    made = make_panel(ToyPolicy(), options, (), [str(others)], speed=0.3, replan=5, replanning=False)
    assert {term.name: term.factor for term in made.steering} == {"fast": 3.0, "fast@others": None, "down": None}
    assert made.packs == {"pack": ("fast",), "others": ("fast@others", "down")}
    assert made.pack is not None
    assert made.pack["fast@others"].neurons == features["fast"].neurons
    assert made.pack["fast"].neurons != features["fast"].neurons
    with pytest.raises(ConfigError, match="two feature packs are named 'others'"):
        make_panel(ToyPolicy(), options, (), [str(others)] * 2, speed=0.3, replan=5, replanning=False)


def test_no_such_feature(pack) -> None:
    with pytest.raises(UnknownNameError, match="sideways"):
        panel(ToyPolicy(), "sideways", pack=pack)


# --- status line ------------------------------------------------------------------------------------------------------


def status_of(phase: LivePhase = LivePhase.RUNNING, robot: RobotStatus | None = None, **changes) -> LiveStatus:
    board = KnobBoard([Knob.feature("fast", 2.0, default=2.0), Knob.feature("slow", 2.0), Knob.speed(0.5)])
    status = LiveStatus(
        step=7, phase=phase, rate_hz=19.96, inference_s=0.0413, chunk_age_s=0.1, underruns=2, rejected=0,
        reading=board.read(), robot=robot, record=None, observation=None, outcome=Outcome.RUNNING, chunk=1,
        knob_latency_s=math.nan, changes=(), note="",
    )  # fmt: skip
    return replace(status, **changes)


ROBOT = RobotStatus(
    phase=Phase.RUNNING, safety="normal", reason="tcp speed", dry_run=False, state_age_s=0.004, loop_rate_hz=125.2,
    latency_s=0.131, joints=np.zeros(6), tcp_pose=np.zeros(6), tcp_speed_m_s=0.112, camera_ages_s={"image": 0.047},
)  # fmt: skip


def test_the_line_has_rate_latency_freshness_safety_and_knobs() -> None:
    assert describe(status_of(robot=ROBOT), "slow") == (
        "running | step 7 | 20.0 Hz | policy 41 ms | running, normal: tcp speed | latency 131 ms | oldest 47 ms | "
        "tool 0.11 m/s | servo 125 Hz | underruns 2 | fast 2 | >slow off | speed 0.5"
    )


def test_the_badge_and_the_hints() -> None:
    assert describe(status_of(LivePhase.WAITING), dry_run=True).startswith("DRY RUN | waiting (press and hold to run)")
    assert "paused (press and hold to go on)" in describe(status_of(LivePhase.PAUSED))
    assert describe(status_of(rate_hz=math.nan, inference_s=math.nan)).count(" - ") == 2
    assert describe(status_of(note="an answer came too late")).endswith("| an answer came too late")


def test_the_note_of_a_robot_that_stopped_itself_is_its_first_reason() -> None:
    line = StatusLine(stream=io.StringIO())
    line.tick(status_of(robot=ROBOT))
    assert line.note == ""
    for reason in ("a force of 90 N at the tool", "protective stop"):
        line.tick(status_of(robot=replace(ROBOT, phase=Phase.STOPPED, reason=reason)))
    assert line.note == "a force of 90 N at the tool"
    line.tick(status_of(robot=ROBOT, note="an answer came too late"))
    assert line.note == "an answer came too late"


def test_without_a_terminal_there_is_a_line_for_every_change() -> None:
    stream = io.StringIO()
    line = StatusLine(stream=stream)
    for robot in (ROBOT, ROBOT, replace(ROBOT, safety="protective stop", phase=Phase.STOPPED)):
        line.tick(status_of(robot=robot))
    line.close()
    assert len(stream.getvalue().splitlines()) == 2
    assert "protective stop" in stream.getvalue()


def test_on_a_terminal_it_stays_in_place_and_within_its_width(monkeypatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    line = StatusLine(stream=stream)
    for step in range(50):
        line.tick(status_of(robot=ROBOT, step=step))
    line.close()
    shown = stream.getvalue().split("\r\x1b[K")[1:]
    assert 1 <= len(shown) < 50
    assert all(len(text.rstrip("\n")) <= 59 for text in shown)
    assert stream.getvalue().count("\n") == 1


# --- preflight table --------------------------------------------------------------------------------------------------


def test_the_table_marks_what_is_wrong(capsys) -> None:
    rows = [Check("tcp", "[0, 0, 0.1]", "[0, 0, 0.2]", ok=False), Check("model", "UR5", "UR5", ok=True)]
    world = SimpleNamespace(checks=rows)
    table = PreflightTable(world)  # pyright: ignore[reportArgumentType]
    table.show()
    table.show()
    printed = capsys.readouterr().err
    assert printed == preflight_table(rows) + "\n"
    assert "!!  tcp    [0, 0, 0.2]   WRONG, expected: [0, 0, 0.1]" in printed
    assert "ok  model  UR5\n" in printed
    PreflightTable(ToyWorld()).show()  # a simulation has none
    assert capsys.readouterr().err == ""


# --- permission and sources -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("page", "schedule", "real", "allowed"),
    [
        (True, None, True, True),
        (False, Path("knobs.yaml"), False, True),
        (False, Path("knobs.yaml"), True, False),
        (False, None, False, False),
        (False, None, True, False),
    ],
)
def test_who_may_give_permission_without_a_terminal(monkeypatch, page, schedule, real, allowed) -> None:
    monkeypatch.setattr(permission, "at_terminal", lambda: False)
    if allowed:
        permission.require_permission(page=page, schedule=schedule, real=real)
    else:
        with pytest.raises(ConfigError):
            permission.require_permission(page=page, schedule=schedule, real=real)


def sources(schedule: Path, *, real: bool) -> SimpleNamespace:
    return SimpleNamespace(schedule=schedule, real=real, osc=None, midi=None, gamepad=False)


def test_a_schedule_never_holds_a_robot(tmp_path: Path) -> None:
    holding, turning = tmp_path / "holding.yaml", tmp_path / "turning.yaml"
    holding.write_text("- {step: 0, hold: true}\n")
    turning.write_text("- {step: 3, speed: 0.2}\n")
    board = KnobBoard([Knob.speed()])
    with pytest.raises(ConfigError, match="a person holds a robot"), attend(board, sources(holding, real=True)):
        pass
    with attend(board, sources(turning, real=True)) as present:
        assert len(present.ticks) == 1
    with attend(board, sources(holding, real=False)) as present:
        present.ticks[0](status_of(LivePhase.WAITING, step=0))
        assert board.held()
    assert not board.held()


# --- places -----------------------------------------------------------------------------------------------------------


def test_a_camera_that_the_robot_does_not_have_is_missed_before_anything_opens() -> None:
    config = replace(RobotConfig.of_twin("127.0.0.9"), cameras={})
    with (
        pytest.raises(ConfigError, match=r"looks through camera 'wrist'.*it has none"),
        places.robot(config, ("wrist",), options=places.RobotOptions()),
    ):
        pass


def test_tasks_and_starts_that_do_not_exist() -> None:
    place = places.Place(ToyWorld(), ("rise", "fall"), 3)
    assert place.instruction(EpisodeKey(1, 2, 0)) == "fall"
    with pytest.raises(ConfigError, match="--task 2"):
        place.instruction(EpisodeKey(2, 0, 0))
    with pytest.raises(ConfigError, match="--start 3"):
        place.instruction(EpisodeKey(0, 3, 0))
    assert places.Place(ToyWorld(), ("rise",), None).instruction(EpisodeKey(0, 99, 0)) == "rise"
    place.rest()  # a simulation needs none


def test_a_stale_camera_is_left_out_of_the_page() -> None:
    class Dark:
        name = "image"

        def frame(self):
            raise WorldError("nothing to see")

    place = places.Place(ToyWorld(), ("rise",), 1, cameras={"image": Dark()})  # pyright: ignore[reportArgumentType]
    assert place.look() == {}


# --- the scene --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, 7])
def test_the_hand_is_where_the_layout_holds_the_cube(number: int) -> None:
    layout = transport.transport_layout(number)
    assert layout.holding
    joints = transport.start_joints(number)
    tool = (UR5E.forward(joints) @ pose_matrix((0, 0, TCP_OFFSET, 0, 0, 0)))[:3, 3]
    np.testing.assert_allclose(RobotConfig.of_twin("127.0.0.9").to_base(layout.hand), tool, atol=2e-3)


def test_scenes_are_numbered_by_task_and_start() -> None:
    count = len(transport.tasks())
    numbers = {transport.scene_number(task, start) for task in range(count) for start in range(3)}
    assert numbers == set(range(3 * count))
    for number in (0, 7):
        task = number % count
        layout = transport.transport_layout(number)
        assert layout.task == transport.tasks()[task]
        assert f"the {layout.task.colour} cube" in transport.instructions()[task]
