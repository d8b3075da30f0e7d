"""Headers, hashes and damaged files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from vlasteer.checkpoints import checkpoint_hash, read_json, resolve_checkpoint, tensor_index
from vlasteer.errors import CheckpointError

TENSORS = {"a.weight": torch.arange(12.0).reshape(3, 4), "b.weight": torch.ones(5, dtype=torch.bfloat16)}


def single(folder: Path, tensors: dict[str, torch.Tensor]) -> Path:
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / "model.safetensors")
    return folder


def sharded(folder: Path, tensors: dict[str, torch.Tensor]) -> Path:
    folder.mkdir(exist_ok=True)
    weight_map = {}
    for i, (name, tensor) in enumerate(tensors.items()):
        save_file({name: tensor}, folder / f"model-{i}.safetensors")
        weight_map[name] = f"model-{i}.safetensors"
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return folder


def all_bytes(_: str) -> bool:
    return True


def test_the_index_knows_every_tensor(tmp_path: Path) -> None:
    entries = tensor_index(single(tmp_path / "s", TENSORS))
    assert {n: (e.dtype, e.shape) for n, e in entries.items()} == {
        "a.weight": ("F32", (3, 4)),
        "b.weight": ("BF16", (5,)),
    }


def test_the_hash_does_not_depend_on_the_files(tmp_path: Path) -> None:
    one = checkpoint_hash(tensor_index(single(tmp_path / "s", TENSORS)), all_bytes)
    many = checkpoint_hash(tensor_index(sharded(tmp_path / "m", TENSORS)), all_bytes)
    assert one == many


@pytest.mark.parametrize("change", ["value", "shape", "name", "dtype"])
def test_the_hash_sees_every_change(tmp_path: Path, change: str) -> None:
    a = TENSORS["a.weight"].clone()
    other = {
        "value": {"a.weight": a + 1e-6 * (a == 7)},
        "shape": {"a.weight": a.reshape(4, 3)},
        "name": {"c.weight": a},
        "dtype": {"a.weight": a.double()},
    }[change]
    before = checkpoint_hash(tensor_index(single(tmp_path / "x", {"a.weight": a})), all_bytes)
    assert checkpoint_hash(tensor_index(single(tmp_path / "y", other)), all_bytes) != before


def test_bytes_that_features_do_not_depend_on_are_not_read(tmp_path: Path) -> None:
    changed = TENSORS | {"b.weight": TENSORS["b.weight"] * 2}
    hashes = [
        checkpoint_hash(tensor_index(single(tmp_path / n, t)), lambda name: name == "a.weight")
        for n, t in (("x", TENSORS), ("y", changed))
    ]
    assert hashes[0] == hashes[1]


@settings(deadline=None, max_examples=40)
@given(keep=st.floats(0, 0.999))
def test_a_truncated_file_is_named(tmp_path_factory: pytest.TempPathFactory, keep: float) -> None:
    folder = single(tmp_path_factory.mktemp("t"), TENSORS)
    file = folder / "model.safetensors"
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(CheckpointError, match=r"model\.safetensors is truncated"):
        tensor_index(folder)


@given(st.binary(max_size=200))
def test_random_bytes_are_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.mktemp("r")
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError):
        tensor_index(folder)


def test_missing_pieces_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no model\.safetensors"):
        tensor_index(tmp_path)
    folder = sharded(tmp_path / "m", TENSORS)
    (folder / "model-1.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"no model-1\.safetensors"):
        tensor_index(folder)
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        read_json(folder, "config.json")
    (folder / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_json(folder, "config.json")


def test_folders_files_and_typing_mistakes(tmp_path: Path) -> None:
    assert resolve_checkpoint(str(tmp_path)) == tmp_path
    (tmp_path / "f").write_text("")
    with pytest.raises(CheckpointError, match="is a file"):
        resolve_checkpoint(str(tmp_path / "f"))
    with pytest.raises(CheckpointError, match="no checkpoint folder"):
        resolve_checkpoint(str(tmp_path / "none"))
