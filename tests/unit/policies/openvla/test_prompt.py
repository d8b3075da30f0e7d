"""Instructions to prompt ids, words to ids."""

from __future__ import annotations

import builtins
import json
from pathlib import Path

import pytest

from vlasteer.errors import ObservationError
from vlasteer.policies.openvla.config import OpenVLAConfig, PromptStyle
from vlasteer.policies.openvla.prompt import PromptTokenizer, prompt_text

LONE_MARK = 29871


def tokenizer(folder: Path, style: PromptStyle = PromptStyle.PURE) -> PromptTokenizer:
    return PromptTokenizer(folder, OpenVLAConfig.read(folder), style)


def test_the_task_is_lower_cased() -> None:
    assert prompt_text("Open the Drawer", PromptStyle.PURE) == (
        "In: What action should the robot take to open the drawer?\nOut:"
    )


def test_the_v01_prompt() -> None:
    assert prompt_text("Open it", PromptStyle.VICUNA) == (
        "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
        "detailed, and polite answers to the user's questions. "
        "USER: What action should the robot take to open it? ASSISTANT:"
    )


@pytest.mark.parametrize("style", list(PromptStyle))
def test_ids_begin_with_bos_and_end_with_the_lone_mark(openvla_tiny: Path, style: PromptStyle) -> None:
    ids = tokenizer(openvla_tiny, style).encode("open the drawer", reserve=7)
    assert ids[0] == 1
    assert ids.count(1) == 1
    assert ids[-1] == LONE_MARK
    assert ids[-2] != LONE_MARK


def test_a_lone_mark_that_is_there_is_not_doubled(openvla_tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vlasteer.policies.openvla import prompt

    monkeypatch.setitem(prompt._TEMPLATES, PromptStyle.PURE, "take {task} ")
    ids = tokenizer(openvla_tiny).encode("it", reserve=7)
    assert ids[-1] == LONE_MARK
    assert ids[-2] != LONE_MARK


def test_padding_and_truncation_of_the_file_do_not_matter(checkpoint: Path) -> None:
    plain = tokenizer(checkpoint).encode("open the drawer", reserve=7)
    path = checkpoint / "tokenizer.json"
    document = json.loads(path.read_text())
    document["truncation"] = {"direction": "Right", "max_length": 5, "strategy": "LongestFirst", "stride": 0}
    document["padding"] = {
        "strategy": {"Fixed": 64}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 32000,
        "pad_type_id": 0, "pad_token": "<PAD>",
    }  # fmt: skip
    path.write_text(json.dumps(document))
    assert tokenizer(checkpoint).encode("open the drawer", reserve=7) == plain


@pytest.mark.parametrize("instruction", ["", "  \n"])
def test_an_empty_instruction_is_refused(openvla_tiny: Path, instruction: str) -> None:
    with pytest.raises(ObservationError, match="empty"):
        tokenizer(openvla_tiny).encode(instruction, reserve=7)


def test_an_instruction_beyond_the_context_is_refused(openvla_tiny: Path) -> None:
    with pytest.raises(ObservationError, match="at most 1785"):  # 2048 positions, 256 patches, 7 ids
        tokenizer(openvla_tiny).encode("open the drawer " * 600, reserve=7)


def test_single_token_forms_of_a_word(openvla_tiny: Path) -> None:
    found = tokenizer(openvla_tiny)
    ids = found.ids_of("fast")
    assert ids
    assert {found.piece(i).removeprefix("▁").lower() for i in ids} == {"fast"}
    assert len(set(ids)) == len(ids)
    assert found.ids_of("FAST")[-1] in found.ids_of("FAST")
    assert set(found.ids_of("Fast")) >= set(ids)
    assert found.ids_of("no such word") == ()
    assert found.ids_of("") == ()


def test_rows_beyond_the_vocabulary_have_a_placeholder(openvla_tiny: Path) -> None:
    found = tokenizer(openvla_tiny)
    assert found.size == 32001
    assert found.piece(32000) == "<PAD>"
    assert found.piece(32050) == "<undefined 32050>"


def test_nothing_is_asked_on_standard_input(openvla_tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder has an auto_map, for which transformers' own tokenizers ask whether to run its code."""

    def refuse(*_: object) -> str:
        raise AssertionError("something asked on standard input")

    monkeypatch.setattr(builtins, "input", refuse)
    from vlasteer.policies.openvla import load

    load(openvla_tiny, "tiny", device="cpu", unnorm_key="libero_10")
