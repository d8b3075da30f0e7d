"""Checkpoints that somebody has changed: a writable copy and the ways to change it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

DELETE = object()
"""As a value: the field goes."""


def copy_checkpoint(source: Path, target: Path) -> Path:
    """A writable copy."""
    target.mkdir(parents=True)
    for file in source.iterdir():
        if file.is_file():
            shutil.copyfile(file, target / file.name)
    return target


def edit_json(path: Path, changes: dict[str, Any]) -> None:
    """Set fields of a JSON object; a name such as "text_config.vocab_size" or "items.0.mean" leads into it."""
    document = json.loads(path.read_text())
    for name, value in changes.items():
        *inner, last = name.split(".")
        place: Any = document
        for part in inner:
            place = place[int(part)] if isinstance(place, list) else place[part]
        if value is DELETE:
            del place[last]
        else:
            place[int(last) if isinstance(place, list) else last] = value
    path.write_text(json.dumps(document))


def tensors_of(folder: Path) -> dict[str, Tensor]:
    """Every tensor of the checkpoint."""
    tensors = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as handle:
            tensors |= {key: handle.get_tensor(key).clone() for key in handle.keys()}  # noqa: SIM118 - no mapping
    return tensors


def edit_tensors(folder: Path, change: Callable[[dict[str, Tensor]], None]) -> None:
    """Let `change` edit the tensors, and store them in a single file."""
    tensors = tensors_of(folder)
    for file in (*folder.glob("*.safetensors"), folder / "model.safetensors.index.json"):
        file.unlink(missing_ok=True)
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
