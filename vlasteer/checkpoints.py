"""Checkpoints on disk: finding them, reading their headers, and a hash that 15 GB yield in seconds."""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

from vlasteer.errors import CheckpointError, MissingDependencyError

_MAX_HEADER = 100_000_000
_BLOCK = 1 << 22


@dataclass(frozen=True)
class TensorEntry:
    """Where one tensor lies: file, dtype name of safetensors, shape, first byte and length in the file."""

    file: Path
    dtype: str
    shape: tuple[int, ...]
    start: int
    length: int


def resolve_checkpoint(name: str) -> Path:
    """The folder of a checkpoint: a local path, a shipped one's name, or a hub name, downloaded when it is not cached.

    Raises:
        CheckpointError: neither a folder nor shipped nor obtainable from the hub.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    shipped = shipped_checkpoints()
    if name in shipped:
        return shipped[name]
    if path.is_file():
        raise CheckpointError(f"{path} is a file", expected="the checkpoint's folder (the one with config.json)")
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise CheckpointError(
            f"there is no checkpoint folder at {path}",
            expected="a folder with config.json, a hub name such as openvla/openvla-7b, or a shipped one "
            f"({', '.join(sorted(shipped)) or 'none here'})",
        )
    return _from_hub(name)


def shipped_checkpoints() -> dict[str, Path]:
    """Name -> folder of the checkpoints that installed packages bring.

    The entry points of the group `vlasteer.checkpoints` are functions that return such a mapping.
    """
    points = sorted(entry_points(group="vlasteer.checkpoints"), key=lambda point: point.name)
    return {name: Path(folder) for point in points for name, folder in point.load()().items()}


def _from_hub(name: str) -> Path:
    try:
        import huggingface_hub
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
    except ImportError as error:
        raise MissingDependencyError(
            "the Python package 'huggingface_hub' is not installed", fix="Run: pip install huggingface_hub"
        ) from error
    patterns = ["*.json", "*.safetensors", "*.model"]  # no *.py: hub code is never run
    try:
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=patterns))
    except HFValidationError as error:
        raise CheckpointError(f"'{name}' is neither a folder nor a valid hub name") from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise CheckpointError(
            f"'{name}' is no local folder, is not in the hub cache and cannot be downloaded ({type(error).__name__})",
            expected="a folder with config.json, or a hub name and a connection",
            fix=f"On a connected machine run: hf download {name}",
        ) from error


def read_json(folder: Path, name: str) -> dict:
    """A JSON object of a checkpoint folder.

    Raises:
        CheckpointError: the file is missing or malformed.
    """
    path = folder / name
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{folder} has no {name}", expected="a complete checkpoint folder") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path} cannot be read ({error})") from error
    if not isinstance(document, dict):
        raise CheckpointError(f"{path} holds a {type(document).__name__}", expected="a JSON object")
    return document


def tensor_index(folder: Path) -> dict[str, TensorEntry]:
    """Every tensor of the checkpoint's safetensors files, from their headers alone.

    Raises:
        CheckpointError: no safetensors file, a shard that the index names is absent, or a file that is truncated or
            damaged.
    """
    entries: dict[str, TensorEntry] = {}
    for file in _safetensors_files(folder):
        for name, entry in _read_header(file).items():
            if name in entries:
                raise CheckpointError(
                    f"tensor '{name}' is in both {entries[name].file.name} and {file.name}", expected="each tensor once"
                )
            entries[name] = entry
    return entries


def _safetensors_files(folder: Path) -> list[Path]:
    index = folder / "model.safetensors.index.json"
    if index.exists():
        weight_map = read_json(folder, index.name).get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise CheckpointError(f"{index} has no weight_map")
        files = [folder / name for name in sorted(set(weight_map.values()))]
    else:
        files = [folder / "model.safetensors"]
    for file in files:
        if not file.is_file():
            raise CheckpointError(
                f"{folder} has no {file.name}", expected="safetensors weights as the index names them"
            )
    return files


def _read_header(file: Path) -> dict[str, TensorEntry]:
    size = file.stat().st_size
    damaged = f"{file} is truncated or damaged"
    with file.open("rb") as stream:
        prefix = stream.read(8)
        if len(prefix) < 8:
            raise CheckpointError(damaged, expected="a safetensors file", fix="Copy or download it again")
        (length,) = struct.unpack("<Q", prefix)
        if length > min(_MAX_HEADER, size - 8):
            raise CheckpointError(damaged, expected="a safetensors file", fix="Copy or download it again")
        try:
            header = json.loads(stream.read(length))
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            raise CheckpointError(f"{damaged} ({error})", fix="Copy or download it again") from error
    entries = {}
    for name, item in header.items():
        if name == "__metadata__":
            continue
        start, end = item["data_offsets"]
        if 8 + length + end > size:
            raise CheckpointError(
                f"{damaged}: tensor '{name}' ends at byte {8 + length + end}",
                expected=f"at most {size} bytes",
                fix="Copy or download it again",
            )
        entries[name] = TensorEntry(file, item["dtype"], tuple(item["shape"]), 8 + length + start, end - start)
    return entries


def checkpoint_hash(entries: dict[str, TensorEntry], features_depend_on: Callable[[str], bool]) -> str:
    """Hex digest of what a feature pack depends on: every tensor's name, dtype and shape, and the bytes of some.

    The same weights give the same digest however they are split into files.

    Args:
        entries: from `tensor_index`.
        features_depend_on: which tensors' bytes count: value vectors and the token basis.
    """
    digest = hashlib.sha256()
    for name in sorted(entries):
        entry = entries[name]
        digest.update(f"{name}\0{entry.dtype}\0{entry.shape}\n".encode())
    chosen = [n for n in sorted(entries) if features_depend_on(n)]
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        for part in pool.map(lambda n: _tensor_digest(entries[n]), chosen):
            digest.update(part)
    return digest.hexdigest()


def _tensor_digest(entry: TensorEntry) -> bytes:
    digest = hashlib.sha256()
    remaining = entry.length
    with entry.file.open("rb") as stream:
        stream.seek(entry.start)
        while remaining:
            block = stream.read(min(_BLOCK, remaining))
            if not block:
                raise CheckpointError(f"{entry.file} is truncated", fix="Copy or download it again")
            digest.update(block)
            remaining -= len(block)
    return digest.digest()
