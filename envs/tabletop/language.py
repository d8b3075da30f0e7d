"""What the tasks are called: verbs, nouns and frames, words of manner, and which combinations are held out.

Everything is lower case, words are separated by single blanks (the comma is a word of its own), and held-out
instructions use no word that training instructions do not have: a vocabulary of whole words reads them all.
"""

from __future__ import annotations

import itertools

import numpy as np

from vlasteer.envs.tabletop.manner import Manner
from vlasteer.envs.tabletop.splits import HELD_OUT, TRAIN, Axis, Split
from vlasteer.envs.tabletop.tasks import Task, TaskKind, tasks_of

CUBES = ("block", "cube", "brick")
BIN_NOUNS = ("bin", "tray", "box")

_PATTERNS = {
    TaskKind.TRANSPORT: (
        "put {cube} in {goal}",
        "place {cube} in {goal}",
        "drop {cube} into {goal}",
        "move {cube} to {goal}",
        "carry {cube} to {goal}",
        "bring {cube} to {goal}",
        "place {cube} into {goal}",
        "put {cube} into {goal}",
    ),
    TaskKind.LIFT: ("lift {cube}", "raise {cube}", "grasp {cube}", "grab {cube}", "take {cube}", "hoist {cube}"),
    TaskKind.PUSH: (
        "push {cube} {goal}",
        "slide {cube} {goal}",
        "shove {cube} {goal}",
        "move {cube} {goal}",
        "nudge {cube} {goal}",
    ),
}

_PLAIN_FRAMES = ("{task}", "{task}", "please {task}", "{task} now", "robot , {task}")
_PLAIN_FRAMES_HELD_OUT = ("now {task}", "robot , please {task}", "{task} please")
_MANNER_FRAMES = ("{task} {adverbs}", "{adverbs} {task}", "{task} in a {adjectives} way", "be {adjectives} and {task}")
_MANNER_FRAMES_HELD_OUT = (
    "{task} , {adverbs}",
    "please be {adjectives} and {task}",
    "{task} now in a {adjectives} way",
)

ADVERBS = {
    "fast": ("fast", "quickly", "rapidly", "swiftly", "speedily", "briskly", "hastily"),
    "slow": ("slowly", "gently", "carefully", "gradually", "calmly", "leisurely", "sluggishly"),
    "high": ("high", "up", "above", "overhead", "upward", "over", "aloft"),
    "low": ("low", "down", "below", "beneath", "downward", "under", "underneath"),
}
ADJECTIVES = {
    "fast": ("fast", "quick", "rapid", "swift", "speedy", "brisk", "hasty"),
    "slow": ("slow", "gentle", "careful", "gradual", "calm", "leisurely", "sluggish"),
    "high": ("high", "higher", "upper", "raised", "elevated", "lofty", "lifted"),
    "low": ("low", "lower", "nether", "lowered", "flat", "shallow", "grounded"),
}
MANNER_WORDS = {concept: tuple(dict.fromkeys((*ADVERBS[concept], *ADJECTIVES[concept]))) for concept in ADVERBS}
"""Concept -> its words. fast/slow and high/low are antonyms. None of them occurs in an instruction without manner."""


def canonical(task: Task, split: Split = TRAIN) -> str:
    """The one instruction that stands for a task: its first phrasing on the split's side."""
    return _phrases(task, split)[0]


def instruction(task: Task, rng: np.random.Generator, split: Split = TRAIN, manner: Manner | None = None) -> str:
    """A phrasing of the task, drawn from the split's side; with a manner, words for its concepts are in it."""
    held_out = Axis.PHRASINGS in split
    phrase = _choose(rng, _phrases(task, split))
    concepts = list(manner.concepts) if manner else []
    if not concepts:
        return _choose(rng, _PLAIN_FRAMES_HELD_OUT if held_out else _PLAIN_FRAMES).format(task=phrase)
    rng.shuffle(concepts)
    frame = _choose(rng, _MANNER_FRAMES_HELD_OUT if held_out else _MANNER_FRAMES)
    adverbs, adjectives = (
        " and ".join(_choose(rng, words[concept]) for concept in concepts) for words in (ADVERBS, ADJECTIVES)
    )
    return frame.format(task=phrase, adverbs=adverbs, adjectives=adjectives)


def vocabulary() -> tuple[str, ...]:
    """Every word of every instruction, sorted."""
    texts = [" ".join(words) for words in MANNER_WORDS.values()]
    for frame in (*_PLAIN_FRAMES, *_PLAIN_FRAMES_HELD_OUT, *_MANNER_FRAMES, *_MANNER_FRAMES_HELD_OUT):
        texts.append(frame.format(task="", adverbs="and", adjectives=""))
    for kind, split in itertools.product(TaskKind, (TRAIN, HELD_OUT)):
        texts += [phrase for task in tasks_of(kind, split) for phrase in _phrases(task, split)]
    return tuple(sorted({word for text in texts for word in text.split()}))


def _phrases(task: Task, split: Split) -> tuple[str, ...]:
    """All combinations of pattern and nouns on the split's side: every fifth is held out."""
    goals = [f"the {task.goal} {noun}" for noun in BIN_NOUNS] if task.kind is TaskKind.TRANSPORT else [task.goal]
    combinations = itertools.product(enumerate(_PATTERNS[task.kind]), enumerate(CUBES), enumerate(goals))
    return tuple(
        pattern.format(cube=f"the {task.colour} {noun}", goal=goal)
        for (p, pattern), (n, noun), (g, goal) in combinations
        if ((p + 2 * n + g) % 5 == 4) == (Axis.PHRASINGS in split)
    )


def _choose(rng: np.random.Generator, items: tuple[str, ...]) -> str:
    return items[int(rng.integers(len(items)))]
