"""Tensors into modules: strictly, mapped, cast one by one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from vlasteer.checkpoints import tensor_index
from vlasteer.errors import CheckpointError, ConfigError
from vlasteer.policies.weights import assign_weights, choose_device, choose_dtype

CPU = torch.device("cpu")


def network() -> nn.Module:
    with torch.device("meta"):
        return nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)).requires_grad_(False)


def stored(**changes: Tensor | None) -> dict[str, Tensor]:
    tensors = {
        "0.weight": torch.arange(12.0).reshape(4, 3),
        "0.bias": torch.ones(4),
        "1.weight": torch.ones(2, 4),
        "1.bias": torch.zeros(2),
    }
    for name, tensor in changes.items():
        key = name.replace("_", ".")
        if tensor is None:
            del tensors[key]
        else:
            tensors[key] = tensor
    return tensors


def assign(folder: Path, tensors: dict[str, Tensor], **options: object) -> nn.Module:
    save_file(tensors, folder / "model.safetensors")
    model = network()
    settings: dict = {"device": CPU, "dtype": torch.float32} | options
    assign_weights(model, tensor_index(folder), **settings)
    return model


def test_every_parameter_gets_its_tensor(tmp_path: Path) -> None:
    model = assign(tmp_path, stored())
    assert torch.equal(model.state_dict()["0.weight"], stored()["0.weight"])
    assert torch.equal(model(torch.ones(1, 3)), torch.tensor([[70.0, 70.0]]))


def mapped_file(address: int) -> str:
    """The file that is mapped at an address of this process, or an empty string."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, *_, name = line.split(maxsplit=5) if line.count("/") else (line.split()[0], "")
        first, last = (int(part, 16) for part in span.split("-"))
        if first <= address < last:
            return name
    return ""


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="the kernel does not list memory maps here")
def test_tensors_of_the_right_dtype_are_the_file_itself(tmp_path: Path) -> None:
    model = assign(tmp_path, stored())
    file = str(tmp_path / "model.safetensors")
    assert {mapped_file(parameter.data_ptr()) for parameter in model.parameters()} == {file}
    cast = assign(tmp_path, stored(), dtype=torch.bfloat16)
    assert file not in {mapped_file(parameter.data_ptr()) for parameter in cast.parameters()}
    assert {parameter.dtype for parameter in cast.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"0_bias": None}, "lacks tensor 0.bias"),
        ({"0_bias": None, "1_bias": None}, "lacks tensors 0.bias; 1.bias"),
        ({"2_weight": torch.ones(1)}, "has tensor 2.weight"),
        ({"0_weight": torch.ones(3, 4)}, r"0.weight \(3, 4\), expected \(4, 3\)"),
        ({"0_bias": torch.ones(4, dtype=torch.int32)}, "0.bias I32"),
    ],
)
def test_a_tensor_that_does_not_fit_is_named(tmp_path: Path, changes: dict[str, Tensor | None], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        assign(tmp_path, stored(**changes))


def test_tensors_without_a_place_may_be_stored(tmp_path: Path) -> None:
    tensors = stored(pool_weight=torch.ones(1))
    assign(tmp_path, tensors, unused=lambda key: key.startswith("pool."))
    with pytest.raises(CheckpointError, match=r"lacks tensor 0\.bias"):  # what the model needs is never unused
        assign(tmp_path, stored(**{"0_bias": None}), unused=lambda key: True)


def test_devices_and_dtypes_by_name() -> None:
    assert choose_dtype(None, CPU) is torch.float32
    assert choose_dtype(None, torch.device("cuda")) is torch.bfloat16
    assert choose_dtype("float16", CPU) is torch.float16
    assert choose_device("cpu") == CPU
    with pytest.raises(ConfigError, match="dtype 'int8'"):
        choose_dtype("int8", CPU)
    with pytest.raises(ConfigError, match="device 'toaster' cannot be used"):
        choose_device("toaster")
    with pytest.raises(ConfigError, match="device 'cuda:99' cannot be used"):
        choose_device("cuda:99")
