"""The folder that openpi's `examples/convert_jax_model_to_pytorch.py` writes.

It holds model.safetensors, a config.json of five fields and, copied from training, assets/<asset>/norm_stats.json. What
the data looked like stands in openpi's training configuration, which the folder lacks: the asset's name or the user
says it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vlasteer.checkpoints import read_json
from vlasteer.errors import CheckpointError, ConfigError
from vlasteer.policies.fields import Fields
from vlasteer.policies.pi_family.checkpoint import TOKENIZER, PiCheckpoint, Resize, read_sizes
from vlasteer.policies.pi_family.conventions import CONVENTIONS, SCENE_AND_WRIST, parse_convention
from vlasteer.policies.pi_family.normalization import Normalization, Normalizer
from vlasteer.types import ActionKind

CONVERTER = "examples/convert_jax_model_to_pytorch.py"
_MARKS = ("action_horizon", "paligemma_variant", "action_expert_variant")
_EPS = 1e-6
_TOKEN_LENGTH = 48
_IMAGE_SIZE = 224


def is_openpi(folder: Path) -> bool:
    """Whether the folder is openpi's, converted or not."""
    if (folder / "config.json").is_file():
        try:
            config = read_json(folder, "config.json")
        except CheckpointError:
            return False
        return "type" not in config and all(name in config for name in _MARKS)
    return _is_jax(folder) or (folder / "metadata.pt").is_file()


def _is_jax(folder: Path) -> bool:
    """openpi's own checkpoints keep their weights as an Orbax tree."""
    return (folder / "params").is_dir() and not (folder / "model.safetensors").is_file()


def read_checkpoint(folder: Path, convention: str | None) -> tuple[PiCheckpoint, Fields]:
    """What the folder says, and the fields of config.json.

    Args:
        folder: the checkpoint.
        convention: what the user said that actions mean, or None.

    Raises:
        CheckpointError: weights for JAX only; a file, field or statistic that is missing or unusable.
        ConfigError: the convention cannot be known.
        UnknownNameError: the convention does not exist.
    """
    _refuse_unconverted(folder)
    fields = Fields.of_file(folder, "config.json")
    name, statistics_file = _choose_statistics(folder, convention)
    known = parse_convention(name)
    block = Fields.of_file(statistics_file.parent, statistics_file.name).block("norm_stats")
    statistics = {feature: _numbers(block.block(feature)) for feature in ("state", "actions")}

    def normalizer(feature: str, size: int) -> Normalizer:
        return Normalizer.of(
            Normalization.MEAN_STD,
            statistics[feature],
            size=size,
            eps=_EPS,
            feature=feature,
            where=str(statistics_file),
        )

    resolution = (
        fields.block("tiny_model").block("vision").integer("image_size") if "tiny_model" in fields else _IMAGE_SIZE
    )
    actions = normalizer("actions", known.spec.size)
    checkpoint = PiCheckpoint(
        folder=folder,
        sizes=read_sizes(fields, image_size=resolution, expert=True),
        cameras=SCENE_AND_WRIST,
        empty_cameras=1,  # openpi's third slot, a second wrist
        resize=Resize.ANTIALIASED,
        state=normalizer("state", known.state_size),
        action=actions,
        state_size=known.state_size,
        action_size=known.spec.size,
        offsets=_offsets(known.spec.kind, actions),
        chunk=fields.integer("action_horizon"),
        token_length=_TOKEN_LENGTH,
        tokenizer=TOKENIZER,
        spec=known.spec,
    )
    return checkpoint, fields


def clean_instruction(text: str) -> str:
    """The instruction as openpi's tokenizer cleans it."""
    return text.strip().replace("_", " ").replace("\n", " ")


def _refuse_unconverted(folder: Path) -> None:
    if _is_jax(folder):
        raise CheckpointError(
            f"{folder} is an openpi checkpoint for JAX (params/ and no model.safetensors)",
            expected="PyTorch weights",
            fix=f"Convert it with openpi's {CONVERTER} --checkpoint_dir {folder} --config_name NAME --output_path OUT; "
            "Pi0-FAST has no such converter: use lerobot's checkpoints",
        )
    if not (folder / "config.json").is_file():
        raise CheckpointError(
            f"{folder} is an openpi training checkpoint without config.json",
            expected=f"the file that {CONVERTER} writes",
            fix='Write it: {"action_dim": 32, "action_horizon": N, "paligemma_variant": "gemma_2b", '
            '"action_expert_variant": "gemma_300m", "precision": "bfloat16"}',
        )


def _choose_statistics(folder: Path, stated: str | None) -> tuple[str, Path]:
    """The convention's name and its norm_stats.json."""
    assets = folder / "assets"
    files = {str(f.parent.relative_to(assets)): f for f in sorted(assets.rglob("norm_stats.json"))}
    if not files:
        raise CheckpointError(
            f"{folder} has no assets/<asset>/norm_stats.json",
            expected="the statistics of the training data",
            fix="Copy the folder assets/ of the original checkpoint into it",
        )
    by_name = {asset: _named_convention(asset) for asset in files}
    if stated is None:
        recognised = {name for name in by_name.values() if name is not None}
        if len(files) > 1 or len(recognised) != 1:
            raise ConfigError(
                f"what the actions of {folder} mean cannot be known from its assets ({', '.join(files)})",
                expected=f"one of {', '.join(CONVENTIONS)}",
                fix="State it, e.g. --convention libero",
            )
        (stated,) = recognised
    parse_convention(stated)
    fitting = [asset for asset, name in by_name.items() if name == stated]
    if len(files) == 1:
        fitting = list(files)  # somebody's own data set; its name need not say what it is
    if len(fitting) != 1:
        raise CheckpointError(
            f"{folder} has {len(fitting)} assets for convention '{stated}' (it has: {', '.join(files)})",
            expected="one",
            fix="Keep the one that the model was trained with",
        )
    return stated, files[fitting[0]]


def _named_convention(asset: str) -> str | None:
    words = asset.lower().replace("-", "_").replace("/", "_").split("_")
    names = {"libero": "libero", "ur5": "ur5", "ur5e": "ur5", "droid": "droid"}
    # ur5e_dual and the like are two arms.
    found = {names[word] for word in words if word in names} if "dual" not in words else set()
    return found.pop() if len(found) == 1 else None


def _numbers(statistics: Fields) -> Mapping[str, np.ndarray]:
    # q01 and q99 may be null.
    return {
        name: np.array(statistics.items(name, (int, float), "numbers"))  # pyright: ignore[reportArgumentType]
        for name, values in statistics.values.items()
        if values is not None
    }


def _offsets(kind: ActionKind, actions: Normalizer) -> tuple[bool, ...]:
    """Which actions the model gives relative to the state.

    UR5: the joints, as openpi's example defines it. LIBERO: openpi's older configurations (`extra_delta_transform`)
    took the state off actions that were increments already. The folder does not say so, but the statistics do: LIBERO's
    actions lie in [-1, 1], so only differences from a state (a hand that points down is turned by 3 rad) have a mean
    beyond.
    """
    size = len(actions.first)
    shifted = kind is ActionKind.EE_DELTA and bool(np.any(np.abs(actions.first[:-1]) > 1))
    return (shifted or kind is ActionKind.JOINT_TARGET,) * (size - 1) + (False,)
