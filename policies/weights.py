"""Putting a checkpoint's tensors into a module: strictly, memory-mapped, and without a second copy."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn

from vlasteer.checkpoints import TensorEntry
from vlasteer.errors import CheckpointError, ConfigError

_SHOWN = 5
_FLOATS = ("F64", "F32", "F16", "BF16")
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def assign_weights(
    model: nn.Module,
    entries: Mapping[str, TensorEntry],
    *,
    device: torch.device,
    dtype: torch.dtype,
    unused: Callable[[str], bool] = lambda key: False,
    stored_as: Mapping[str, str] | None = None,
    exact: Callable[[str], bool] = lambda key: False,
) -> None:
    """Give every parameter of `model` (built on the meta device) its tensor.

    A tensor that is stored in `dtype` and stays on the CPU is the mapped file itself; the others are converted one by
    one, so that nothing is ever in memory twice.

    Args:
        model: its state dict has the checkpoint's key names.
        entries: from `vlasteer.checkpoints.tensor_index`, by the model's key names.
        device, dtype: where and as what the parameters end up.
        unused: which stored tensors the model has no place for.
        stored_as: model key -> key in the file, where the two differ.
        exact: which parameters are float32 whatever `dtype` is.

    Raises:
        CheckpointError: a tensor is missing, extra, misshapen or not of a floating dtype; the message names it.
    """
    wanted = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    _check(wanted, {key: entry for key, entry in entries.items() if key in wanted or not unused(key)})
    tensors = {
        key: tensor.to(device, torch.float32 if exact(key) else dtype)
        for key, tensor in _mapped(entries, wanted, stored_as or {})
    }
    model.load_state_dict(tensors, strict=True, assign=True)


def _check(wanted: Mapping[str, tuple[int, ...]], stored: Mapping[str, TensorEntry]) -> None:
    fix = "Check that the download is complete and that config.json belongs to these weights"
    if missing := sorted(wanted.keys() - stored.keys()):
        raise CheckpointError(f"the checkpoint lacks {_named(missing)}", expected="every tensor of the model", fix=fix)
    if extra := sorted(stored.keys() - wanted.keys()):
        raise CheckpointError(f"the checkpoint has {_named(extra)}", expected="only tensors of the model", fix=fix)
    if odd := [
        f"{key} {stored[key].shape}, expected {shape}" for key, shape in wanted.items() if stored[key].shape != shape
    ]:
        raise CheckpointError(
            f"the checkpoint's tensors have other shapes than config.json asks for: {_named(odd, 'tensors')}", fix=fix
        )
    if odd := [f"{key} {stored[key].dtype}" for key in wanted if stored[key].dtype not in _FLOATS]:
        raise CheckpointError(f"the checkpoint has {_named(odd)}", expected=f"one of {', '.join(_FLOATS)}")


def _named(names: Collection[str], noun: str = "") -> str:
    shown = "; ".join(list(names)[:_SHOWN])
    more = f"; ... ({len(names)} in all)" if len(names) > _SHOWN else ""
    return f"{shown}{more}" if noun else f"{'tensor' if len(names) == 1 else 'tensors'} {shown}{more}"


def _mapped(
    entries: Mapping[str, TensorEntry], wanted: Collection[str], stored_as: Mapping[str, str]
) -> Iterator[tuple[str, Tensor]]:
    by_file: dict[Path, list[str]] = defaultdict(list)
    for key in wanted:
        by_file[entries[key].file].append(key)
    for file, keys in by_file.items():
        # On the CPU safetensors maps the file: a tensor is a view of the map, its pages are read when they are used.
        with safe_open(file, framework="pt", device="cpu") as handle:
            for key in keys:
                yield key, handle.get_tensor(stored_as.get(key, key))


def choose_device(name: str | None) -> torch.device:
    """The device of that name; default is CUDA where there is one.

    Raises:
        ConfigError: no such device on this machine.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(f"device '{name}' cannot be used ({reason})", expected="cpu, cuda, cuda:1, ...") from error
    return device


def choose_dtype(name: str | None, device: torch.device) -> torch.dtype:
    """The dtype of that name; default is float32 on the CPU and bfloat16 elsewhere.

    Raises:
        ConfigError: not a dtype that weights may have.
    """
    if name is None:
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    if name not in _DTYPES:
        raise ConfigError(f"dtype '{name}'", expected=f"one of {', '.join(_DTYPES)}")
    return _DTYPES[name]
