"""Pictures: right colours at the right place, independent of each other, cheap to average."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vlasteer.envs.tabletop.layout import draw_layout
from vlasteer.envs.tabletop.rendering import halved
from vlasteer.envs.tabletop.scene import CAMERAS
from vlasteer.envs.tabletop.simulation import Simulation
from vlasteer.envs.tabletop.splits import HELD_OUT, TRAIN
from vlasteer.envs.tabletop.tasks import Task, TaskKind, tasks_of

_FAR = np.array([0.0, 20.0, 0.0])
EVEN = st.tuples(st.integers(1, 6).map(lambda n: 2 * n), st.integers(1, 6).map(lambda n: 2 * n), st.just(3))


def _red(picture: np.ndarray) -> np.ndarray:
    r, g, b = (picture[..., i].astype(int) for i in range(3))
    return (r > 120) & (g < r // 3) & (b < r // 3)


@given(EVEN.flatmap(lambda shape: arrays(np.uint8, shape)))
def test_halving_is_the_mean_of_four(picture: np.ndarray) -> None:
    h, w, _ = picture.shape
    mean = picture.reshape(h // 2, 2, w // 2, 2, 3).astype(int).sum((1, 3))
    np.testing.assert_array_equal(halved(picture), (mean + 2) // 4)
    np.testing.assert_array_equal(halved(picture[::-1]), ((mean + 2) // 4)[::-1])


@pytest.fixture(scope="module")
def red_lift() -> Simulation:
    made = Simulation(64)
    made.reset(draw_layout(Task(TaskKind.LIFT, "red"), TRAIN, 0, 0))
    return made


def test_both_cameras_show_something(red_lift: Simulation) -> None:
    pictures = red_lift.pictures()
    assert set(pictures) == set(CAMERAS)
    for picture in pictures.values():
        assert picture.dtype == np.uint8
        assert picture.shape == (64, 64, 3)
        assert picture.std() > 10


def test_the_red_cube_is_seen_and_seen_to_be_taken_away(red_lift: Simulation) -> None:
    layout = draw_layout(Task(TaskKind.LIFT, "red"), TRAIN, 1, 1)
    without_bins = layout.bins + _FAR[:2]
    seen = []
    for objects in (layout.objects, layout.objects + _FAR):
        red_lift.reset(_changed(layout, objects=objects, bins=without_bins))
        seen.append(int(_red(red_lift.pictures()["image"]).sum()))
    assert seen[0] > 4
    assert seen[1] == 0


def _changed(layout, **fields):
    from dataclasses import replace

    return replace(layout, **fields)


def test_the_first_picture_is_no_other_than_the_next() -> None:
    fresh = Simulation()
    fresh.reset(draw_layout(tasks_of(TaskKind.TRANSPORT, HELD_OUT)[0], HELD_OUT, 0, 7))
    first, second = fresh.pictures(), fresh.pictures()
    for camera in CAMERAS:
        np.testing.assert_array_equal(first[camera], second[camera])
    fresh.close()


def test_pictures_are_upright(red_lift: Simulation) -> None:
    picture = red_lift.pictures()["image"].astype(int)
    top, bottom = picture[:6].mean((0, 1)), picture[-6:].mean((0, 1))
    assert top[2] >= top[0]  # the bluish room is above
    assert bottom[0] > bottom[2] + 10  # the table's wood below


def test_the_hand_casts_a_shadow_that_follows_it(red_lift: Simulation) -> None:
    layout = draw_layout(Task(TaskKind.LIFT, "red"), TRAIN, 2, 2)
    dark = []
    for y in (-0.15, 0.15):
        hand = np.array([0.4, y, 0.12])
        red_lift.reset(_changed(layout, hand=hand, objects=layout.objects + _FAR, bins=layout.bins + _FAR[:2]))
        picture = red_lift.pictures()["image"].astype(int)
        shadow = np.abs(picture - picture[40, 62]).sum(2)  # from the lit table
        wood = (picture[..., 0] - picture[..., 2] > 8) & (shadow > 60)
        dark.append(np.argwhere(wood)[:, 1].mean())
    assert dark[1] - dark[0] > 6  # robot's left is right in the picture, as the camera faces the robot


def test_several_simulations_do_not_draw_into_each_other() -> None:
    layouts = [draw_layout(Task(TaskKind.LIFT, colour), TRAIN, 0, i) for i, colour in enumerate(("red", "green"))]
    alone = []
    for layout in layouts:
        one = Simulation(32)
        one.reset(layout)
        alone.append(one.pictures()["image"])
        one.close()
        one.close()
    several = [Simulation(32), Simulation(48), Simulation(32)]
    for simulation, layout in zip(several, (layouts[0], layouts[1], layouts[1]), strict=True):
        simulation.reset(layout)
    for _ in range(2):
        np.testing.assert_array_equal(several[0].pictures()["image"], alone[0])
        assert several[1].pictures()["image"].shape == (48, 48, 3)
        np.testing.assert_array_equal(several[2].pictures()["image"], alone[1])
    several.pop(1)
    gc.collect()  # a context that goes takes no other with it
    np.testing.assert_array_equal(several[0].pictures()["image"], alone[0])
    several[0].close()
    np.testing.assert_array_equal(several[1].pictures()["image"], alone[1])
    np.testing.assert_array_equal(several[0].pictures()["image"], alone[0])  # drawn again after close


def test_one_camera_is_the_same_camera(red_lift: Simulation) -> None:
    red_lift.reset(draw_layout(Task(TaskKind.LIFT, "red"), TRAIN, 0, 0))
    both = red_lift.pictures()
    for name in CAMERAS:
        single = Simulation(64, (name,))
        single.reset(draw_layout(Task(TaskKind.LIFT, "red"), TRAIN, 0, 0))
        pictures = single.pictures()
        assert list(pictures) == [name]
        np.testing.assert_array_equal(pictures[name], both[name])
        single.close()
