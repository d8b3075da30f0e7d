"""PaliGemma's tokenizer, and where files that checkpoints lack are looked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_pi import VOCABULARY, write_tokenizer

from vlasteer.errors import CheckpointError, ObservationError
from vlasteer.policies.pi_family.tokenizer import PaliGemmaTokenizer, find_files


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(folder)
    return folder


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> PaliGemmaTokenizer:
    return PaliGemmaTokenizer(folder / "tokenizer.json", VOCABULARY + 2)


def test_prompts_begin_with_bos_and_are_padded_on_the_right(tokenizer: PaliGemmaTokenizer) -> None:
    ids, valid = tokenizer.encode("go up\n", 10)
    assert ids.tolist() == [2, *tokenizer.ids("go up\n"), 0, 0, 0]
    assert valid.tolist() == [True] * 7 + [False] * 3
    assert [tokenizer.piece(i) for i in ids[1:7]] == ["g", "o", "▁", "u", "p", "\n"]


def test_a_prompt_of_just_the_length_fits(tokenizer: PaliGemmaTokenizer) -> None:
    assert tokenizer.encode("abc", 4)[1].all()
    with pytest.raises(ObservationError, match=r"'abcd' has 5 tokens\. Expected at most 4"):
        tokenizer.encode("abcd", 4)


def test_rows_without_a_token(tokenizer: PaliGemmaTokenizer) -> None:
    assert tokenizer.undefined_ids() == [VOCABULARY, VOCABULARY + 1]
    assert tokenizer.piece(VOCABULARY) == f"<undefined {VOCABULARY}>"


def test_reserved_tokens_are_undefined(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    path = tmp_path / "tokenizer.json"
    path.write_text(path.read_text().replace("<seg003>", "<unused7>"))
    reserved = PaliGemmaTokenizer(path, VOCABULARY)
    assert [reserved.piece(token) for token in reserved.undefined_ids()] == ["<unused7>"]


def test_files_are_taken_from_beside_the_checkpoint(folder: Path, tmp_path: Path) -> None:
    def found(given: str | None, beside: Path) -> Path:
        return find_files(given, beside=beside, hub_name="a/b", names=("tokenizer.json",), option="--tokenizer")

    assert found(None, folder) == folder
    assert found(str(folder), tmp_path) == folder
    for nowhere in ("./gone", str(tmp_path), "no-slash"):
        with pytest.raises(CheckpointError, match=r"--tokenizer '.*' has no tokenizer\.json"):
            found(nowhere, folder)


def test_a_hub_name_is_downloaded(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def download(name: str, file: str) -> str:
        asked.append((name, file))
        return str(folder / file)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    names = ("tokenizer.json", "config.json")
    assert find_files("x/y", beside=tmp_path, hub_name="a/b", names=names, option="--tokenizer") == folder
    assert find_files(None, beside=tmp_path, hub_name="a/b", names=names, option="--tokenizer") == folder
    assert asked == [("x/y", names[0]), ("x/y", names[1]), ("a/b", names[0]), ("a/b", names[1])]
