"""The files of a policy's calls: one per call, beside the dataset.

    calls/episode-000012/000003.safetensors

The dataset's steps say what was done; these files are for what they have no place for: token ids, whole chunks, the
activations of chosen FFNs, and the very pictures that the policy saw where the dataset's are compressed or were taken
at another moment (a robot that moves while the policy thinks).
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vlasteer.errors import InputError
from vlasteer.types import ActionChunk, Observation

if TYPE_CHECKING:
    from torch import Tensor

    from vlasteer.anatomy import SiteKey

FOLDER = "calls"
LIMIT_BYTES = 2**30
"""Of one episode's files by default; later calls are kept without activations and pictures."""
_SUFFIX = ".safetensors"


def call_name(index: int) -> str:
    """File name of a call."""
    return f"{index:06d}{_SUFFIX}"


def write_call(
    path: Path,
    index: int,
    seen: Observation,
    chunk: ActionChunk,
    activations: Mapping[SiteKey, Sequence[Tensor]],
    *,
    images: bool,
    full: bool,
) -> int:
    """Write a call's file, whole or not at all; returns its size.

    Args:
        path: the file.
        index: 0-based count of the call in its episode.
        seen, chunk: what was asked and answered.
        activations: site -> one tensor [positions, neurons] per forward pass, on the CPU.
        images: keep the pictures.
        full: whether something was left out because the episode's limit was reached.
    """
    from safetensors.numpy import save_file

    arrays = {name: np.ascontiguousarray(getattr(chunk, name)) for name in ("actions", "normalized", "token_ids")}
    if seen.state is not None:
        arrays["state"] = np.ascontiguousarray(seen.state)
    if images:
        arrays |= {f"png.{camera}": _png(image) for camera, image in seen.images.items()}
    for key, passes in activations.items():
        arrays[f"activations.{key.stream}.{key.layer}"] = np.concatenate([values.numpy() for values in passes])
        arrays[f"passes.{key.stream}.{key.layer}"] = np.array([len(values) for values in passes])
    facts = {
        "index": index,
        "instruction": seen.instruction,
        "time_s": seen.time_s,
        "applied": dict(chunk.applied),
        "non_action_tokens": chunk.non_action_tokens,
        "inference_s": chunk.inference_s,
        "full": full,
    }
    draft = path.with_suffix(".tmp")
    save_file(arrays, draft, metadata={"call": json.dumps(facts, ensure_ascii=False)})
    draft.replace(path)
    return path.stat().st_size


def _png(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(out, format="png", compress_level=1)
    return np.frombuffer(out.getvalue(), np.uint8).copy()


def seal_calls(journal: Path, root: Path, episode: int) -> None:
    """Move the calls of an episode's journal to their place."""
    target = root / FOLDER / f"episode-{episode:06d}"
    for file in sorted((journal / FOLDER).glob(f"*{_SUFFIX}")):
        target.mkdir(parents=True, exist_ok=True)
        file.replace(target / file.name)


@dataclass(frozen=True)
class PolicyCall:
    """A recorded call.

    Attributes:
        index: 0-based count in the episode.
        observation: what the policy saw; without pictures where they were not recorded.
        actions, normalized: float64 [n, size], the whole chunk, as in `vlasteer.types.ActionChunk`.
        token_ids: int64 [k].
        non_action_tokens: how many of them are no action token.
        applied: coefficient of every mounted feature (None: off).
        inference_s: seconds that the policy took.
        activations: site -> float [positions, neurons] of all forward passes, one after the other.
        passes: site -> int64 [passes], how many of these positions are of which pass.
        full: whether the episode's limit had been reached, and activations and pictures were left out.
    """

    index: int
    observation: Observation
    actions: NDArray[np.float64]
    normalized: NDArray[np.float64]
    token_ids: NDArray[np.int64]
    non_action_tokens: int
    applied: Mapping[str, float | None]
    inference_s: float
    activations: Mapping[SiteKey, NDArray[Any]] = field(default_factory=dict)
    passes: Mapping[SiteKey, NDArray[np.int64]] = field(default_factory=dict)
    full: bool = False


def has_calls(root: Path | str, episode: int) -> bool:
    """Whether the calls of an episode were recorded."""
    return any((Path(root) / FOLDER / f"episode-{episode:06d}").glob(f"*{_SUFFIX}"))


def read_calls(root: Path | str, episode: int) -> Iterator[PolicyCall]:
    """The calls of an episode in their order, one in memory at a time.

    Raises:
        InputError: none were recorded.
    """
    files = sorted((Path(root) / FOLDER / f"episode-{episode:06d}").glob(f"*{_SUFFIX}"))
    if not files:
        raise InputError(
            f"{root} has no calls of episode {episode}", fix="Record them with --activations or --lossless"
        )
    return map(_read, files)


def _read(path: Path) -> PolicyCall:
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        facts = json.loads(file.metadata()["call"])
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no mapping

    from vlasteer.anatomy import SiteKey

    def of_sites(kind: str) -> dict[SiteKey, NDArray[Any]]:
        found = {}
        for name, values in arrays.items():
            if name.startswith(f"{kind}."):
                _, stream, layer = name.split(".")
                found[SiteKey(stream, int(layer))] = values
        return found

    images = {name[4:]: _decoded(values) for name, values in arrays.items() if name.startswith("png.")}
    return PolicyCall(
        index=facts["index"],
        observation=Observation(images, facts["instruction"], arrays.get("state"), facts["time_s"]),
        actions=arrays["actions"],
        normalized=arrays["normalized"],
        token_ids=arrays["token_ids"],
        non_action_tokens=facts["non_action_tokens"],
        applied=facts["applied"],
        inference_s=facts["inference_s"],
        activations=of_sites("activations"),
        passes=of_sites("passes"),
        full=facts["full"],
    )


def _decoded(png: NDArray[np.uint8]) -> NDArray[np.uint8]:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(png.tobytes())))
