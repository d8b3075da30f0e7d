"""A tiny OpenVLA checkpoint made on the spot: the real on-disk format, random weights, a few neurons with a meaning.

For tests and demonstrations where no real checkpoint is at hand. It has learned nothing. Two things in it are planted
by hand, and therefore no discovery when they are found again: value vectors that point at the words of a concept, and a
preference of the direction "fast" for action tokens far from zero, so that steering it shows in the motion.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from vlasteer.errors import OutputError
from vlasteer.finding.lexicon import Lexicon
from vlasteer.policies.openvla.config import OpenVLAConfig
from vlasteer.policies.openvla.model import OpenVLAModel
from vlasteer.policies.openvla.prompt import WORD_MARK

OPPOSITES = (("fast", "slow"), ("up", "down"))
"""Planted concepts; the two of a pair point in opposite directions."""
NEURONS = 6
"""Planted neurons per concept, spread over the layers."""

_VOCABULARY, _PADDING, _BINS = 32_000, 64, 256
_LONE_MARK = 29_871
_HIDDEN, _FFN, _LAYERS, _HEADS = 48, 96, 4, 4
_TOWER = {"depth": 2, "num_heads": 2, "mlp_hidden_dim": 64, "patch_size": 14}
_TOWERS = {
    "featurizer": {**_TOWER, "embed_dim": 32, "class_token": True, "reg_tokens": 4, "layer_scale": True},
    "fused_featurizer": {**_TOWER, "embed_dim": 32, "class_token": False, "reg_tokens": 0, "layer_scale": False},
}
_CONSTANT = 0
"""Hidden dimension that is the same at every position. Action tokens read it, so that they win over words."""
_SHARD = "model-{:05d}-of-00002.safetensors"


def write_checkpoint(folder: Path | str, seed: int = 0) -> Path:
    """Write the checkpoint, about 7 MB; the same seed gives the same bytes.

    Its actions are un-normalised with statistics named `libero_goal_no_noops`: small end-effector steps at 20 Hz.

    Args:
        folder: made if absent; files of the same names are replaced.
        seed: of the weights.

    Returns:
        The folder.

    Raises:
        OutputError: the folder cannot be written.
    """
    folder = Path(folder)
    tokens = _vocabulary()
    documents = {
        "config.json": _config(),
        "preprocessor_config.json": _preprocessor(),
        "dataset_statistics.json": _statistics(),
        "tokenizer.json": _tokenizer(tokens),
        "tokenizer_config.json": {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>"},
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, document in documents.items():
            (folder / name).write_text(json.dumps(document, indent=1), encoding="utf-8")
        _save(folder, _weights(OpenVLAConfig.read(folder), tokens, seed))
    except OSError as error:
        raise OutputError(f"the checkpoint cannot be written to {folder} ({error.strerror})") from error
    return folder


def planted(concept: str) -> list[tuple[int, int]]:
    """Layer and index of the neurons that were planted for a concept of `OPPOSITES`."""
    place = [name for pair in OPPOSITES for name in pair].index(concept)
    return [(i % _LAYERS, place * NEURONS + i) for i in range(NEURONS)]


# -- weights -----------------------------------------------------------------------------------------------------------
def _weights(config: OpenVLAConfig, tokens: dict[str, int], seed: int) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(seed)
    with torch.device("meta"):
        shapes = {key: tensor.shape for key, tensor in OpenVLAModel(config).state_dict().items()}
    weights = {key: _initial(key, shape, random) for key, shape in shapes.items()}
    head, embedding = weights["language_model.lm_head.weight"], weights["language_model.model.embed_tokens.weight"]
    head[:, _CONSTANT] = 0.0
    head[_VOCABULARY - _BINS : _VOCABULARY, _CONSTANT] = 40.0
    embedding[:, _CONSTANT] = weights["projector.fc3.bias"][_CONSTANT] = 2.0
    for layer in range(_LAYERS):
        for part in ("self_attn.o_proj", "mlp.down_proj"):
            weights[f"language_model.model.layers.{layer}.{part}.weight"][_CONSTANT] = 0.0
    lexicon = Lexicon.load()
    for pair in OPPOSITES:
        direction = torch.randn(_HIDDEN, generator=random)
        direction[_CONSTANT] = 0.0
        direction /= direction.norm()
        for concept, sign in zip(pair, (1.0, -1.0), strict=True):
            for word in _words(lexicon, concept):
                row = head[tokens[WORD_MARK + word]]
                row.copy_(1.5 * sign * direction + 0.3 * row)
            for layer, index in planted(concept):
                down = weights[f"language_model.model.layers.{layer}.mlp.down_proj.weight"]
                down[:, index] = 0.25 * sign * direction
        if pair[0] == "fast":
            centres = torch.linspace(1, -1, _BINS)  # id V-1 is the lowest bin
            head[_VOCABULARY - _BINS : _VOCABULARY] += 2.0 * (centres.flip(0).abs() - 0.5)[:, None] * direction
    return {key: tensor.to(torch.bfloat16).contiguous() for key, tensor in weights.items()}


def _initial(key: str, shape: torch.Size, random: torch.Generator) -> Tensor:
    if "norm" in key or "scale_factor" in key:
        return torch.zeros(shape) if key.endswith("bias") else torch.ones(shape)
    if key.endswith("bias"):
        return torch.zeros(shape)
    if key.endswith("embed_tokens.weight"):
        return torch.randn(shape, generator=random)
    return torch.randn(shape, generator=random) / math.sqrt(shape[1:].numel())


def _save(folder: Path, weights: dict[str, Tensor]) -> None:
    """Two shards and an index, as the real ones have."""
    index = {key: _SHARD.format(2 if key.startswith("language_model.lm_head") else 1) for key in sorted(weights)}
    for shard in sorted(set(index.values())):
        save_file({key: weights[key] for key, name in index.items() if name == shard}, folder / shard, {"format": "pt"})
    size = sum(tensor.numel() * tensor.element_size() for tensor in weights.values())
    document = {"metadata": {"total_size": size}, "weight_map": index}
    (folder / "model.safetensors.index.json").write_text(json.dumps(document, indent=1), encoding="utf-8")


# -- the other files ---------------------------------------------------------------------------------------------------
def _config() -> dict[str, Any]:
    return {
        "model_type": "openvla",
        "architectures": ["OpenVLAForActionPrediction"],
        "use_fused_vision_backbone": True,
        "timm_model_ids": ["vit_large_patch14_reg4_dinov2.lvd142m", "vit_so400m_patch14_siglip_224"],
        "timm_override_act_layers": [None, None],
        "image_sizes": [224, 224],
        "llm_backbone_id": "llama2-7b-pure",
        "n_action_bins": _BINS,
        "pad_to_multiple_of": _PADDING,
        "norm_stats": _statistics(),
        "text_config": {
            "model_type": "llama",
            "hidden_act": "silu",
            "vocab_size": _VOCABULARY + _PADDING,
            "hidden_size": _HIDDEN,
            "intermediate_size": _FFN,
            "num_hidden_layers": _LAYERS,
            "num_attention_heads": _HEADS,
        },
        "tiny_vision_towers": _TOWERS,
    }


def _preprocessor() -> dict[str, Any]:
    size = [224, 224]
    means, deviations = (
        ([0.484375, 0.455078125, 0.40625], [0.5] * 3),
        ([0.228515625, 0.2236328125, 0.224609375], [0.5] * 3),
    )
    return {
        "image_processor_type": "PrismaticImageProcessor",
        "tvf_resize_params": [{"size": size, "interpolation": 3}] * 2,
        "tvf_crop_params": [{"output_size": size}] * 2,
        "tvf_normalize_params": [{"mean": m, "std": s} for m, s in zip(means, deviations, strict=True)],
    }


def _statistics() -> dict[str, Any]:
    high = [0.6] * 3 + [0.05] * 3 + [1.0]
    low = [-value for value in high[:6]] + [0.0]
    return {"libero_goal_no_noops": {"action": {"q01": low, "q99": high, "mask": [True] * 6 + [False]}}}


def _words(lexicon: Lexicon, concept: str) -> list[str]:
    return [word for word in lexicon.concept(concept).words if word.isascii() and word.isalpha()]


def _vocabulary() -> dict[str, int]:
    """Tokens in Llama's order: special ones, bytes, pieces; `▁` at its own id; fillers up to the end."""
    lexicon = Lexicon.load()
    words = dict.fromkeys(word for pair in OPPOSITES for concept in pair for word in _words(lexicon, concept))
    pieces = dict.fromkeys(piece for word in words for piece in _prefixes(word))
    letters = dict.fromkeys("".join(words))
    names = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256)), *dict.fromkeys([*letters, *pieces])]
    names += [f"filler{i}" for i in range(len(names), _VOCABULARY)]
    names[_LONE_MARK] = WORD_MARK
    return {name: i for i, name in enumerate(names)}


def _prefixes(word: str) -> Iterable[str]:
    """`▁fast` is merged letter by letter: `▁f`, `▁fa`, `▁fas`, `▁fast`."""
    return (WORD_MARK + word[:i] for i in range(1, len(word) + 1))


def _tokenizer(tokens: dict[str, int]) -> dict[str, Any]:
    merges = [[piece[:-1], piece[-1]] for piece in tokens if len(piece) > 1 and piece.startswith(WORD_MARK)]
    special = [name for name, i in tokens.items() if i < 3]
    return {
        "version": "1.0",
        "added_tokens": [
            {
                "id": i,
                "content": name,
                "special": True,
                "normalized": False,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
            }
            for i, name in enumerate(special)
        ],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Prepend", "prepend": WORD_MARK},
                {"type": "Replace", "pattern": {"String": " "}, "content": WORD_MARK},
            ],
        },
        "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]},
        "model": {
            "type": "BPE",
            "unk_token": "<unk>",
            "fuse_unk": True,
            "byte_fallback": True,
            "vocab": tokens,
            "merges": merges,
        },
    }
