"""The checkpoint's config.json as immutable values, parsed strictly.

Numbers that the real file leaves out are those of the published architecture (Kim et al. 2024, "OpenVLA"): the two
vision towers by their timm names, Llama-2 7B by the defaults of `LlamaConfig`. The one extension of the format is the
block `tiny_vision_towers`, which gives the towers of a small checkpoint by number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from vlasteer.errors import CheckpointError
from vlasteer.policies.fields import Fields

MODEL_TYPE = "openvla"


class PromptStyle(StrEnum):
    """How the instruction is put into words for the language model."""

    PURE = "pure"
    """`In: What action should the robot take to ...?` (OpenVLA)."""
    VICUNA = "vicuna"
    """A system prompt, `USER:` and `ASSISTANT:` (OpenVLA v0.1)."""


@dataclass(frozen=True)
class TowerConfig:
    """One vision transformer.

    Attributes:
        name: its key prefix in the checkpoint, under `vision_backbone`.
        embed_dim: width.
        depth: blocks as stored; the last one is never used.
        num_heads: attention heads.
        mlp_dim: hidden width of the blocks' MLPs.
        patch_size, image_size: in pixels.
        class_token, reg_tokens: prefix tokens that are attended to and then stripped.
        layer_scale: whether the residual branches carry a learned scale.
    """

    name: str
    embed_dim: int
    depth: int
    num_heads: int
    mlp_dim: int
    patch_size: int = 14
    image_size: int = 224
    class_token: bool = False
    reg_tokens: int = 0
    layer_scale: bool = False

    def __post_init__(self) -> None:
        for field in ("embed_dim", "num_heads", "mlp_dim", "patch_size", "image_size"):
            if getattr(self, field) < 1:
                raise CheckpointError(f"vision tower '{self.name}' has {field} {getattr(self, field)}", expected=">= 1")
        if self.depth < 2 or self.embed_dim % self.num_heads or self.image_size < self.patch_size:
            raise CheckpointError(
                f"vision tower '{self.name}' has depth {self.depth}, embed_dim {self.embed_dim}, num_heads "
                f"{self.num_heads}, image_size {self.image_size}, patch_size {self.patch_size}",
                expected="depth >= 2, embed_dim a multiple of num_heads, an image of at least one patch",
            )

    @property
    def patches(self) -> int:
        """Patch tokens per image."""
        return (self.image_size // self.patch_size) ** 2


_TOWERS = {
    "vit_large_patch14_reg4_dinov2.lvd142m": TowerConfig(
        "", 1024, 24, 16, 4096, class_token=True, reg_tokens=4, layer_scale=True
    ),
    "vit_so400m_patch14_siglip_224": TowerConfig("", 1152, 27, 16, 4304),
}
TOWER_NAMES = ("featurizer", "fused_featurizer")


@dataclass(frozen=True)
class LanguageConfig:
    """The Llama inside. Defaults are Llama-2 7B as `LlamaConfig` has them; rms_norm_eps 1e-6 is right, not 1e-5."""

    vocab_size: int
    hidden_size: int = 4096
    intermediate_size: int = 11008
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    num_key_value_heads: int = 32
    max_position_embeddings: int = 2048
    rms_norm_eps: float = 1e-6
    rope_theta: float = 10000.0
    bos_token_id: int = 1


@dataclass(frozen=True)
class OpenVLAConfig:
    """Everything in config.json that changes what the policy computes.

    Attributes:
        towers: one or two vision towers, in the order in which their features are concatenated.
        language: the language model.
        n_action_bins: number of action tokens; the bins' edges are `linspace(-1, 1, n_action_bins)`.
        pad_to_multiple_of: rows by which the vocabulary was padded.
        prompt_style: which prompt the checkpoint was trained with.
        norm_stats: dataset name -> statistics, or None when the file has none.
    """

    towers: tuple[TowerConfig, ...]
    language: LanguageConfig
    n_action_bins: int
    pad_to_multiple_of: int
    prompt_style: PromptStyle
    norm_stats: Mapping[str, Any] | None

    @property
    def vocabulary(self) -> int:
        """Ids of the tokenizer's own vocabulary (32000); rows of the output embedding beyond it are padding."""
        return self.language.vocab_size - self.pad_to_multiple_of

    @property
    def action_ids(self) -> range:
        """The action tokens: the last `n_action_bins` ids of the unpadded vocabulary (31744..31999)."""
        return range(self.vocabulary - self.n_action_bins, self.vocabulary)

    @classmethod
    def read(cls, folder: Path) -> OpenVLAConfig:
        """Parse `folder/config.json`.

        Raises:
            CheckpointError: a field is missing, has the wrong type, or asks for something that is not implemented.
        """
        fields = Fields.of_file(folder, "config.json")
        if (kind := fields.text("model_type")) != MODEL_TYPE:
            raise CheckpointError(f"{fields.where} has model_type '{kind}'", expected=f"'{MODEL_TYPE}'")
        language = _language(fields.block("text_config"))
        config = cls(
            towers=_towers(fields),
            language=language,
            n_action_bins=fields.integer("n_action_bins"),
            pad_to_multiple_of=fields.integer("pad_to_multiple_of", at_least=0),
            # The language model that was trained on, and with it the prompt, is Vicuna in v0.1 and Llama-2 after it.
            prompt_style=PromptStyle.VICUNA
            if fields.text("llm_backbone_id").startswith("vicuna")
            else PromptStyle.PURE,
            norm_stats=None if fields.values.get("norm_stats") is None else fields.block("norm_stats").values,
        )
        if not 2 <= config.n_action_bins < config.vocabulary:
            raise CheckpointError(
                f"{fields.where} has n_action_bins {config.n_action_bins}, pad_to_multiple_of "
                f"{config.pad_to_multiple_of} and vocab_size {language.vocab_size}",
                expected="at least 2 bins that fit into the unpadded vocabulary",
            )
        return config


