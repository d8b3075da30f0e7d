"""Prompts with a state in words, and answers taken apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_pi import CODEC, SEGMENTS, VOCABULARY, write_tokenizer

from vlasteer.errors import CheckpointError
from vlasteer.policies.pi0_fast.wording import ActionTokens, prompt_text
from vlasteer.policies.pi_family.tokenizer import PaliGemmaTokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> PaliGemmaTokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(folder)
    return PaliGemmaTokenizer(folder / "tokenizer.json", VOCABULARY)


@pytest.fixture(scope="module")
def tokens(tokenizer: PaliGemmaTokenizer) -> ActionTokens:
    return ActionTokens(tokenizer, CODEC, SEGMENTS)


def test_prompt() -> None:
    state = np.array([-1.5, -1.0, -0.9999, 0.0, 0.9999, 1.0, 7.0], np.float32)
    assert prompt_text(" pick_up\nit ", state) == "Task: pick up it, State: -1 0 0 128 255 255 255;\n"


def test_action_tokens_run_backwards_from_the_last_location(
    tokens: ActionTokens, tokenizer: PaliGemmaTokenizer
) -> None:
    assert tokens.language_ids([0, 1, CODEC - 1]) == [VOCABULARY - 129, VOCABULARY - 130, VOCABULARY - 128 - CODEC]
    assert tokenizer.piece(tokens.language_ids([0])[0]) == "<loc1023>"
    assert len(tokens.ids) == CODEC
    assert [tokens.fast_id(i) for i in tokens.language_ids([0, 5])] == [0, 5]


def test_answers(tokens: ActionTokens, tokenizer: PaliGemmaTokenizer) -> None:
    frame, end, foreign = tokenizer.ids("Action: "), tokens.end, tokenizer.ids("x")[0]
    said = tokens.language_ids([3, 4])
    assert tokens.read([*frame, *said, end]) == ([3, 4], 0, True)
    assert tokens.read([*frame, *said, end, *said]) == ([3, 4], 0, True)  # what follows the end is dropped
    assert tokens.read([*frame, *said]) == ([3, 4], 0, True)  # no end
    ids, count, framed = tokens.read([*said, foreign, end])
    assert (ids, count, framed) == ([3, 4, tokens.fast_id(foreign)], 1, False)
    assert not 0 <= tokens.fast_id(foreign) < CODEC
    # A second frame is dropped as in the reference, and counted: it does not belong there.
    assert tokens.read([*frame, *said, *frame, *said, end]) == ([3, 4, 3, 4], len(frame), True)
    assert tokens.read([end]) == ([], 0, False)
    segment = VOCABULARY - 1
    assert tokens.read([*frame, segment, end]) == ([-SEGMENTS], 1, True)


def test_another_vocabulary_is_refused(tokenizer: PaliGemmaTokenizer) -> None:
    with pytest.raises(CheckpointError, match=rf"'<loc1023>' at {VOCABULARY - 129}.*Expected {VOCABULARY - 128}"):
        ActionTokens(tokenizer, CODEC, SEGMENTS - 1)


def test_a_codec_that_does_not_fit_is_refused(tokenizer: PaliGemmaTokenizer) -> None:
    with pytest.raises(CheckpointError, match="a codec that fits"):
        ActionTokens(tokenizer, VOCABULARY, SEGMENTS)


def test_a_vocabulary_of_another_length_is_refused(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    longer = PaliGemmaTokenizer(tmp_path / "tokenizer.json", VOCABULARY + 64)
    with pytest.raises(CheckpointError, match="'<loc1023>'"):
        ActionTokens(longer, CODEC, SEGMENTS)
