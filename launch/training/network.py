"""The organism's network, which is the adapter's own, small; its first weights; and how it is written to disk."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

from vlasteer.launch.training.corpus import BINS, Vocabulary
from vlasteer.launch.training.recipe import Recipe
from vlasteer.policies.openvla.config import OpenVLAConfig
from vlasteer.policies.openvla.model import OpenVLAModel

UNNORM_KEY = "tabletop_transport"
MEAN = np.array([[0.5] * 3, [0.62, 0.60, 0.58]], np.float32)
STD = np.array([[0.25] * 3, [0.2] * 3], np.float32)
"""Normalisation of the two towers' pixels."""

_WORD_STD, _WEIGHT_STD, _PLACE_STD = 0.04, 0.04, 0.3
_WAVES = 8


def config_document(recipe: Recipe, vocabulary: Vocabulary) -> dict[str, Any]:
    """config.json."""
    common = {
        "depth": recipe.tower_blocks + 1,  # the last block of a tower is never used, and not stored
        "num_heads": recipe.heads,
        "patch_size": recipe.patch_size,
    }
    wide, narrow = recipe.towers
    return {
        "model_type": "openvla",
        "architectures": ["OpenVLAForActionPrediction"],
        "use_fused_vision_backbone": True,
        "timm_model_ids": ["vit_large_patch14_reg4_dinov2.lvd142m", "vit_so400m_patch14_siglip_224"],
        "timm_override_act_layers": [None, None],
        "image_sizes": [recipe.image_size] * 2,
        "llm_backbone_id": "llama2-7b-pure",
        "n_action_bins": BINS,
        "pad_to_multiple_of": 0,
        "norm_stats": statistics_document(),
        "text_config": {
            "model_type": "llama",
            "hidden_act": "silu",
            "vocab_size": len(vocabulary),
            "hidden_size": recipe.hidden,
            "intermediate_size": recipe.ffn,
            "num_hidden_layers": recipe.layers,
            "num_attention_heads": recipe.heads,
            "max_position_embeddings": 256,
        },
        "tiny_vision_towers": {
            "featurizer": common
            | {
                "embed_dim": wide,
                "mlp_hidden_dim": 2 * wide,
                "class_token": True,
                "reg_tokens": 4,
                "layer_scale": True,
            },
            "fused_featurizer": common
            | {
                "embed_dim": narrow,
                "mlp_hidden_dim": 2 * narrow,
                "class_token": False,
                "reg_tokens": 0,
                "layer_scale": False,
            },
        },
    }


def statistics_document() -> dict[str, Any]:
    """dataset_statistics.json: the world's own units, and OpenVLA's gripper, which is not normalised."""
    action = {"q01": [-1.0] * 6 + [0.0], "q99": [1.0] * 7, "mask": [True] * 6 + [False]}
    return {UNNORM_KEY: {"action": action}}


def write_documents(folder: Path, recipe: Recipe, vocabulary: Vocabulary) -> None:
    """Everything of the checkpoint but the weights and the card."""
    size = [recipe.image_size] * 2
    documents = {
        "config.json": config_document(recipe, vocabulary),
        "preprocessor_config.json": {
            "image_processor_type": "PrismaticImageProcessor",
            "tvf_resize_params": [{"size": size, "interpolation": 3}] * 2,
            "tvf_crop_params": [{"output_size": size}] * 2,
            "tvf_normalize_params": [
                {"mean": mean, "std": std} for mean, std in zip(MEAN.tolist(), STD.tolist(), strict=True)
            ],
        },
        "dataset_statistics.json": statistics_document(),
        "tokenizer.json": vocabulary.tokenizer(),
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": "<s>",
            "eos_token": "</s>",
        },
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, document in documents.items():
        text = json.dumps(document, indent=1, ensure_ascii=False)
        (folder / name).write_text(text + "\n", encoding="utf-8")


def build(folder: Path, seed: int) -> OpenVLAModel:
    """The network of the documents in `folder`, with random weights.

    Action tokens start as an ordinal Fourier basis: neighbouring bins are neighbours from the beginning.
    """
    torch.manual_seed(seed)
    config = OpenVLAConfig.read(folder)
    model = OpenVLAModel(config)
    for name, weight in model.language_model.named_parameters():
        if weight.ndim > 1:
            nn.init.normal_(weight, std=_WORD_STD if "embed" in name or "lm_head" in name else _WEIGHT_STD)
    for tower in model.vision_backbone.names:
        nn.init.normal_(model.vision_backbone.get_submodule(tower).get_parameter("pos_embed"), std=_PLACE_STD)
    actions = slice(config.action_ids.start, config.action_ids.stop)
    with torch.no_grad():
        for matrix in (model.language_model.model.embed_tokens.weight, model.language_model.lm_head.weight):
            basis = _ordinal(matrix.shape[1])
            matrix[actions] = basis * (1.5 * _WORD_STD / basis.std())
    return model


def _ordinal(width: int) -> Tensor:
    """[bins, width]: waves of the bin's place in random directions, long ones strongest; highest id first."""
    place = torch.arange(BINS).flip(0) / (BINS - 1)
    waves = [f(math.pi * k * place) / (1 + 0.25 * k) for k in range(1, _WAVES + 1) for f in (torch.cos, torch.sin)]
    return torch.stack(waves, 1) @ torch.randn(2 * _WAVES, width)


def save_weights(model: OpenVLAModel, folder: Path) -> None:
    """model.safetensors in float16; vision blocks that are never used are not stored."""
    weights = {name: tensor.detach().to(torch.float16).contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def pixels_of(images: NDArray[np.uint8]) -> Tensor:
    """uint8 [n, size, size, 3] -> float32 [n, 3 * towers, size, size], normalised for each tower."""
    plain = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.from_numpy(part).view(-1, 1, 3, 1, 1) for part in (MEAN, STD))
    return torch.cat(list((plain - mean) / std), 1)


def bins_of(actions: NDArray[np.floating]) -> NDArray[np.int64]:
    """Place among the action tokens of normalised values: 0 is the highest id, the lowest value (see `ActionBins`)."""
    edges = np.linspace(-1, 1, BINS)
    return np.digitize(np.clip(actions, -1, 1), edges) - 1
