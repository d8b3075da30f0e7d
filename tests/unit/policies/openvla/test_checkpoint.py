"""A damaged or foreign checkpoint gives one line that names what is wrong."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from altered import DELETE, edit_json, edit_tensors
from torch import Tensor

from vlasteer.errors import CheckpointError, ConfigError, InputError, UnknownNameError
from vlasteer.policies.openvla import load
from vlasteer.steering.selftest import self_test

FC3 = "projector.fc3.bias"
STATISTICS = "dataset_statistics.json"


def refused(folder: Path, message: str, kind: type[InputError] = CheckpointError, **options: Any) -> None:
    with pytest.raises(kind, match=message) as caught:
        load(folder, "copy", **({"device": "cpu", "unnorm_key": "libero_10"} | options))
    assert "\n" not in str(caught.value)
    assert caught.value.exit_status == 2


# -- weights -----------------------------------------------------------------------------------------------------------
def drop(tensors: dict[str, Tensor]) -> None:
    del tensors[FC3]


def add(tensors: dict[str, Tensor]) -> None:
    tensors["projector.fc4.weight"] = torch.ones(1)


def reshape(tensors: dict[str, Tensor]) -> None:
    tensors[FC3] = torch.ones(25)


def retype(tensors: dict[str, Tensor]) -> None:
    tensors[FC3] = torch.ones(24, dtype=torch.int64)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop, f"lacks tensor {FC3}"),
        (add, "has tensor projector.fc4.weight"),
        (reshape, rf"{FC3} \(25,\), expected \(24,\)"),
        (retype, f"{FC3} I64"),
    ],
)
def test_tensors_that_do_not_fit(checkpoint: Path, change: Callable[[dict[str, Tensor]], None], message: str) -> None:
    edit_tensors(checkpoint, change)
    refused(checkpoint, message)


def test_what_the_towers_never_use_may_be_absent(checkpoint: Path) -> None:
    unused = ("featurizer.blocks.3.", "fused_featurizer.blocks.4.", "featurizer.norm.", "fused_featurizer.norm.")

    def trim(tensors: dict[str, Tensor]) -> None:
        for key in list(tensors):
            if key.removeprefix("vision_backbone.").startswith((*unused, "fused_featurizer.attn_pool.")):
                del tensors[key]

    before = load(checkpoint, "copy", device="cpu", unnorm_key="libero_10")
    seen = before.example()
    wanted = before.act(seen).token_ids.tolist()
    edit_tensors(checkpoint, trim)
    after = load(checkpoint, "copy", device="cpu", unnorm_key="libero_10")
    assert after.act(seen).token_ids.tolist() == wanted


def test_a_truncated_shard(checkpoint: Path) -> None:
    shard = checkpoint / "model-00002-of-00003.safetensors"
    shard.write_bytes(shard.read_bytes()[:-100])
    refused(checkpoint, "model-00002-of-00003.safetensors is truncated or damaged")


def test_a_missing_shard(checkpoint: Path) -> None:
    (checkpoint / "model-00003-of-00003.safetensors").unlink()
    refused(checkpoint, "has no model-00003-of-00003.safetensors")


def test_weights_with_nan_are_found_by_the_self_test(checkpoint: Path) -> None:
    def spoil(tensors: dict[str, Tensor]) -> None:
        tensors["language_model.model.layers.1.mlp.up_proj.weight"][3, 5] = math.nan

    edit_tensors(checkpoint, spoil)
    policy = load(checkpoint, "copy", device="cpu", unnorm_key="libero_10")
    with pytest.raises(CheckpointError, match="NaN or infinity"):
        self_test(policy)


# -- the other files ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "tokenizer.json"])
def test_a_missing_file(checkpoint: Path, name: str) -> None:
    (checkpoint / name).unlink()
    refused(checkpoint, f"has no {name}")


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "tokenizer.json", STATISTICS])
def test_a_file_that_is_no_json(checkpoint: Path, name: str) -> None:
    (checkpoint / name).write_text('{"half": ')
    refused(checkpoint, f"{name} cannot be read")


def test_another_kind_of_model(checkpoint: Path) -> None:
    edit_json(checkpoint / "config.json", {"model_type": "llava"})
    refused(checkpoint, "model_type 'llava'")


def test_a_foreign_tokenizer(checkpoint: Path) -> None:
    tokenizer = json.loads((checkpoint / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"] = {k: v for k, v in tokenizer["model"]["vocab"].items() if v < 500}
    tokenizer["model"]["merges"] = []
    tokenizer["added_tokens"] = tokenizer["added_tokens"][:3]
    (checkpoint / "tokenizer.json").write_text(json.dumps(tokenizer))
    refused(checkpoint, "tokenizer.json has 500 tokens. Expected 32000 to 32064")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("tvf_normalize_params", DELETE, "'tvf_normalize_params' is None"),
        ("tvf_resize_params", [], "'tvf_resize_params'"),
        ("tvf_resize_params.1.interpolation", 2, "interpolation 2 is not bicubic"),
        ("tvf_crop_params.0.output_size", [196, 224], "images of 224 x 196 for tower 'featurizer'"),
        ("tvf_normalize_params.0.std", [0.2, 0.0, 0.2], "tower 0: unusable.*std positive"),
        ("tvf_normalize_params.0.mean", [0.5], "tower 0: unusable"),
    ],
)
def test_wrong_image_parameters(checkpoint: Path, field: str, value: Any, message: str) -> None:
    edit_json(checkpoint / "preprocessor_config.json", {field: value})
    refused(checkpoint, message)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("q01", DELETE, "KeyError: 'q01'"),
        ("q99", [1.0, 2.0], "shapes"),
        ("q99", [math.nan] * 7, "finite"),
        ("q99", [-5.0] * 7, "in order"),
        ("q01", ["a"] * 7, "'a'"),
        ("mask", [1] * 7, "int64"),
    ],
)
def test_wrong_statistics(checkpoint: Path, field: str, value: Any, message: str) -> None:
    edit_json(checkpoint / STATISTICS, {f"libero_10_no_noops.action.{field}": value})
    refused(checkpoint, f"libero_10_no_noops: unusable action statistics.*{message}")


def test_no_statistics_at_all(checkpoint: Path) -> None:
    (checkpoint / STATISTICS).unlink()
    assert load(checkpoint, "copy", device="cpu").unnorm_keys == ("bridge_orig", "libero_10_no_noops")
    edit_json(checkpoint / "config.json", {"norm_stats": None})
    refused(checkpoint, "no action statistics")


def test_local_statistics_replace_those_of_the_config(checkpoint: Path) -> None:
    document = json.loads((checkpoint / STATISTICS).read_text())
    (checkpoint / STATISTICS).write_text(json.dumps({"mine": document["bridge_orig"]}))
    policy = load(checkpoint, "copy", device="cpu")
    assert policy.unnorm_keys == ("mine",)
    assert policy.unnorm_key == "mine"


# -- options -----------------------------------------------------------------------------------------------------------
def test_a_wrong_unnorm_key_lists_the_keys(checkpoint: Path) -> None:
    message = "unnorm key 'libero_1'. Expected one of: bridge_orig, libero_10_no_noops"
    refused(checkpoint, message, UnknownNameError, unnorm_key="libero_1")


def test_no_unnorm_key_matters_only_when_an_action_is_asked_for(checkpoint: Path) -> None:
    policy = load(checkpoint, "copy", device="cpu")
    self_test(policy)
    assert policy.anatomy.token_basis.size == 32064
    message = "2 data sets and none was chosen.*one of: bridge_orig, libero_10_no_noops.*--unnorm-key"
    with pytest.raises(ConfigError, match=message):
        policy.act(policy.example())
    with pytest.raises(ConfigError, match=message):
        _ = policy.action_spec


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"image_path": "libera"}, UnknownNameError, "image path 'libera'.*Did you mean 'libero'"),
        ({"prompt_style": "chat"}, UnknownNameError, "prompt style 'chat'"),
        ({"convention": "joint"}, ConfigError, "convention 'joint'"),
        ({"device": "toaster"}, ConfigError, "device 'toaster'"),
        ({"dtype": "float8"}, ConfigError, "dtype 'float8'"),
    ],
)
def test_wrong_options(checkpoint: Path, options: dict[str, str], kind: type[InputError], message: str) -> None:
    refused(checkpoint, message, kind, **options)


def test_a_hub_name_without_a_connection() -> None:
    """In a process of its own: huggingface_hub reads the variable once, at its import."""
    program = (
        "from vlasteer.registry import load_policy\n"
        "from vlasteer.errors import CheckpointError\n"
        "try:\n    load_policy('openvla/openvla-7b-not-in-any-cache')\n"
        "except CheckpointError as error:\n    print(error)\n"
    )
    environment = {"HF_HUB_OFFLINE": "1", "PATH": "", "PYTHONPATH": str(Path(__file__).parents[4])}
    answer = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert answer.stdout.count("\n") == 1, answer.stderr
    assert "'openvla/openvla-7b-not-in-any-cache' is no local folder, is not in the hub cache" in answer.stdout
    assert "hf download openvla/openvla-7b-not-in-any-cache" in answer.stdout
