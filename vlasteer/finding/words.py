"""Which words are single tokens, and which tokens hold a word."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from vlasteer.anatomy import TokenBasis
from vlasteer.errors import ConceptError
from vlasteer.finding.lexicon import Concept

_MARKS = "▁Ġ \t\n"
"""What tokenizers put in front of a piece that begins a word."""
_SHOWN = 12


@dataclass(frozen=True)
class Words:
    """Words looked up in a vocabulary.

    Attributes:
        found: word -> ids of its single-token forms, the form "▁word" first.
        missing: words of which no form is a single token.
    """

    found: Mapping[str, tuple[int, ...]]
    missing: tuple[str, ...]

    @cached_property
    def ids(self) -> frozenset[int]:
        """Ids of all words found."""
        return frozenset(token for tokens in self.found.values() for token in tokens)


def look_up(basis: TokenBasis, words: Iterable[str]) -> Words:
    """Find the single-token forms ("▁word", "word" and their casings) of every word.

    Action tokens are no words, though their pieces may read as some: OpenVLA took Llama's rarest tokens for actions,
    among them Chinese ones.
    """
    found, missing = {}, []
    for word in dict.fromkeys(words):
        ids = [token for token in basis.ids_of(word) if not basis.is_action(token)]
        ids.sort(key=lambda token: (basis.piece(token) != f"▁{word}", token))
        if ids:
            found[word] = tuple(ids)
        else:
            missing.append(word)
    return Words(found, tuple(missing))


def look_up_concept(basis: TokenBasis, concept: Concept) -> Words:
    """The same for a concept's words.

    Raises:
        ConceptError: none of them is a single token; the message lists what was tried.
    """
    words = look_up(basis, concept.words)
    if not words.found:
        tried = [form for word in concept.words for form in forms(word)]
        shown = ", ".join(tried[:_SHOWN]) + (f" and {len(tried) - _SHOWN} more" if len(tried) > _SHOWN else "")
        raise ConceptError(
            f"no word of the concept '{concept.name}' is a single token of this vocabulary (tried {shown})",
            expected="a word that the tokenizer keeps whole",
            fix="Try a shorter or more common word, or add synonyms with --lexicon FILE",
        )
    return words


def forms(word: str) -> tuple[str, ...]:
    """The pieces that count as `word`: with and without the mark of a word's beginning, in three casings."""
    casings = dict.fromkeys((word, word.lower(), word.capitalize(), word.upper()))
    return tuple(mark + casing for casing in casings for mark in ("▁", ""))


def normalised(piece: str) -> str:
    """A vocabulary piece without the mark of a word's beginning, in lower case."""
    return piece.strip(_MARKS).lower()


def containing(basis: TokenBasis, words: Iterable[str], *, except_words: Iterable[str] = (), least: int = 4) -> Words:
    """Tokens that hold one of `words` within them, whatever the casing; words shorter than `least` must be the whole.

    Args:
        basis: the vocabulary.
        words: what to look for.
        except_words: tokens that read so never count (stop words).
        least: shortest word, in letters, that is looked for within tokens. Scripts without spaces are exempt.
    """
    wanted, never = list(dict.fromkeys(words)), frozenset(except_words)
    found: dict[str, list[int]] = {word: [] for word in wanted}
    for token in range(basis.size):
        text = normalised(basis.piece(token))
        if not text or text in never or basis.is_action(token):
            continue
        for word in wanted:
            within = word in text and (len(word) >= least or not word.isascii())
            if text == word or within:
                found[word].append(token)
    missing = tuple(word for word, tokens in found.items() if not tokens)
    return Words({word: tuple(tokens) for word, tokens in found.items() if tokens}, missing)
