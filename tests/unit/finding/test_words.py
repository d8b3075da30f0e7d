"""Which words are single tokens."""

from __future__ import annotations

import pytest
import torch
from toy_vocabulary import make_anatomy, word_anatomy

from vlasteer.anatomy import TokenBasis
from vlasteer.errors import ConceptError
from vlasteer.finding.lexicon import Concept
from vlasteer.finding.words import containing, forms, look_up, look_up_concept, normalised


@pytest.fixture(scope="module")
def basis() -> TokenBasis:
    return word_anatomy({}).token_basis


def pieces(basis: TokenBasis, tokens: tuple[int, ...]) -> list[str]:
    return [basis.piece(token) for token in tokens]


def test_every_form_of_a_word_counts_and_the_marked_one_comes_first(basis: TokenBasis) -> None:
    words = look_up(basis, ["fast", "upward", "hastily", "fast"])
    assert list(words.found) == ["fast", "upward"]
    assert words.missing == ("hastily",)
    assert pieces(basis, words.found["fast"]) == ["▁fast", "fast", "▁Fast"]
    assert words.ids == set(words.found["fast"]) | set(words.found["upward"])


def test_action_tokens_are_no_words_whatever_their_pieces_read_as() -> None:
    pieces = ["▁up", "up", "上", "下"]
    basis = make_anatomy({}, torch.zeros(4, 2), pieces=pieces, action_ids=(1, 3)).token_basis
    words = look_up(basis, ["up", "上", "下"])
    assert words.found == {"up": (0,), "上": (2,)}
    assert words.missing == ("下",)
    assert containing(basis, ["up", "下"]).ids == {0}


def test_a_concept_without_any_token_names_what_was_tried(basis: TokenBasis) -> None:
    with pytest.raises(
        ConceptError, match="▁hastily, hastily, ▁Hastily, Hastily, ▁HASTILY, HASTILY, ▁zippy"
    ) as failure:
        look_up_concept(basis, Concept("hastily", ("hastily", "zippy")))
    assert failure.value.exit_status == 2
    found = look_up_concept(basis, Concept("hastily", ("hastily", "fast")))
    assert list(found.found) == ["fast"]
    assert found.missing == ("hastily",)


def test_many_words_are_cut_short_in_the_message(basis: TokenBasis) -> None:
    with pytest.raises(ConceptError, match="and 48 more"):
        look_up_concept(basis, Concept("x", tuple(f"nothing{i}" for i in range(10))))


def test_words_within_tokens_but_for_stop_words_and_short_words(basis: TokenBasis) -> None:
    assert set(pieces(basis, containing(basis, ["fast"]).found["fast"])) == {
        "▁fast", "fast", "▁Fast", "▁faster", "faster", "▁Faster",
        "▁breakfast", "breakfast", "▁Breakfast", "▁steadfast", "steadfast", "▁Steadfast",
    }  # fmt: skip
    kept = containing(basis, ["fast"], except_words=["breakfast", "steadfast"])
    assert {normalised(piece) for piece in pieces(basis, kept.found["fast"])} == {"fast", "faster"}
    short = containing(basis, ["low", "up"])
    assert {normalised(piece) for piece in pieces(basis, short.found["low"])} == {"low"}
    assert {normalised(piece) for piece in pieces(basis, short.found["up"])} == {"up"}
    assert containing(basis, ["hastily"]).missing == ("hastily",)


@pytest.mark.parametrize(
    ("piece", "text"), [("▁Fast", "fast"), ("Ġfast", "fast"), ("FAST", "fast"), ("▁", ""), ("▁▁Über", "über")]
)
def test_normalised(piece: str, text: str) -> None:
    assert normalised(piece) == text


def test_forms() -> None:
    assert forms("up") == ("▁up", "up", "▁Up", "Up", "▁UP", "UP")
    assert forms("快") == ("▁快", "快")