def _towers(fields: Fields) -> tuple[TowerConfig, ...]:
    names = TOWER_NAMES if fields.flag("use_fused_vision_backbone") else TOWER_NAMES[:1]
    ids = fields.items("timm_model_ids", str, "timm model names", count=len(names))
    sizes = fields.items("image_sizes", int, "image sizes in pixels", count=len(names))
    fields.require("timm_override_act_layers", [None] * len(names))
    tiny = fields.block("tiny_vision_towers") if "tiny_vision_towers" in fields.values else None
    towers = []
    for name, timm_id, size in zip(names, ids, sizes, strict=True):
        if timm_id not in _TOWERS:
            raise CheckpointError(
                f"{fields.where} names the vision tower '{timm_id}'", expected=f"one of {', '.join(_TOWERS)}"
            )
        tower = replace(_TOWERS[timm_id], name=name, image_size=size)
        towers.append(tower if tiny is None else _tiny_tower(tiny.block(name), tower))
    if len({tower.patches for tower in towers}) != 1:
        raise CheckpointError(
            f"{fields.where}: the vision towers make {[t.patches for t in towers]} patches", expected="equal numbers"
        )
    return tuple(towers)


def _tiny_tower(fields: Fields, tower: TowerConfig) -> TowerConfig:
    return replace(
        tower,
        embed_dim=fields.integer("embed_dim"),
        depth=fields.integer("depth"),
        num_heads=fields.integer("num_heads"),
        mlp_dim=fields.integer("mlp_hidden_dim"),
        patch_size=fields.integer("patch_size"),
        class_token=fields.flag("class_token"),
        reg_tokens=fields.integer("reg_tokens", at_least=0),
        layer_scale=fields.flag("layer_scale"),
    )


def _language(fields: Fields) -> LanguageConfig:
    fields.require("model_type", "llama")
    fields.require("hidden_act", "silu")
    for name in ("attention_bias", "mlp_bias", "tie_word_embeddings"):
        fields.require(name, False)
    fields.require("rope_scaling", None)
    rope = fields.block("rope_parameters") if fields.values.get("rope_parameters") is not None else fields
    rope.require("rope_type", "default")
    heads = fields.integer("num_attention_heads", 32)
    config = LanguageConfig(
        vocab_size=fields.integer("vocab_size"),
        hidden_size=fields.integer("hidden_size", 4096),
        intermediate_size=fields.integer("intermediate_size", 11008),
        num_hidden_layers=fields.integer("num_hidden_layers", 32),
        num_attention_heads=heads,
        num_key_value_heads=fields.integer("num_key_value_heads", heads),
        max_position_embeddings=fields.integer("max_position_embeddings", 2048),
        rms_norm_eps=fields.number("rms_norm_eps", 1e-6),
        rope_theta=rope.number("rope_theta", 10000.0),
        bos_token_id=fields.integer("bos_token_id", 1, at_least=0),
    )
    if heads < 1 or config.hidden_size % heads or config.num_hidden_layers < 1:
        raise CheckpointError(
            f"{fields.where} has hidden_size {config.hidden_size}, num_attention_heads {heads} and num_hidden_layers "
            f"{config.num_hidden_layers}",
            expected="at least one layer, and a width that the heads divide",
        )
    fields.require("head_dim", config.hidden_size // heads, None)
    return config
