"""What a checkpoint says about itself, whoever wrote it: sizes, inputs, statistics, convention."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from vlasteer.errors import CheckpointError
from vlasteer.policies.fields import Fields
from vlasteer.policies.pi_family.normalization import Normalizer
from vlasteer.types import ActionSpec

TOKENIZER = "google/paligemma-3b-pt-224"
"""Hub name of PaliGemma's tokenizer; gated."""


@dataclass(frozen=True)
class GemmaSizes:
    """A Gemma decoder (Gemma Team 2024): width, layers, FFN width, heads."""

    width: int
    depth: int
    mlp_dim: int
    num_heads: int
    num_kv_heads: int
    head_dim: int


@dataclass(frozen=True)
class VisionSizes:
    """A SigLIP vision tower (Zhai et al. 2023). Sizes of images and patches are in pixels."""

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    image_size: int
    patch_size: int

    def __post_init__(self) -> None:
        if self.hidden_size % self.num_attention_heads or self.image_size < self.patch_size:
            raise CheckpointError(
                f"the vision tower has width {self.hidden_size}, {self.num_attention_heads} heads, images of "
                f"{self.image_size} and patches of {self.patch_size} pixels",
                expected="a width that the heads divide, and an image of at least one patch",
            )

    @property
    def patches(self) -> int:
        """Positions that one image takes."""
        return (self.image_size // self.patch_size) ** 2


@dataclass(frozen=True)
class ModelSizes:
    """Sizes of the whole model.

    Attributes:
        vocabulary: rows of the embedding.
        language: PaliGemma's decoder.
        vision: its vision tower.
        expert: Pi0's action expert, or None.
    """

    vocabulary: int
    language: GemmaSizes
    vision: VisionSizes
    expert: GemmaSizes | None = None


_VARIANTS = {
    "gemma_2b": GemmaSizes(2048, 18, 16_384, 8, 1, 256),
    "gemma_300m": GemmaSizes(1024, 18, 4096, 8, 1, 256),
}
_VOCABULARY = 257_152
_SIGLIP = {"hidden_size": 1152, "num_hidden_layers": 27, "num_attention_heads": 16, "intermediate_size": 4304}


def read_sizes(fields: Fields, *, image_size: int, expert: bool) -> ModelSizes:
    """Sizes by the names of the published variants, or from the block `tiny_model` of a small checkpoint.

    Raises:
        CheckpointError: a variant that is not known, or sizes that do not fit together.
    """
    if "tiny_model" in fields:
        tiny = fields.block("tiny_model")
        vision = tiny.block("vision")
        sizes = ModelSizes(
            tiny.integer("vocab_size"),
            _gemma(tiny.block("paligemma")),
            VisionSizes(
                **{name: vision.integer(name) for name in _SIGLIP},
                image_size=image_size,
                patch_size=vision.integer("patch_size"),
            ),
            _gemma(tiny.block("action_expert")) if expert else None,
        )
    else:
        sizes = ModelSizes(
            _VOCABULARY,
            _variant(fields, "paligemma_variant", "gemma_2b"),
            VisionSizes(**_SIGLIP, image_size=image_size, patch_size=14),
            _variant(fields, "action_expert_variant", "gemma_300m") if expert else None,
        )
    ours, other = sizes.language, sizes.expert
    # The expert reads the VLM's keys and values layer by layer.
    if other is not None and (other.depth, other.num_kv_heads, other.head_dim) != (
        ours.depth,
        ours.num_kv_heads,
        ours.head_dim,
    ):
        raise CheckpointError(
            f"{fields.where}: the action expert reads {other.depth} x {other.num_kv_heads} x {other.head_dim} keys",
            expected=f"{ours.depth} x {ours.num_kv_heads} x {ours.head_dim}, as the language model has",
        )
    return sizes


def _variant(fields: Fields, name: str, default: str) -> GemmaSizes:
    variant = fields.text(name, default)
    if variant not in _VARIANTS:
        raise CheckpointError(
            f"{fields.where}: {name} is '{variant}'",
            expected=f"one of {', '.join(_VARIANTS)}",
            fix="Merge LoRA weights into the model before converting it" if "lora" in variant else "",
        )
    return _VARIANTS[variant]


def _gemma(fields: Fields) -> GemmaSizes:
    return GemmaSizes(
        **{
            name: fields.integer(name)
            for name in ("width", "depth", "mlp_dim", "num_heads", "num_kv_heads", "head_dim")
        }
    )


class Resize(StrEnum):
    """Which bilinear filter makes a frame fit. They differ, and a checkpoint was trained with one of them."""

    PLAIN = "plain"
    """Four neighbours, no anti-aliasing, in float (lerobot)."""
    ANTIALIASED = "antialiased"
    """Pillow's, which averages over what a pixel covers and rounds to uint8 (openpi)."""


@dataclass(frozen=True)
class PiCheckpoint:
    """What both families need to know of a checkpoint.

    Attributes:
        folder: where it lies.
        sizes: of the model.
        cameras: names of the images that it reads, in order, as worlds give them.
        empty_cameras: image slots behind them that stay masked.
        resize: how frames become square.
        state, action: their normalisation.
        state_size, action_size: numbers of an unpadded state and action.
        offsets: per action dimension, whether the model gives it relative to the state (openpi's "delta actions"); the
            state is then added.
        chunk: actions per answer.
        token_length: positions that the text takes, padding included.
        tokenizer: hub name of its tokenizer.
        spec: convention of its actions.
    """

    folder: Path
    sizes: ModelSizes
    cameras: tuple[str, ...]
    empty_cameras: int
    resize: Resize
    state: Normalizer
    action: Normalizer
    state_size: int
    action_size: int
    offsets: tuple[bool, ...]
    chunk: int
    token_length: int
    tokenizer: str
    spec: ActionSpec

    @property
    def image_positions(self) -> int:
        """Positions that the images take in the prefix, empty cameras included."""
        return (len(self.cameras) + self.empty_cameras) * self.sizes.vision.patches
