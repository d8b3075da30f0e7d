"""A rule for the paper's label "interpretable": at least 4 of a neuron's top 30 tokens share a pattern.

In the paper people read the lists. Here patterns are token classes of these kinds:

    action       action tokens
    concept      words of one concept of the lexicon, in any language
    word         one word in several casings and with or without the mark of a word's beginning
    stem         words with the same first four letters
    script       one script other than Latin
    symbol       digits only; punctuation only; raw bytes

A class of share p of the vocabulary counts from the smallest number t >= 4 on for which 30 tokens drawn at random would
hold t of it with probability below 0.01 / (classes of its kind), so that frequent classes need more than 4.

Limits. A rule sees form, and meaning only as far as the lexicon knows it: colours or furniture in unrelated words go
unseen, while "inter-" in unrelated words is a pattern. So the share is no estimate of the readers' (.58 for PaliGemma),
and their "semantic" subset has no counterpart. Output embeddings of related tokens are alike, so that even directions
without meaning show patterns: only the difference to a null of such directions means anything.
"""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from vlasteer.anatomy import TokenBasis
from vlasteer.finding.lexicon import Lexicon
from vlasteer.finding.words import look_up, normalised

OF = 30
"""Tokens per neuron that the rule looks at."""
AT_LEAST = 4
_CHANCE = 0.01
_STEM = 4
_BLOCK = 4096


class Patterns:
    """Classes of a vocabulary's tokens, and the rule that says which lists of 30 share one."""

    def __init__(self, basis: TokenBasis, lexicon: Lexicon) -> None:
        kinds: dict[str, list[dict[int, str]]] = {
            "action": [dict.fromkeys(basis.action_ids, "action")],
            # Concepts overlap, so each is a partition of its own: its words and the rest.
            "concept": [dict.fromkeys(look_up(basis, lexicon.concept(name).words).ids, name) for name in lexicon],
            "word": [{}],
            "stem": [{}],
            "script": [{}],
            "symbol": [{}],
        }
        for token in range(basis.size):
            if basis.is_action(token):
                continue
            for kind, name in _classes(basis.piece(token)).items():
                kinds[kind][0][token] = name
        self.kinds = tuple(kinds)
        self._partitions = {
            kind: [_Partition.of(members, basis.size, len(parts)) for members in parts if members]
            for kind, parts in kinds.items()
        }

    def shares(self, ids: NDArray[np.int32]) -> dict[str, float]:
        """Share of the lists `ids` [lists, 30] that hold a pattern: of each kind, and of "any"."""
        found = {kind: np.zeros(len(ids), bool) for kind in self.kinds}
        for first in range(0, len(ids), _BLOCK):
            rows = slice(first, first + _BLOCK)
            for kind, partitions in self._partitions.items():
                for partition in partitions:
                    found[kind][rows] |= partition.found(ids[rows])
        anything = np.logical_or.reduce(list(found.values()))
        return {"any": float(anything.mean())} | {kind: float(there.mean()) for kind, there in found.items()}


@dataclass(frozen=True, eq=False)
class _Partition:
    """Disjoint classes.

    Attributes:
        of_token: int32 [vocabulary], class of every token; 0: none.
        needed: int64 [classes + 1], number of tokens from which each class counts.
    """

    of_token: NDArray[np.int32]
    needed: NDArray[np.int64]

    @classmethod
    def of(cls, members: Mapping[int, str], size: int, partitions: int) -> _Partition:
        """From token -> class name; `partitions` of the kind share its error probability."""
        # A class of fewer members than the rule asks for can never count.
        large = {name: n for name, n in Counter(members.values()).items() if n >= AT_LEAST}
        index = {name: i for i, name in enumerate(sorted(large), start=1)}
        of_token = np.zeros(size, np.int32)
        for token, name in members.items():
            of_token[token] = index.get(name, 0)
        chance = _CHANCE / (max(len(index), 1) * partitions)
        needed = [OF + 1, *(needed_count(large[name] / size, chance) for name in index)]
        return cls(of_token, np.array(needed))

    def found(self, ids: NDArray[np.int32]) -> NDArray[np.bool_]:
        """bool [lists]: whether any class has as many tokens in the list as it needs."""
        classes = np.sort(self.of_token[ids], axis=1)
        there = np.zeros(len(ids), bool)
        # In a sorted row a class of t members spans t places.
        for count in np.unique(self.needed[1:]):
            if count <= classes.shape[1]:
                same = classes[:, count - 1 :] == classes[:, : classes.shape[1] - count + 1]
                there |= (same & (self.needed[classes[:, count - 1 :]] <= count)).any(1)
        return there


@lru_cache(maxsize=65536)
def needed_count(share: float, chance: float) -> int:
    """Smallest t >= 4 for which 30 tokens hold t or more of a class of that share with probability at most `chance`."""
    tail = 0.0
    for t in range(OF, AT_LEAST - 1, -1):
        tail += math.comb(OF, t) * share**t * (1 - share) ** (OF - t)
        if tail > chance:
            return t + 1
    return AT_LEAST


def _classes(piece: str) -> dict[str, str]:
    """Kind -> class of a vocabulary piece."""
    text = normalised(piece)
    if not text:
        return {}
    if text.startswith("<0x") and text.endswith(">"):
        return {"symbol": "bytes"}
    letters = [character for character in text if character.isalpha()]
    if not letters:
        return {"symbol": "digits" if text.isdigit() else "punctuation"}
    classes = {}
    script = _script(letters[0])
    if script != "LATIN":
        classes["script"] = script
    if text.isalpha() and len(text) > 1:
        classes["word"] = text
        if len(text) >= _STEM:
            classes["stem"] = text[:_STEM]
    return classes


@cache
def _script(character: str) -> str:
    """First word of the character's Unicode name: LATIN, CYRILLIC, CJK, ..."""
    return unicodedata.name(character, "UNKNOWN").split(" ")[0].split("-")[0]
