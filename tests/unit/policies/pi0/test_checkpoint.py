"""A damaged or foreign Pi0 checkpoint gives one line that names what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from altered import DELETE, edit_json, edit_tensors, tensors_of
from safetensors.torch import save_file
from tiny_pi import STATE, write_openpi, write_pi0, write_statistics
from torch import Tensor

from vlasteer.errors import CheckpointError, ConfigError, InputError, UnknownNameError
from vlasteer.policies.pi0 import load, recognises

EXPERT = "model.paligemma_with_expert.gemma_expert.model."
BEFORE, AFTER = "policy_preprocessor.json", "policy_postprocessor.json"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_pi0(tmp_path / "checkpoint")


def refused(folder: Path, message: str, kind: type[InputError] = CheckpointError, **options: Any) -> None:
    with pytest.raises(kind, match=message) as caught:
        load(folder, "copy", device="cpu", **options)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_status == 2


# -- weights -----------------------------------------------------------------------------------------------------------
def drop(tensors: dict[str, Tensor]) -> None:
    del tensors[f"{EXPERT}layers.1.mlp.down_proj.weight"]


def add(tensors: dict[str, Tensor]) -> None:
    tensors["model.critic.weight"] = torch.ones(1)


def reshape(tensors: dict[str, Tensor]) -> None:
    tensors["model.state_proj.weight"] = torch.ones(12, 8)


def retype(tensors: dict[str, Tensor]) -> None:
    tensors["model.state_proj.bias"] = torch.ones(12, dtype=torch.int64)


def twice(tensors: dict[str, Tensor]) -> None:
    tensors["state_proj.bias"] = tensors["model.state_proj.bias"].clone()


def pi05(tensors: dict[str, Tensor]) -> None:
    tensors["model.time_mlp_in.weight"] = torch.ones(12, 12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop, r"lacks tensor model\.dit\.layers\.1\.mlp\.down_proj\.weight"),
        (add, r"has tensor critic\.weight"),
        (reshape, r"state_proj\.weight \(12, 8\), expected \(12, 32\)"),
        (retype, r"state_proj\.bias I64"),
        (twice, r"'model\.state_proj\.bias' and 'state_proj\.bias' are the same"),
        (pi05, r"pi0\.5"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_tensors(checkpoint: Path, change: Callable[[dict[str, Tensor]], None], message: str) -> None:
    tensors = {key: tensor for key, tensor in tensors_of(checkpoint).items() if key.startswith("model.")}
    change(tensors)
    save_file(tensors, checkpoint / "model.safetensors")
    refused(checkpoint, message)


def test_truncated_weights(checkpoint: Path) -> None:
    weights = checkpoint / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    refused(checkpoint, "truncated")


def test_no_weights(checkpoint: Path) -> None:
    (checkpoint / "model.safetensors").unlink()
    refused(checkpoint, r"no model\.safetensors")


# -- config.json -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input_features": DELETE}, r"config\.json has no field 'input_features'"),
        ({"chunk_size": "ten"}, r"'chunk_size' is 'ten'\. Expected a whole number"),
        ({"chunk_size": 0}, r"'chunk_size' is 0\. Expected at least 1"),
        ({"max_action_dim": True}, r"'max_action_dim' is True"),
        ({"image_resolution": [28, 56]}, r"image_resolution is \[28, 56\]\. Expected a square"),
        ({"image_resolution": [28]}, r"image_resolution is \[28\]\. Expected a square"),
        ({"tiny_model": DELETE, "paligemma_variant": "gemma_9b"}, r"paligemma_variant is 'gemma_9b'"),
        ({"tiny_model": DELETE, "paligemma_variant": "gemma_2b_lora"}, r"Merge LoRA weights"),
        ({"tiny_model.action_expert.depth": 3}, r"action expert reads 3 x 1 x 8 keys"),
        ({"tiny_model.vision.num_attention_heads": 3}, r"vision tower has width 16, 3 heads"),
        ({"output_features.action.shape": [7, 1]}, r"feature 'action' has shape \[7, 1\]"),
        (
            {"input_features": {"observation.state": {"type": "STATE", "shape": [STATE]}}},
            r"input_features has no camera",
        ),
    ],
)
def test_config(checkpoint: Path, changes: dict[str, Any], message: str) -> None:
    edit_json(checkpoint / "config.json", changes)
    refused(checkpoint, message)


def test_other_folders_are_not_recognised(tmp_path: Path, checkpoint: Path) -> None:
    assert recognises(checkpoint)
    assert not recognises(tmp_path)
    (checkpoint / "config.json").write_text("{")
    assert not recognises(checkpoint)
    (checkpoint / "config.json").write_text('{"type": "act"}')
    assert not recognises(checkpoint)


# -- processors --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("file", [BEFORE, AFTER])
def test_no_processor(checkpoint: Path, file: str) -> None:
    (checkpoint / file).unlink()
    refused(checkpoint, f"has no {file}")


@pytest.mark.parametrize(
    ("file", "changes", "message"),
    [
        (BEFORE, {"steps": []}, "has no step 'tokenizer_processor'.*migrate_policy_normalization"),
        (AFTER, {"steps": []}, "has no step 'unnormalizer_processor'.*migrate_policy_normalization"),
        (BEFORE, {"steps.3.state_file": DELETE}, "no file '' with the statistics of feature 'observation.state'"),
        (BEFORE, {"steps.3.state_file": "gone.safetensors"}, "no file 'gone.safetensors'"),
        (BEFORE, {"steps.3.state_file": "../statistics.safetensors"}, "no file '../statistics.safetensors'"),
        (BEFORE, {"steps.3.config.norm_map.STATE": "LOG"}, "STATE is 'LOG'. Expected one of IDENTITY, MEAN_STD"),
        (BEFORE, {"steps.3.config.norm_map.VISUAL": "MEAN_STD"}, "VISUAL is normalised"),
        (BEFORE, {"steps.3.config.norm_map.STATE": "QUANTILES"}, "no statistic 'q01' of feature 'observation.state'"),
    ],
)
def test_processor(checkpoint: Path, file: str, changes: dict[str, Any], message: str) -> None:
    edit_json(checkpoint / file, changes)
    refused(checkpoint, message)


@pytest.mark.parametrize(
    ("statistic", "value", "message"),
    [
        ("observation.state.std", None, "no statistic 'std' of feature 'observation.state'"),
        ("action.mean", None, "no statistic 'mean' of feature 'action'"),
        ("action.mean", torch.ones(6), "statistic 'mean' of feature 'action'.*Expected 7 finite"),
        ("action.std", torch.full((7,), torch.nan), "Expected 7 finite"),
        ("action.std", -torch.ones(7), "Expected 7 finite"),
    ],
)
def test_statistics(checkpoint: Path, statistic: str, value: Tensor | None, message: str) -> None:
    statistics = {key: tensor for key, tensor in tensors_of(checkpoint).items() if not key.startswith("model.")}
    if value is None:
        del statistics[statistic]
    else:
        statistics[statistic] = value
    save_file(statistics, checkpoint / "statistics.safetensors")
    refused(checkpoint, message)


def test_damaged_statistics(checkpoint: Path) -> None:
    (checkpoint / "statistics.safetensors").write_bytes(b"\x10")
    refused(checkpoint, r"statistics\.safetensors cannot be read")


# -- tokenizer ---------------------------------------------------------------------------------------------------------
def test_a_gated_tokenizer_is_named_as_such(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub.errors import GatedRepoError

    def gated(name: str, file: str) -> str:
        assert (name, file) == ("google/gated", "tokenizer.json")
        answer: Any = SimpleNamespace(headers={}, request=None)
        raise GatedRepoError("403", response=answer)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", gated)
    (checkpoint / "tokenizer.json").unlink()
    refused(checkpoint, "'google/gated' is gated.*hf auth login.*--tokenizer FOLDER")


def test_an_unreachable_tokenizer(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub.errors import LocalEntryNotFoundError

    def offline(name: str, file: str) -> str:
        raise LocalEntryNotFoundError("offline")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", offline)
    (checkpoint / "tokenizer.json").unlink()
    refused(checkpoint, "carries no tokenizer.json.*hf download google/gated.*--tokenizer FOLDER")


def test_a_tokenizer_from_elsewhere(checkpoint: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "tokenizer"
    elsewhere.mkdir()
    refused(checkpoint, "has no tokenizer.json", tokenizer=str(elsewhere))
    (checkpoint / "tokenizer.json").rename(elsewhere / "tokenizer.json")
    for place in (elsewhere, elsewhere / "tokenizer.json"):
        assert load(checkpoint, "copy", device="cpu", tokenizer=str(place)).tokenizer.bos == 2


def test_a_damaged_tokenizer(checkpoint: Path) -> None:
    (checkpoint / "tokenizer.json").write_text("{}")
    refused(checkpoint, r"tokenizer\.json cannot be read")


def test_a_foreign_tokenizer(checkpoint: Path) -> None:
    path = checkpoint / "tokenizer.json"
    path.write_text(path.read_text().replace("<bos>", "<go>"))
    refused(checkpoint, "no <bos>")


def test_more_tokens_than_the_model_has(checkpoint: Path) -> None:
    document = json.loads((checkpoint / "tokenizer.json").read_text())
    document["model"]["vocab"]["surplus"] = len(document["model"]["vocab"])
    (checkpoint / "tokenizer.json").write_text(json.dumps(document))
    refused(checkpoint, "tokens. Expected at most")


# -- convention --------------------------------------------------------------------------------------------------------
def test_conventions_that_do_not_fit(checkpoint: Path) -> None:
    refused(checkpoint, "unknown convention 'libro'.*Did you mean 'libero'", UnknownNameError, convention="libro")
    refused(checkpoint, "'ur5' has 7 state and 7 action numbers. Expected 8 and 7", ConfigError, convention="ur5")


# -- openpi ------------------------------------------------------------------------------------------------------------
@pytest.fixture
def openpi(tmp_path: Path) -> Path:
    return write_openpi(tmp_path / "openpi")


def test_a_checkpoint_for_jax_names_the_converter(tmp_path: Path) -> None:
    folder = tmp_path / "pi0_droid"
    (folder / "params").mkdir(parents=True)
    (folder / "params" / "_METADATA").write_text("{}")
    assert recognises(folder)
    refused(folder, r"for JAX.*examples/convert_jax_model_to_pytorch\.py")


def test_an_openpi_training_checkpoint_says_what_it_lacks(openpi: Path) -> None:
    (openpi / "config.json").unlink()
    (openpi / "metadata.pt").touch()
    assert recognises(openpi)
    refused(openpi, r"without config\.json.*action_horizon")


def test_no_assets(openpi: Path) -> None:
    (openpi / "assets" / "physical-intelligence" / "libero" / "norm_stats.json").unlink()
    refused(openpi, r"no assets/<asset>/norm_stats\.json")


def test_a_convention_that_cannot_be_known_is_asked_for(tmp_path: Path) -> None:
    folder = write_openpi(tmp_path / "openpi", asset="somebody/kitchen")
    refused(folder, r"cannot be known from its assets \(somebody/kitchen\).*--convention", ConfigError)
    assert load(folder, "kitchen", device="cpu", convention="ur5").state_size == 7


def test_a_base_model_has_to_be_told(openpi: Path) -> None:
    write_statistics(openpi / "assets" / "droid")
    write_statistics(openpi / "assets" / "ur5e")
    write_statistics(openpi / "assets" / "ur5e_dual")
    refused(openpi, r"cannot be known from its assets \(droid, .*--convention", ConfigError)
    assert load(openpi, "base", device="cpu", convention="droid").action_spec.size == 8
    write_statistics(openpi / "assets" / "my_droid")
    refused(openpi, "has 2 assets for convention 'droid'", convention="droid")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"actions": {"mean": [0.0] * 7}}, "no statistic 'std' of feature 'actions'"),
        ({"state": {"mean": [0.0] * 3, "std": [1.0] * 3}}, "'state' is .*Expected 8 finite"),
        ({"state": {"mean": ["zero"], "std": [1.0]}}, "'mean' is .*a list of numbers"),
        ({"state": []}, "'state' is .*Expected an object"),
    ],
)
def test_openpi_statistics(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    refused(write_openpi(tmp_path / "openpi", **change), message)


def test_lora_weights_that_were_not_merged(openpi: Path) -> None:
    edit_json(openpi / "config.json", {"tiny_model": DELETE, "action_expert_variant": "gemma_300m_lora"})
    refused(openpi, r"action_expert_variant is 'gemma_300m_lora'.*Merge LoRA")


def test_openpi_weights_of_pi05(openpi: Path) -> None:
    edit_tensors(openpi, lambda tensors: tensors.update({"time_mlp_in.weight": torch.ones(12, 12)}))
    refused(openpi, r"pi0\.5")
