"""Nothing that is held out is ever drawn for training, and the other way round."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlasteer.envs.tabletop.language import (
    MANNER_WORDS,
    canonical,
    instruction,
    vocabulary,
)
from vlasteer.envs.tabletop.layout import RGB, Layout, draw_layout
from vlasteer.envs.tabletop.manner import MANNERS, Manner, Speed
from vlasteer.envs.tabletop.scene import BIN_INNER
from vlasteer.envs.tabletop.splits import (
    HELD_OUT,
    HELD_OUT_SHADES,
    TRAIN,
    TRAIN_SHADES,
    Axis,
    draw_shade,
    is_held_out_position,
    parse_split,
)
from vlasteer.envs.tabletop.tasks import BIN_COLOURS, COLOURS, TaskKind, neighbours, tasks_of
from vlasteer.errors import InputError, UnknownNameError

SIDES = (TRAIN, HELD_OUT)
some_layout = st.builds(
    lambda kind, index, split, start, seed: (split, draw_layout(_task(kind, index, split), split, start, seed)),
    st.sampled_from(TaskKind),
    st.integers(0, 100),
    st.sampled_from(SIDES),
    st.integers(0, 99),
    st.integers(0, 2**32 - 1),
)


def _task(kind: TaskKind, index: int, split: frozenset[Axis]):
    tasks = tasks_of(kind, split)
    return tasks[index % len(tasks)]


@pytest.mark.parametrize(
    ("names", "split"),
    [
        ("train", TRAIN),
        ("held_out", HELD_OUT),
        ("positions, phrasings", {Axis.POSITIONS, Axis.PHRASINGS}),
        (["shades"], {Axis.SHADES}),
        ((), TRAIN),
        (HELD_OUT, HELD_OUT),
    ],
)
def test_names_of_splits(names: object, split: frozenset[Axis]) -> None:
    assert parse_split(names) == split  # type: ignore[arg-type]  # strings and sequences both


def test_an_unknown_split_is_refused_with_the_closest_name() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'held_out'"):
        parse_split("heldout")


@pytest.mark.parametrize("kind", [TaskKind.TRANSPORT, TaskKind.PUSH])
def test_the_sides_share_no_pair_and_leave_none_out(kind: TaskKind) -> None:
    train, held_out = (set(tasks_of(kind, side)) for side in SIDES)
    assert not train & held_out
    goals = {task.goal for task in train}
    everything = {(c, g) for c in COLOURS for g in goals if c != g}
    assert {(task.colour, task.goal) for task in train | held_out} == everything
    # Every colour and goal of the held-out side is known from training.
    assert {task.colour for task in held_out} <= {task.colour for task in train}
    assert {task.goal for task in held_out} <= goals
    assert len(held_out) >= 4


def test_lifting_holds_out_neighbours() -> None:
    for task in tasks_of(TaskKind.LIFT, TRAIN):
        train, held_out = neighbours(task, TRAIN), neighbours(task, HELD_OUT)
        assert not set(train) & set(held_out)
        assert {*train, *held_out, task.colour} == set(COLOURS)


@given(some_layout)
@settings(max_examples=150, deadline=None)
def test_a_layout_is_of_its_side(drawn: tuple[frozenset[Axis], Layout]) -> None:
    split, layout = drawn
    held_out = split == HELD_OUT
    places = [*layout.bins, *layout.objects[:, :2], layout.hand[:2]]
    assert all(is_held_out_position(x, y) is held_out for x, y in places)
    names = [*layout.colours, *layout.bin_colours]
    ranges = HELD_OUT_SHADES if held_out else TRAIN_SHADES
    for name, rgb in zip(names, [*layout.object_rgb, *layout.bin_rgb], strict=True):
        factors = [c / base for c, base in zip(rgb, RGB[name], strict=True) if c < 1.0]
        assert np.ptp(factors) < 1e-9
        assert any(low <= factors[0] <= high for low, high in ranges)


@given(some_layout)
@settings(max_examples=150, deadline=None)
def test_a_layout_can_be_solved(drawn: tuple[frozenset[Axis], Layout]) -> None:
    _, layout = drawn
    gaps = [np.linalg.norm(a - b) for a, b in itertools.combinations(layout.objects[:, :2], 2)]
    assert min(gaps) >= 0.1
    walls = BIN_INNER + 0.01
    assert min(abs(a[1] - b[1]) for a, b in itertools.combinations(layout.bins, 2)) > 2 * walls
    assert layout.objects[:, 0].max() + 0.03 < layout.bins[:, 0].min() - walls
    assert len(set(layout.colours)) == len(set(layout.bin_colours)) == 3
    assert layout.colours[0] == layout.task.colour
    if layout.task.kind is TaskKind.TRANSPORT:
        assert layout.task.goal in layout.bin_colours
        np.testing.assert_array_equal(layout.goal, layout.bins[layout.bin_colours.index(layout.task.goal)])
        np.testing.assert_array_equal(layout.objects[0, :2], layout.hand[:2])


def test_a_layout_is_determined_by_its_arguments() -> None:
    task = tasks_of(TaskKind.PUSH, TRAIN)[3]
    one, same = draw_layout(task, TRAIN, 5, 7), draw_layout(task, TRAIN, 5, 7)
    np.testing.assert_array_equal(one.objects, same.objects)
    np.testing.assert_array_equal(one.bin_rgb, same.bin_rgb)
    for other in (
        draw_layout(task, TRAIN, 6, 7),
        draw_layout(task, TRAIN, 5, 8),
        draw_layout(tasks_of(TaskKind.PUSH, TRAIN)[4], TRAIN, 5, 7),
        draw_layout(task, frozenset({Axis.PHRASINGS}), 5, 7),  # equal regions, yet another stream
    ):
        assert not np.array_equal(one.bins, other.bins)


def test_negative_seeds_are_refused() -> None:
    with pytest.raises(InputError, match="not negative"):
        draw_layout(tasks_of(TaskKind.LIFT, TRAIN)[0], TRAIN, 0, -1)


def test_every_bin_is_the_goal_at_times() -> None:
    task = tasks_of(TaskKind.TRANSPORT, TRAIN)[0]
    places = {draw_layout(task, TRAIN, 0, seed).bin_colours.index(task.goal) for seed in range(40)}
    assert places == {0, 1, 2}


def test_shades_do_not_touch() -> None:
    rng = np.random.default_rng(0)
    train, held_out = ([draw_shade(rng, side) for _ in range(500)] for side in SIDES)
    assert min(abs(a - b) for a in train for b in held_out) > 0.05
    assert min(held_out) < min(train) < max(train) < max(held_out)


def _instructions(split: frozenset[Axis], manner: Manner | None, draws: int = 400) -> set[str]:
    rng = np.random.default_rng(1)
    tasks = [task for kind in TaskKind for task in tasks_of(kind, split)]
    return {instruction(tasks[i % len(tasks)], rng, split, manner) for i in range(draws)}


def test_held_out_instructions_are_new_but_none_of_their_words_is() -> None:
    train = {text for manner in (None, *MANNERS) for text in _instructions(TRAIN, manner, 2000)}
    held_out = {text for manner in (None, *MANNERS) for text in _instructions(HELD_OUT, manner)}
    held_out |= {text for manner in MANNERS for text in _instructions(frozenset({Axis.PHRASINGS}), manner)}
    assert not train & held_out
    known = {word for text in train for word in text.split()}
    assert {word for text in held_out for word in text.split()} <= known
    assert known == set(vocabulary())


def test_the_canonical_instruction_is_one_of_the_sides_phrasings() -> None:
    for kind, side in itertools.product(TaskKind, SIDES):
        for task in tasks_of(kind, side):
            words = canonical(task, side).split()
            assert task.colour in words
            assert task.goal == "" or task.goal in words
    assert not {canonical(t, TRAIN) for t in tasks_of(TaskKind.LIFT, TRAIN)} & {
        canonical(t, HELD_OUT) for t in tasks_of(TaskKind.LIFT, HELD_OUT)
    }


def test_manner_is_said_in_words_of_its_concepts_and_otherwise_not_at_all() -> None:
    every = {word for words in MANNER_WORDS.values() for word in words}
    for side in SIDES:
        for text in _instructions(side, None) | _instructions(side, Manner()):
            assert not every & set(text.split())
        for manner in MANNERS:
            for text in _instructions(side, manner, 60):
                said = every & set(text.split())
                assert len(said) == len(manner.concepts)
                for concept in manner.concepts:
                    assert said & set(MANNER_WORDS[concept])


def test_no_word_means_two_things() -> None:
    for one, other in itertools.combinations(MANNER_WORDS.values(), 2):
        assert not set(one) & set(other)


def test_concepts_of_a_manner() -> None:
    assert Manner().concepts == ()
    assert [m.concepts for m in MANNERS][:3] == [("slow", "low"), ("slow",), ("slow", "high")]
    assert Manner(speed=Speed.FAST).concepts == ("fast",)
    assert set(BIN_COLOURS) <= set(COLOURS)
