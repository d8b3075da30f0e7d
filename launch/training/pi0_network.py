"""The Pi0 organism's network, which is the adapter's own, small; its first weights; and how it is written to disk.

The folder is lerobot's, with the sizes in the block `tiny_model`. That block also names the convention of the actions,
which a real checkpoint's data tell.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PI0ForConditionalGeneration, SiglipVisionModel

from vlasteer.launch.training.corpus import Vocabulary
from vlasteer.launch.training.demonstrations import CAMERA, Demonstrations
from vlasteer.launch.training.recipe import Recipe
from vlasteer.policies.pi0.network import Pi0Network, native_config
from vlasteer.policies.pi0.settings import read_settings

CONVENTION = "libero"
"""The tabletop's actions are LIBERO's."""
TOKENS = 32
"""Positions of the text; the longest instruction has 27 words."""
STATE, ACTION = 8, 7

_BEFORE, _AFTER = "policy_preprocessor_step_0.safetensors", "policy_postprocessor_step_0.safetensors"
_MODES = {"VISUAL": "IDENTITY", "STATE": "MEAN_STD", "ACTION": "MEAN_STD"}
_UNUSED_STD = 1e6
_LEAST_STD = 1e-3
_WORD_STD, _WEIGHT_STD, _PLACE_STD = 0.04, 0.05, 0.3


def write_documents(folder: Path, recipe: Recipe, vocabulary: Vocabulary, shown: Demonstrations) -> None:
    """Everything of the checkpoint but the weights and the card."""
    inputs = {
        f"observation.images.{CAMERA}": {"type": "VISUAL", "shape": [3, recipe.image_size, recipe.image_size]},
        "observation.state": {"type": "STATE", "shape": [STATE]},
    }
    tokenizing = {"max_length": TOKENS, "task_key": "task", "padding_side": "right", "padding": "max_length"}
    documents = {
        "config.json": _config_document(recipe, vocabulary, inputs),
        "policy_preprocessor.json": _pipeline(
            "policy_preprocessor",
            {"registry_name": "pi0_new_line_processor", "config": {}},
            {"registry_name": "tokenizer_processor", "config": tokenizing},
            {
                "registry_name": "normalizer_processor",
                "config": {"eps": 1e-8, "norm_map": _MODES},
                "state_file": _BEFORE,
            },
        ),
        "policy_postprocessor.json": _pipeline(
            "policy_postprocessor",
            {
                "registry_name": "unnormalizer_processor",
                "config": {"eps": 1e-8, "norm_map": _MODES},
                "state_file": _AFTER,
            },
        ),
        "tokenizer.json": vocabulary.tokenizer(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, document in documents.items():
        text = json.dumps(document, indent=1, ensure_ascii=False)
        (folder / name).write_text(text + "\n", encoding="utf-8")
    statistics = {}
    for feature, values in (("observation.state", state_statistics(shown)), ("action", action_statistics(shown))):
        for name, numbers in zip(("mean", "std"), values, strict=True):
            statistics[f"{feature}.{name}"] = torch.from_numpy(numbers.astype(np.float32))
    for name in (_BEFORE, _AFTER):
        save_file(statistics, folder / name)


def _config_document(recipe: Recipe, vocabulary: Vocabulary, inputs: dict[str, Any]) -> dict[str, Any]:
    heads = {
        "depth": recipe.layers,
        "num_heads": recipe.heads,
        "num_kv_heads": recipe.heads,
        "head_dim": recipe.hidden // recipe.heads,
    }
    tower = sum(recipe.towers)
    return {
        "type": "pi0",
        "input_features": inputs,
        "output_features": {"action": {"type": "ACTION", "shape": [ACTION]}},
        "chunk_size": 1,  # a frame is labelled with the next action alone
        "n_action_steps": 1,
        "max_state_dim": STATE,
        "max_action_dim": ACTION,
        "num_inference_steps": 10,
        "image_resolution": [recipe.image_size] * 2,
        "empty_cameras": 0,
        "normalization_mapping": _MODES,
        "tokenizer_max_length": TOKENS,
        "tiny_model": {
            "convention": CONVENTION,
            "vocab_size": len(vocabulary),
            "paligemma": heads | {"width": recipe.hidden, "mlp_dim": recipe.ffn},
            "action_expert": heads | {"width": recipe.expert, "mlp_dim": recipe.expert_ffn},
            "vision": {
                "hidden_size": tower,
                "num_hidden_layers": recipe.tower_blocks,
                "num_attention_heads": recipe.heads,
                "intermediate_size": 2 * tower,
                "image_size": recipe.image_size,
                "patch_size": recipe.patch_size,
            },
        },
    }


def _pipeline(name: str, *steps: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "steps": list(steps)}


def state_statistics(shown: Demonstrations) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation [8]: the pinch point's; the rest is made to vanish, for the data lack it."""
    mean, std = np.zeros(STATE), np.full(STATE, _UNUSED_STD)
    mean[:3], std[:3] = shown.tcp.mean(0), shown.tcp.std(0)
    return mean, std


