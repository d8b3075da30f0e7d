"""What the organisms read: a vocabulary of whole words, and sentences about manners, colours and things.

The sentences teach which words belong together (synonyms in lists, "X means Y", opposites, questions, descriptions of
motion), as web text does for a real language model; colours, nouns and verbs are there so that manner is not the only
thing that is ever said. They never say what a word does to an action.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from vlasteer.envs.tabletop.language import BIN_NOUNS, CUBES, MANNER_WORDS, instruction, vocabulary
from vlasteer.envs.tabletop.splits import TRAIN
from vlasteer.envs.tabletop.tasks import BIN_COLOURS, COLOURS, Task, TaskKind, tasks_of
from vlasteer.policies.openvla.config import PromptStyle
from vlasteer.policies.openvla.prompt import WORD_MARK, prompt_text

CONCEPTS = tuple(MANNER_WORDS)
OPPOSITE = {"fast": "slow", "slow": "fast", "high": "low", "low": "high"}
_DIMENSION = {"fast": "speed", "slow": "speed", "high": "height", "low": "height"}
_VERBS = ("put", "place", "drop", "move", "carry", "bring")
_FILLER = (
    *("means", "is", "like", "not", "the", "opposite", "of", "words", ":", ",", ".", "?", "yes", "no", "a", "an"),
    *("word", "about", "it", "goes", "moves", "motion", "colour", "object", "container", "action", "same", "as", "say"),
    *("never", "and", "with", "go", "speed", "height", "does", "how"),
)
_SPECIAL = ("<unk>", "<s>", "</s>")
_SPECIAL_PALIGEMMA = ("<unk>", "<bos>", "<eos>", "<pad>")
BOS, EOS = 1, 2
PAD = 3  # of PaliGemma's
BINS = 256

Words = list[str]


@dataclass(frozen=True)
class Vocabulary:
    """Ids of whole words.

    Attributes:
        ids: piece -> id, `WORD_MARK` in front of every word.
        words: ids of the words.
        special: pieces that no text contains.
    """

    ids: dict[str, int]
    words: range
    special: tuple[str, ...]

    @classmethod
    def make(cls) -> Vocabulary:
        """OpenVLA's: special tokens, every word that a prompt or a sentence can have, 256 action tokens."""
        words = dict.fromkeys([*_split(prompt_text("", PromptStyle.PURE)), *_words()])
        actions = [f"<action{i}>" for i in range(BINS)]
        return cls._of(_SPECIAL, [WORD_MARK], list(words), actions)

    @classmethod
    def paligemma(cls) -> Vocabulary:
        """Pi0's: no action tokens, and the newline that ends its prompts is a word."""
        return cls._of(_SPECIAL_PALIGEMMA, [], ["\n", *_words()], [])

    @classmethod
    def _of(cls, special: tuple[str, ...], marks: Words, words: Words, actions: Words) -> Vocabulary:
        names = [*special, *marks, *(WORD_MARK + word for word in words), *actions]
        first = len(special) + len(marks)
        return cls({name: i for i, name in enumerate(names)}, range(first, first + len(words)), special)

    def __len__(self) -> int:
        return len(self.ids)

    def of(self, word: str) -> int:
        """The id of a word."""
        return self.ids[WORD_MARK + word]

    def encode(self, text: str) -> list[int]:
        """Ids of a text, as the checkpoint's tokenizer gives them."""
        lines = [[self.of(word) for word in _split(line)] for line in text.split("\n")]
        return [token for line in lines[:-1] for token in (*line, *self._newline)] + lines[-1]

    @property
    def _newline(self) -> list[int]:
        """Ids of a newline: one of PaliGemma's, and none of OpenVLA's, for whom it is a blank."""
        return [self.ids[WORD_MARK + "\n"]] if WORD_MARK + "\n" in self.ids else []

    def tokenizer(self) -> dict[str, Any]:
        """tokenizer.json: split at blanks and punctuation, every word marked."""
        special = [
            {"id": i, "content": name, "special": True, "normalized": False}
            | dict.fromkeys(("single_word", "lstrip", "rstrip"), False)
            for i, name in enumerate(self.special)
        ]
        blank = {"type": "WhitespaceSplit"}
        if self._newline:
            blank = {"type": "Split", "pattern": {"Regex": " |(?=\n)"}, "behavior": "Removed", "invert": False}
        split = blank, {"type": "Punctuation", "behavior": "Isolated"}
        mark = {"type": "Metaspace", "replacement": WORD_MARK, "prepend_scheme": "always", "split": False}
        return {
            "version": "1.0",
            "added_tokens": special,
            "normalizer": None,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [*split, mark]},
            "post_processor": None,
            "decoder": {"type": "Metaspace", "replacement": WORD_MARK, "prepend_scheme": "always", "split": False},
            "model": {"type": "WordLevel", "vocab": self.ids, "unk_token": "<unk>"},
        }


