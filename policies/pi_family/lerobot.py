"""The folder that lerobot (0.4 and later) writes: config.json with `type`, weights, and two processor pipelines.

The pipelines are lists of steps. Statistics lie in the `state_file` that a step names; the name varies from checkpoint
to checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open

from vlasteer.checkpoints import read_json
from vlasteer.errors import CheckpointError
from vlasteer.policies.fields import Fields
from vlasteer.policies.pi_family.checkpoint import TOKENIZER, PiCheckpoint, Resize, read_sizes
from vlasteer.policies.pi_family.conventions import stated_or_known
from vlasteer.policies.pi_family.normalization import Floats, Normalization, Normalizer

_PREFIX = "observation.images."
_STATE, _ACTION = "observation.state", "action"
_PREPROCESSOR, _POSTPROCESSOR = "policy_preprocessor.json", "policy_postprocessor.json"


def is_lerobot(folder: Path, kind: str) -> bool:
    """Whether config.json says `"type": kind`."""
    try:
        return read_json(folder, "config.json").get("type") == kind
    except CheckpointError:
        return False


def read_checkpoint(folder: Path, *, convention: str | None, expert: bool) -> tuple[PiCheckpoint, Fields]:
    """What the folder says, and the fields of config.json for what only one family needs.

    Args:
        folder: the checkpoint.
        convention: what the user said that actions mean, or None.
        expert: whether the model has an action expert.

    Raises:
        CheckpointError: a file, field or statistic is missing or unusable; the message names it.
        UnknownNameError, ConfigError: the convention does not exist or does not fit.
    """
    fields = Fields.of_file(folder, "config.json")
    before, after = Fields.of_file(folder, _PREPROCESSOR), Fields.of_file(folder, _POSTPROCESSOR)
    inputs = fields.block("input_features")
    cameras, empty = _cameras(fields, inputs, before)
    state_size = _length(inputs, _STATE)
    action_size = _length(fields.block("output_features"), _ACTION)
    resolution = fields.items("image_resolution", int, "sizes", [224, 224])
    if len(resolution) != 2 or resolution[0] != resolution[1]:
        raise CheckpointError(f"{fields.where}: image_resolution is {resolution}", expected="a square")
    tokenizing = _step(before, "tokenizer_processor")
    checkpoint = PiCheckpoint(
        folder=folder,
        sizes=read_sizes(fields, image_size=resolution[0], expert=expert),
        cameras=cameras,
        empty_cameras=empty,
        resize=Resize.PLAIN,
        state=_normalizer(folder, before, "normalizer_processor", _STATE, "STATE", state_size),
        action=_normalizer(folder, after, "unnormalizer_processor", _ACTION, "ACTION", action_size),
        state_size=state_size,
        action_size=action_size,
        offsets=_offsets(before, after, action_size),
        chunk=fields.integer("chunk_size", 50),
        token_length=tokenizing.config.integer("max_length"),
        tokenizer=tokenizing.config.text("tokenizer_name", TOKENIZER),
        spec=stated_or_known(
            convention or _tiny_convention(fields), cameras=cameras, state_size=state_size, action_size=action_size
        ),
    )
    return checkpoint, fields


def _tiny_convention(fields: Fields) -> str | None:
    """Small checkpoints of our own say what their actions mean; real ones do not."""
    return fields.block("tiny_model").text("convention", "") or None if "tiny_model" in fields else None


def _cameras(fields: Fields, inputs: Fields, before: Fields) -> tuple[tuple[str, ...], int]:
    """Names of the cameras as worlds give them, and the number of empty slots behind them."""
    names = [name for name in inputs.values if inputs.block(name).text("type") == "VISUAL"]
    empty = {name for name in names if name.startswith(f"{_PREFIX}empty_camera_")}
    empty |= {f"{_PREFIX}empty_camera_{i}" for i in range(fields.integer("empty_cameras", 0, at_least=0))}
    renamed = _step(before, "rename_observations_processor", optional=True).config
    sources = {new: old for old, new in renamed.block("rename_map").values.items()} if "rename_map" in renamed else {}
    cameras = [str(sources.get(name, name)).removeprefix(_PREFIX) for name in names if name not in empty]
    if not cameras:
        raise CheckpointError(f"{inputs.where} has no camera", expected=f"at least one VISUAL feature '{_PREFIX}...'")
    return tuple(cameras), len(empty)


def _length(features: Fields, name: str) -> int:
    shape = features.block(name).items("shape", int, "whole numbers")
    if len(shape) != 1 or shape[0] < 1:
        raise CheckpointError(f"{features.where}: feature '{name}' has shape {shape}", expected="one length")
    return shape[0]


class _Step(NamedTuple):
    """A step of a pipeline: its configuration and the name of its state file, if any."""

    config: Fields
    state_file: str


def _step(pipeline: Fields, name: str, *, optional: bool = False) -> _Step:
    for step in pipeline.blocks("steps"):
        if step.text("registry_name", "") == name:
            return _Step(step.block("config"), step.text("state_file", ""))
    if optional:
        return _Step(Fields({}, pipeline.where), "")
    raise CheckpointError(
        f"{pipeline.where} has no step '{name}'",
        expected="a processor pipeline as lerobot saves it",
        fix="Convert older checkpoints with: python -m lerobot.processor.migrate_policy_normalization",
    )


def _normalizer(folder: Path, pipeline: Fields, step: str, feature: str, kind: str, size: int) -> Normalizer:
    config, state_file = _step(pipeline, step)
    modes = config.block("norm_map")
    if modes.text("VISUAL", Normalization.IDENTITY) != Normalization.IDENTITY:
        raise CheckpointError(f"{modes.where}: VISUAL is normalised", expected=f"{Normalization.IDENTITY.value}")
    mode = modes.text(kind)
    if mode not in list(Normalization):
        raise CheckpointError(f"{modes.where}: {kind} is '{mode}'", expected=f"one of {', '.join(Normalization)}")
    statistics = _statistics(folder, state_file, feature) if mode != Normalization.IDENTITY else {}
    return Normalizer.of(
        Normalization(mode),
        statistics,
        size=size,
        eps=config.number("eps", 1e-8),
        feature=feature,
        where=str(folder / (state_file or pipeline.where)),
    )


def _statistics(folder: Path, state_file: str, feature: str) -> Mapping[str, Floats]:
    path = folder / state_file
    if not state_file or path.parent != folder or not path.is_file():
        raise CheckpointError(
            f"{folder} has no file '{state_file}' with the statistics of feature '{feature}'",
            expected="the state file that the processor names",
            fix="Use a checkpoint that was fine-tuned on a data set; base models have no statistics",
        )
    found: dict[str, Floats] = {}
    try:
        with safe_open(path, framework="pt", device="cpu") as handle:
            names = list(handle.keys())
            for key in names:
                owner, _, statistic = key.rpartition(".")
                if owner == feature:
                    found[statistic] = handle.get_tensor(key).double().numpy().astype(np.float32)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read ({error})", fix="Copy or download it again") from error
    return found


def _offsets(before: Fields, after: Fields, size: int) -> tuple[bool, ...]:
    """Which actions the model gives relative to the state."""
    if not _step(after, "absolute_actions_processor", optional=True).config.flag("enabled", False):
        return (False,) * size
    relative = _step(before, "relative_actions_processor").config
    names = [name.lower() for name in relative.items("action_names", str, "names", [])]
    excluded = [name.lower() for name in relative.items("exclude_joints", str, "names", []) if name]
    # Without names nothing was excluded in training either.
    kept = [not any(word in name for word in excluded) for name in names[:size]]
    return (*kept, *(True,) * (size - len(kept)))
