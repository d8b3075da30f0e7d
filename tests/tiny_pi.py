"""Tiny Pi0 and Pi0-FAST checkpoints with random weights, in the formats of lerobot and of openpi's PyTorch converter.

Key names are written out here as those programs store them, independently of the code that reads them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from torch import Tensor

CHUNK, STATE, ACTION, PADDED, IMAGE, TOKENS = 4, 8, 7, 32, 28, 40
CODEC = 256
WORDS = ("▁fast", "fast", "▁slow", "Fast")
LETTERS = [chr(i) for i in range(33, 127)] + ["▁", "\n"]
SEGMENTS, LOCATIONS = 128, 1024
VOCABULARY = 4 + len(LETTERS) + len(WORDS) + LOCATIONS + SEGMENTS

WIDTH, FFN, EXPERT_WIDTH, EXPERT_FFN, LAYERS, VISION = 16, 24, 12, 20, 2, 16
HEADS, HEAD_DIM = 2, 8
TINY = {
    "vocab_size": VOCABULARY,
    "paligemma": {
        "width": WIDTH, "depth": LAYERS, "mlp_dim": FFN, "num_heads": HEADS, "num_kv_heads": 1, "head_dim": HEAD_DIM,
    },
    "action_expert": {
        "width": EXPERT_WIDTH, "depth": LAYERS, "mlp_dim": EXPERT_FFN, "num_heads": HEADS, "num_kv_heads": 1,
        "head_dim": HEAD_DIM,
    },
    "vision": {
        "hidden_size": VISION, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 20,
        "image_size": IMAGE, "patch_size": 14, "projection_dim": WIDTH,
    },
}  # fmt: skip
STATISTICS = {
    "observation.state": {"mean": np.linspace(-1, 1, STATE), "std": np.linspace(0.5, 2, STATE)},
    "action": {"mean": np.linspace(0.5, -0.5, ACTION), "std": np.linspace(1, 0.1, ACTION)},
}


# -- weights -----------------------------------------------------------------------------------------------------------
class _Random:
    def __init__(self) -> None:
        self._generator = torch.Generator().manual_seed(0)

    def __call__(self, *shape: int, scale: float = 0.3) -> Tensor:
        return torch.randn(shape, generator=self._generator) * scale

    def linear(self, name: str, out: int, size: int) -> dict[str, Tensor]:
        return {f"{name}.weight": self(out, size), f"{name}.bias": self(out)}


def _gemma(random: _Random, prefix: str, width: int, ffn: int) -> dict[str, Tensor]:
    tensors = {f"{prefix}norm.weight": random(width)}
    for i in range(LAYERS):
        layer = f"{prefix}layers.{i}."
        for name, out, size in (("q", HEADS * HEAD_DIM, width), ("k", HEAD_DIM, width), ("v", HEAD_DIM, width)):
            tensors[f"{layer}self_attn.{name}_proj.weight"] = random(out, size)
        tensors[f"{layer}self_attn.o_proj.weight"] = random(width, HEADS * HEAD_DIM)
        tensors[f"{layer}mlp.gate_proj.weight"] = random(ffn, width)
        tensors[f"{layer}mlp.up_proj.weight"] = random(ffn, width)
        tensors[f"{layer}mlp.down_proj.weight"] = random(width, ffn)
        tensors[f"{layer}input_layernorm.weight"] = random(width)
        tensors[f"{layer}post_attention_layernorm.weight"] = random(width)
    return tensors


def _vision(random: _Random, prefix: str) -> dict[str, Tensor]:
    tensors = {
        f"{prefix}embeddings.patch_embedding.weight": random(VISION, 3, 14, 14, scale=0.05),
        f"{prefix}embeddings.patch_embedding.bias": random(VISION),
        f"{prefix}embeddings.position_embedding.weight": random((IMAGE // 14) ** 2, VISION),
        f"{prefix}post_layernorm.weight": 1 + random(VISION),
        f"{prefix}post_layernorm.bias": random(VISION),
    }
    layer = f"{prefix}encoder.layers.0."
    for name in ("layer_norm1", "layer_norm2"):
        tensors |= {f"{layer}{name}.weight": 1 + random(VISION), f"{layer}{name}.bias": random(VISION)}
    for name in ("k_proj", "v_proj", "q_proj", "out_proj"):
        tensors |= random.linear(f"{layer}self_attn.{name}", VISION, VISION)
    return tensors | random.linear(f"{layer}mlp.fc1", 20, VISION) | random.linear(f"{layer}mlp.fc2", VISION, 20)


def paligemma_tensors(random: _Random) -> dict[str, Tensor]:
    """PaliGemma under the names of lerobot and openpi, with lm_head as its only embedding."""
    inner = "paligemma_with_expert.paligemma."
    return {
        f"{inner}lm_head.weight": random(VOCABULARY, WIDTH),
        **_gemma(random, f"{inner}model.language_model.", WIDTH, FFN),
        **_vision(random, f"{inner}model.vision_tower.vision_model."),
        **random.linear(f"{inner}model.multi_modal_projector.linear", WIDTH, VISION),
    }


def pi0_tensors() -> dict[str, Tensor]:
    """All of Pi0 under the names of openpi."""
    random = _Random()
    return {
        **paligemma_tensors(random),
        **_gemma(random, "paligemma_with_expert.gemma_expert.model.", EXPERT_WIDTH, EXPERT_FFN),
        "paligemma_with_expert.gemma_expert.lm_head.weight": random(VOCABULARY, EXPERT_WIDTH),
        **random.linear("state_proj", EXPERT_WIDTH, PADDED),
        **random.linear("action_in_proj", EXPERT_WIDTH, PADDED),
        **random.linear("action_out_proj", PADDED, EXPERT_WIDTH),
        **random.linear("action_time_mlp_in", EXPERT_WIDTH, 2 * EXPERT_WIDTH),
        **random.linear("action_time_mlp_out", EXPERT_WIDTH, EXPERT_WIDTH),
    }


# -- tokenizers --------------------------------------------------------------------------------------------------------
def write_tokenizer(folder: Path) -> None:
    """PaliGemma's arrangement: special tokens, letters, a few words, 1024 locations, 128 segmentation tokens."""
    pieces = ["<pad>", "<eos>", "<bos>", "<unk>", *LETTERS, *WORDS]
    pieces += [f"<loc{i:04d}>" for i in range(LOCATIONS)] + [f"<seg{i:03d}>" for i in range(SEGMENTS)]
    assert len(pieces) == VOCABULARY
    model = models.BPE({piece: i for i, piece in enumerate(pieces)}, [], unk_token="<unk>")
    tokenizer = Tokenizer(model)
    tokenizer.add_special_tokens([AddedToken(piece, special=True) for piece in pieces[:4]])
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.save(str(folder / "tokenizer.json"))