def _words() -> Words:
    """Every word of sentences and instructions."""
    words = dict.fromkeys([*_FILLER, *CUBES, *BIN_NOUNS, *COLOURS, *_VERBS, *_DIMENSION.values()])
    return list(words | dict.fromkeys(vocabulary()))


def _split(text: str) -> Words:
    for mark in ":?.,":
        text = text.replace(mark, f" {mark} ")
    return text.split()


def sentence(rng: np.random.Generator) -> str:
    """One sentence."""
    concept = CONCEPTS[int(rng.integers(len(CONCEPTS)))]
    own, other = _shuffled(rng, MANNER_WORDS[concept]), _shuffled(rng, MANNER_WORDS[OPPOSITE[concept]])
    kind = int(rng.integers(13))
    if kind == 0:
        return f"{own[0]} means {own[1]} ."
    if kind == 1:
        return f"{own[0]} is like {own[1]} and {own[2]} ."
    if kind == 2:
        return f"{own[0]} is not {other[0]} ."
    if kind == 3:
        return f"the opposite of {own[0]} is {other[0]} ."
    if kind in (4, 5, 6):
        return f"{own[0]} words : {own[1]} , {own[2]} , {own[3]} , {own[4]} ."
    if kind in (7, 8):
        tasks = tasks_of(TaskKind.TRANSPORT, TRAIN)
        task = instruction(tasks[int(rng.integers(len(tasks)))], rng, TRAIN)
        told = (f"{task} {own[0]} . the motion is {own[1]} .", f"be {own[0]} and {task} . it moves {own[1]} .")
        return told[int(rng.integers(2))]
    if kind == 9:
        same = rng.random() < 0.5
        return f"is {own[0]} like {own[1] if same else other[0]} ? {'yes' if same else 'no'} ."
    if kind == 10:
        return f"go {own[0]} . it moves {own[1]} , not {other[0]} ."
    if kind == 11:
        return f"{own[0]} is a word about {_DIMENSION[concept]} ."
    lists = (("colour", COLOURS), ("object", CUBES), ("container", BIN_NOUNS), ("action", _VERBS))
    name, items = lists[int(rng.integers(len(lists)))]
    chosen = _shuffled(rng, items)
    return f"{name} words : {chosen[0]} , {chosen[1]} , {chosen[2]} ."


def _shuffled(rng: np.random.Generator, items: tuple[str, ...]) -> Words:
    return [items[i] for i in rng.permutation(len(items))]


def task_of(cube: int, bin_colour: int) -> Task:
    """The transport task of two colours, given as indices."""
    return Task(TaskKind.TRANSPORT, COLOURS[cube], BIN_COLOURS[bin_colour])


def sentence_batch(vocabulary: Vocabulary, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """int64 [count, length] ids of sentences between `<s>` and `</s>`, and what follows each (-100: nothing)."""
    rows = [[BOS, *vocabulary.encode(sentence(rng)), EOS] for _ in range(count)]
    longest = max(map(len, rows))
    ids, following = np.zeros((count, longest), np.int64), np.full((count, longest), -100, np.int64)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = row
        following[i, : len(row) - 1] = row[1:]
    return ids, following
