"""A damaged or foreign Pi0-FAST checkpoint gives one line that names what is wrong; ../pi0 has what both share."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from altered import edit_json, tensors_of
from safetensors.torch import save_file
from tiny_pi import LOCATIONS, write_codec, write_pi0_fast

from vlasteer.errors import CheckpointError, InputError, UnknownNameError
from vlasteer.policies.pi0_fast import load, recognises

EMBEDDING = "model.paligemma_with_expert.paligemma.lm_head.weight"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_pi0_fast(tmp_path / "checkpoint")


def refused(folder: Path, message: str, kind: type[InputError] = CheckpointError, **options: Any) -> None:
    with pytest.raises(kind, match=message) as caught:
        load(folder, "copy", device="cpu", **options)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_status == 2


def test_other_folders_are_not_recognised(tmp_path: Path, checkpoint: Path) -> None:
    assert recognises(checkpoint)
    assert not recognises(tmp_path)
    edit_json(checkpoint / "config.json", {"type": "pi0"})
    assert not recognises(checkpoint)


def test_no_embedding(checkpoint: Path) -> None:
    tensors = {key: tensor for key, tensor in tensors_of(checkpoint).items() if key.startswith("model.")}
    del tensors[EMBEDDING]
    save_file(tensors, checkpoint / "model.safetensors")
    refused(checkpoint, r"lacks tensor language_model\.embed_tokens\.weight")


def test_tensors_of_an_expert_are_extra(checkpoint: Path) -> None:
    tensors = {key: tensor for key, tensor in tensors_of(checkpoint).items() if key.startswith("model.")}
    tensors["model.action_in_proj.bias"] = torch.ones(3)
    save_file(tensors, checkpoint / "model.safetensors")
    refused(checkpoint, r"has tensor action_in_proj\.bias")


def test_a_vocabulary_that_is_not_the_embedding(checkpoint: Path) -> None:
    edit_json(checkpoint / "config.json", {"tiny_model.vocab_size": 2000})
    refused(checkpoint, "'<loc1023>' at .*--tokenizer FOLDER")


def test_a_tokenizer_without_locations(checkpoint: Path) -> None:
    path = checkpoint / "tokenizer.json"
    path.write_text(path.read_text().replace(f"<loc{LOCATIONS - 1}>", "<location>"))
    refused(checkpoint, "'<loc1023>' at None")


def test_sampled_answers_are_refused(checkpoint: Path) -> None:
    edit_json(checkpoint / "config.json", {"temperature": 0.7})
    refused(checkpoint, "temperature is 0.7. Expected 0")


def test_missing_statistics(checkpoint: Path) -> None:
    edit_json(checkpoint / "policy_postprocessor.json", {"steps.0.state_file": "gone.safetensors"})
    refused(checkpoint, "no file 'gone.safetensors' with the statistics of feature 'action'")


# -- codec -------------------------------------------------------------------------------------------------------------
def test_no_codec(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub.errors import RepositoryNotFoundError

    def gone(name: str, file: str) -> str:
        assert name == "lerobot/fast-action-tokenizer"
        answer: Any = SimpleNamespace(headers={}, request=None)
        raise RepositoryNotFoundError("404", response=answer)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", gone)
    (checkpoint / "fast_tokenizer" / "processor_config.json").unlink()
    refused(checkpoint, "no processor_config.json.*--fast-tokenizer FOLDER")


def test_a_codec_from_elsewhere(checkpoint: Path, tmp_path: Path) -> None:
    write_codec(tmp_path / "elsewhere", scale=20.0)
    assert load(checkpoint, "copy", device="cpu", fast_tokenizer=str(tmp_path / "elsewhere")).codec.scale == 20.0
    refused(checkpoint, "has no processor_config.json", fast_tokenizer=str(tmp_path))


def test_a_damaged_codec(checkpoint: Path) -> None:
    (checkpoint / "fast_tokenizer" / "tokenizer.json").write_text("[")
    refused(checkpoint, r"tokenizer\.json cannot be read")


def test_an_unknown_convention(checkpoint: Path) -> None:
    refused(checkpoint, "unknown convention 'droids'.*Did you mean 'droid'", UnknownNameError, convention="droids")