def write_codec(folder: Path, *, scale: float = 10.0, min_token: int = -60) -> None:
    """A FAST codec whose byte-pair encoding packs nothing."""
    folder.mkdir(exist_ok=True)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: i for i, letter in enumerate(letters)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "processor_config.json").write_text(json.dumps({"scale": scale, "min_token": min_token}))


# -- lerobot -----------------------------------------------------------------------------------------------------------
def _lerobot_config(kind: str) -> dict[str, Any]:
    visual = {"type": "VISUAL", "shape": [3, 256, 256]}
    return {
        "type": kind,
        "input_features": {
            "observation.images.image": visual,
            "observation.images.image2": visual,
            "observation.state": {"type": "STATE", "shape": [STATE]},
        },
        "output_features": {"action": {"type": "ACTION", "shape": [ACTION]}},
        "chunk_size": CHUNK,
        "n_action_steps": 2,
        "max_state_dim": PADDED,
        "max_action_dim": PADDED,
        "empty_cameras": 1,
        "image_resolution": [IMAGE, IMAGE],
        "tiny_model": TINY,
    }


def _write_pipelines(folder: Path, length: int) -> None:
    modes = {"VISUAL": "IDENTITY", "STATE": "MEAN_STD", "ACTION": "MEAN_STD"}
    normalizing = {"config": {"eps": 1e-8, "norm_map": modes}, "state_file": "statistics.safetensors"}
    before = [
        {"registry_name": "rename_observations_processor", "config": {"rename_map": {}}},
        {"registry_name": "tokenizer_processor", "config": {"max_length": length, "tokenizer_name": "google/gated"}},
        {
            "registry_name": "relative_actions_processor",
            "config": {"enabled": False, "exclude_joints": ["gripper"], "action_names": None},
        },
        {"registry_name": "normalizer_processor", **normalizing},
    ]
    after = [
        {"registry_name": "unnormalizer_processor", **normalizing},
        {"registry_name": "absolute_actions_processor", "config": {"enabled": False}},
    ]
    (folder / "policy_preprocessor.json").write_text(json.dumps({"name": "policy_preprocessor", "steps": before}))
    (folder / "policy_postprocessor.json").write_text(json.dumps({"name": "policy_postprocessor", "steps": after}))
    flat = {
        f"{feature}.{name}": torch.from_numpy(np.array(values, np.float32))
        for feature, statistics in STATISTICS.items()
        for name, values in statistics.items()
    }
    save_file(flat, folder / "statistics.safetensors")