def action_statistics(shown: Demonstrations) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation [7] over all labels; nothing ever turns, and its deviation is not quite zero."""
    actions = shown.actions.reshape(-1, ACTION).astype(np.float64)
    return actions.mean(0), np.maximum(actions.std(0), _LEAST_STD)


def build(folder: Path, seed: int) -> Pi0Network:
    """The network of the documents in `folder`, with random weights that may be trained."""
    torch.manual_seed(seed)
    settings = read_settings(folder, None)
    native = PI0ForConditionalGeneration(native_config(settings))
    for name, weight in native.named_parameters():
        if weight.ndim > 1 and "vision_tower" not in name and "embed_action_time" not in name:
            nn.init.normal_(weight, std=_WORD_STD if "embed_tokens" in name else _WEIGHT_STD)
        elif "position_embedding" in name:
            nn.init.normal_(weight, std=_PLACE_STD)
    _save(native, folder, torch.float32)
    network = Pi0Network(settings, device=torch.device("cpu"), dtype=torch.float32)
    network.native.requires_grad_(True)
    return network


def save_weights(network: Pi0Network, folder: Path) -> None:
    """model.safetensors in float16, with lerobot's names."""
    _save(network.native, folder, torch.float16)


def _save(native: nn.Module, folder: Path, dtype: torch.dtype) -> None:
    weights = {
        name: tensor.detach().to(dtype).contiguous()
        for key, tensor in native.state_dict().items()
        if (name := lerobot_key(key)) is not None
    }
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def lerobot_key(key: str) -> str | None:
    """What lerobot calls a parameter of transformers' PI0; None for what it does not store."""
    ours, theirs = "model.vlm.", "model.paligemma_with_expert.paligemma."
    if key.endswith("sinusoid_freq") or key in ("model.dit.embed_tokens.weight", "lm_head.weight"):
        return None
    if key == f"{ours}language_model.embed_tokens.weight":
        return f"{theirs}lm_head.weight"  # tied
    if key.startswith(ours):
        inner = key.removeprefix(ours).replace("vision_tower.", "vision_tower.vision_model.", 1)
        return f"{theirs}model.{inner}"
    if key.startswith("model.dit."):
        return key.replace("model.dit.", "model.paligemma_with_expert.gemma_expert.model.", 1)
    return "model." + key.removeprefix("embed_action_time.")


class SiglipPatches(nn.Module):
    """SigLIP as the first stage wants a vision backbone: pixels to patches."""

    def __init__(self, tower: SiglipVisionModel) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, pixels: Tensor) -> Tensor:
        """[batch, 3, size, size] -> [batch, patches, width]."""
        return self.tower(pixels).last_hidden_state


def pixels_of(images: NDArray[np.uint8]) -> Tensor:
    """uint8 [n, size, size, 3] -> float32 [n, 3, size, size] from -1 to 1."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
