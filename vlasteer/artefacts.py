"""Projections kept on disk, so that the minutes they take are spent once per checkpoint and variant.

They lie in `projections/` of the cache folder (see `vlasteer.cache`), two files each, named by the checkpoint's hash
and by a digest of the options:

    <hash>-<digest>.safetensors   tensors "<site>.ids" int32 and "<site>.scores" float32, both [width, top_k]
    <hash>-<digest>.json          format, checkpoint hash, options, sites, sizes, SHA-256 of the other file

The JSON file is written last and names the other's digest, so that a crash at any moment leaves a projection that is
whole or one that is made anew. One is reused only when the whole JSON document is the one that a new one would get.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from vlasteer.anatomy import Anatomy, Site, SiteKey
from vlasteer.cache import cache_folder
from vlasteer.projection import Projection, ProjectionOptions, project, vocabulary_sites

FORMAT = "vlasteer-projection/1"


class ArtefactWarning(UserWarning):
    """A kept result that cannot be read or written; it is made anew, or not kept."""


def load_or_project(
    anatomy: Anatomy,
    options: ProjectionOptions | None = None,
    *,
    checkpoint_hash: str,
    sites: Sequence[Site] | None = None,
    device: str | torch.device | None = None,
    progress: Callable[[int, int], None] | None = None,
    folder: Path | None = None,
) -> Projection:
    """The kept projection if there is one, else a new one, which is then kept. Arguments are those of `project`.

    Args:
        folder: where projections are kept; default the cache.

    Warns:
        ArtefactWarning: a kept projection is damaged, or the new one cannot be kept.
    """
    options = options or ProjectionOptions()
    folder = cache_folder() / "projections" if folder is None else folder
    expected = _description(anatomy, options, vocabulary_sites(anatomy, sites), checkpoint_hash)
    stem = folder / _name(expected)
    if checkpoint_hash and (kept := _read(stem, expected, options)) is not None:
        return kept
    projection = project(
        anatomy, options, checkpoint_hash=checkpoint_hash, sites=sites, device=device, progress=progress
    )
    if checkpoint_hash:
        _write(stem, expected, projection)
    return projection


def _description(
    anatomy: Anatomy, options: ProjectionOptions, sites: Sequence[Site], checkpoint_hash: str
) -> dict[str, Any]:
    """All that a projection depends on, as JSON types."""
    dtypes = {str(anatomy.value_vectors(site).dtype).removeprefix("torch.") for site in sites}
    return {
        "format": FORMAT,
        "checkpoint": checkpoint_hash,
        "options": options.document(),
        # A checkpoint that was loaded in another precision has other value vectors.
        "weights": "+".join(sorted(dtypes)),
        "vocabulary": anatomy.token_basis.size,
        "sites": {str(site.key): site.width for site in sites},
    }


def _name(description: dict[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()
    return f"{description['checkpoint'][:16]}-{digest[:16]}"


def _files(stem: Path) -> tuple[Path, Path]:
    return stem.with_name(stem.name + ".safetensors"), stem.with_name(stem.name + ".json")


def _read(stem: Path, expected: dict[str, Any], options: ProjectionOptions) -> Projection | None:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    data, description = _files(stem)
    if not description.exists():
        return None
    try:
        document = json.loads(description.read_text(encoding="utf-8"))
        digest = document.pop("sha256") if isinstance(document, dict) else None
        if document != expected:
            raise ValueError("it describes another projection")
        if _sha256(data) != digest:
            raise ValueError("its checksum is wrong")
        tensors = load_file(data)
        keys = [SiteKey(stream, int(layer)) for stream, layer in (name.split(":") for name in expected["sites"])]
        ids = {key: tensors[f"{key}.ids"] for key in keys}
        scores = {key: tensors[f"{key}.scores"] for key in keys}
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        _warn(f"the kept projection {data} is damaged ({error}) and is made anew")
        return None
    return Projection(ids, scores, options, expected["vocabulary"], expected["checkpoint"], expected["weights"])


def _write(stem: Path, description: dict[str, Any], projection: Projection) -> None:
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    data_file, description_file = _files(stem)
    tensors = {f"{key}.ids": ids for key, ids in projection.ids.items()}
    tensors |= {f"{key}.scores": scores for key, scores in projection.scores.items()}
    # Two processes may keep the same projection at once: each fills files of its own, and either result is right.
    partial = stem.with_name(f"{stem.name}.{os.getpid()}.part")
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, partial)
        document = {**description, "sha256": _sha256(partial)}
        partial.replace(data_file)
        partial.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        partial.replace(description_file)
    except (OSError, SafetensorError) as error:
        _warn(f"the projection cannot be kept in {stem.parent} ({error}); set VLASTEER_CACHE to a writable folder")
        with contextlib.suppress(OSError):
            partial.unlink()


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _warn(message: str) -> None:
    warnings.warn(message, ArtefactWarning, stacklevel=3)