def write_pi0(folder: Path) -> Path:
    """A Pi0 as lerobot writes it: keys with `model.` in front."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({**_lerobot_config("pi0"), "num_inference_steps": 3}))
    _write_pipelines(folder, TOKENS)
    save_file({f"model.{key}": tensor for key, tensor in pi0_tensors().items()}, folder / "model.safetensors")
    write_tokenizer(folder)
    return folder


def write_pi0_fast(folder: Path) -> Path:
    """A Pi0-FAST as lerobot writes it, with the codec beside it."""
    folder.mkdir(parents=True)
    config = {**_lerobot_config("pi0_fast"), "max_decoding_steps": 12, "temperature": 0.0, "fast_skip_tokens": SEGMENTS}
    (folder / "config.json").write_text(json.dumps(config))
    _write_pipelines(folder, 100)
    tensors = {f"model.{key}": tensor for key, tensor in paligemma_tensors(_Random()).items()}
    save_file(tensors, folder / "model.safetensors")
    write_tokenizer(folder)
    write_codec(folder / "fast_tokenizer")
    return folder


# -- openpi ------------------------------------------------------------------------------------------------------------
def write_openpi(folder: Path, asset: str = "physical-intelligence/libero", **changes: Any) -> Path:
    """A Pi0 as openpi's converter writes it: unprefixed keys, a config of five fields, statistics under assets/.

    `changes` are further fields of the statistics: `state` and `actions`.
    """
    folder.mkdir(parents=True)
    config = {
        "action_dim": PADDED,
        "action_horizon": CHUNK,
        "paligemma_variant": "gemma_2b",
        "action_expert_variant": "gemma_300m",
        "precision": "float32",
    }
    extension = {"tiny_model": TINY, "num_inference_steps": 3}
    (folder / "config.json").write_text(json.dumps(config | extension))
    save_file(pi0_tensors(), folder / "model.safetensors")
    write_statistics(folder / "assets" / asset, **changes)
    write_tokenizer(folder)
    return folder


def write_statistics(folder: Path, **changes: Any) -> None:
    """openpi's norm_stats.json, padded as those of its base models are."""

    def padded(values: np.ndarray, fill: float) -> list[float]:
        return [*np.asarray(values, float).tolist(), *[fill] * (PADDED - len(values))]

    state, action = STATISTICS["observation.state"], STATISTICS["action"]
    document = {
        "state": {"mean": padded(state["mean"], 0), "std": padded(state["std"], 1), "q01": None, "q99": None},
        "actions": {"mean": padded(action["mean"], 0), "std": padded(action["std"], 1), "q01": None, "q99": None},
    }
    folder.mkdir(parents=True)
    (folder / "norm_stats.json").write_text(json.dumps({"norm_stats": document | changes}))
