"""What the tabletop's worlds do beyond the contract that all worlds keep (tests/contract)."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from vlasteer.envs import tabletop
from vlasteer.envs.tabletop.scene import CAMERAS
from vlasteer.envs.tabletop.simulation import Simulation
from vlasteer.envs.tabletop.splits import HELD_OUT, TRAIN, Axis
from vlasteer.envs.tabletop.tasks import TaskKind, tasks_of
from vlasteer.errors import ConfigError, UnknownNameError, WorldError
from vlasteer.registry import make_world
from vlasteer.types import EpisodeKey, Outcome
from vlasteer.workers import RemoteWorld, close_all

STILL = np.array([0, 0, 0, 0, 0, 0, -1.0])


def test_names_are_cheap_and_mujoco_is_imported_only_to_make_a_world() -> None:
    code = (
        "import sys, vlasteer.envs.tabletop as t\n"
        "assert len(t.names()) == 4 and 'mujoco' not in sys.modules\n"
        "t.make('tabletop_lift')\n"
        "assert 'mujoco' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_one_world_for_each_kind_and_one_for_all() -> None:
    every = tabletop.make("tabletop").tasks
    each = [tabletop.make(f"tabletop_{kind}").tasks for kind in TaskKind]
    assert list(every) == [task for tasks in each for task in tasks]
    assert len(set(every)) == len(every)


def test_the_registry_knows_it() -> None:
    world = make_world("tabletop_push", resolution=32)
    assert world.name == "tabletop_push"
    world.close()


def test_unknown_names_are_refused_with_the_closest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'tabletop_lift'"):
        tabletop.make("tabletop_lft")
    with pytest.raises(UnknownNameError, match="Did you mean 'resolution'"):
        tabletop.make("tabletop_lift", resolutoin=64)
    with pytest.raises(UnknownNameError, match="camera 'image3'"):
        tabletop.make("tabletop_lift", cameras=("image3",))
    with pytest.raises(UnknownNameError, match="split 'trian'"):
        tabletop.make("tabletop_lift", split="trian")


@pytest.mark.parametrize("options", [{"horizon": 0}, {"horizon": 2.5}, {"resolution": 4}, {"cameras": ()}])
def test_impossible_options_are_refused(options: dict) -> None:
    with pytest.raises(ConfigError):
        tabletop.make("tabletop_lift", **options)


@pytest.mark.parametrize("key", [EpisodeKey(-1, 0, 0), EpisodeKey(0, 100, 0), EpisodeKey(0, 0, -1)])
def test_episodes_that_do_not_exist_are_refused(key: EpisodeKey) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        tabletop.make("tabletop_lift").reset(key)


def test_evaluation_is_held_out_unless_told_otherwise() -> None:
    assert tabletop.make("tabletop_transport").split == HELD_OUT
    train = tabletop.make("tabletop_transport", split="train")
    assert train.task_specs == tasks_of(TaskKind.TRANSPORT, TRAIN)
    assert tabletop.make("tabletop_transport", split="shades").split == {Axis.SHADES}


def test_success_ends_the_episode() -> None:
    world = tabletop.make("tabletop_lift")
    world.reset(EpisodeKey(0, 0, 0))
    while world.outcome is Outcome.RUNNING:
        world.act(world.expert(), look=False)
    assert world.outcome is Outcome.SUCCESS
    assert world.snapshot().objects[0][2] > 0.1
    with pytest.raises(WorldError, match="has ended"):
        world.act(STILL)
    world.reset(EpisodeKey(0, 0, 0))
    assert world.outcome is Outcome.RUNNING


def test_the_wrong_bin_is_no_success() -> None:
    world = tabletop.make("tabletop_transport", horizon=60)
    world.reset(EpisodeKey(0, 0, 1))
    layout = world._layout
    assert layout is not None
    wrong = next(b for b, c in zip(layout.bins, layout.bin_colours, strict=True) if c != layout.task.goal)
    while world.outcome is Outcome.RUNNING:
        now = world.snapshot()
        way = wrong - now.tcp[:2]
        rise = 0.12 - now.tcp[2] if np.linalg.norm(way) > 0.02 else 0.0
        over = np.linalg.norm(way) < 0.02
        world.act(np.array([*np.clip(way / 0.05, -0.5, 0.5), rise / 0.05, 0, 0, 0, -1.0 if over else 1.0]), look=False)
    now = world.snapshot()
    assert np.abs(now.objects[0][:2] - wrong).max() < 0.06  # it lies in the other bin
    assert world.outcome is Outcome.HORIZON


def test_nobody_looks_nothing_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    pictures = Simulation.pictures
    monkeypatch.setattr(Simulation, "pictures", lambda self: drawn.append(1) or pictures(self))
    world = tabletop.make("tabletop_lift", resolution=32)
    world.reset(EpisodeKey(0, 0, 0))
    for _ in range(5):
        world.act(STILL, look=False)
        world.observe()
    assert not drawn
    world.act(STILL)
    assert not drawn  # not before somebody observes
    world.observe()
    world.observe()
    assert len(drawn) == 1


def test_one_camera_only() -> None:
    world = tabletop.make("tabletop_lift", resolution=32, cameras=("image",))
    world.reset(EpisodeKey(0, 0, 0))
    assert world.cameras == ("image",)
    assert set(world.observe().images) == {"image"} < set(CAMERAS)
    world.close()


def test_facts_are_json() -> None:
    facts = tabletop.make("tabletop_lift", split=("positions",), resolution=64).facts
    assert json.loads(json.dumps(facts)) == facts
    assert facts["split"] == ["positions"]
    assert facts["versions"]["mujoco"]


@pytest.mark.slow
def test_workers_give_what_this_process_gives() -> None:
    options = {"resolution": 32, "split": "train"}
    here = tabletop.make("tabletop_push", **options)
    workers = RemoteWorld.several(2, "tabletop_push", options, factory=tabletop.make)
    try:
        for i, worker in enumerate(workers):
            for world in (here, worker):
                world.reset(EpisodeKey(i, 0, 7))
            for _ in range(4):
                action = here.expert()
                np.testing.assert_array_equal(here.act(action), worker.act(action))
                one, other = here.observe(), worker.observe()
                np.testing.assert_array_equal(one.state, other.state)
                for name in one.images:
                    np.testing.assert_array_equal(one.images[name], other.images[name])
    finally:
        close_all(workers)
        here.close()
