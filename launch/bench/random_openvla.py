"""Writes a randomly initialised OpenVLA checkpoint in the real layout, of the real size or smaller, for measurements.

Random weights cost what trained ones cost. Tensors are written one after the other from one random block, so that 15 GB
need neither 15 GB of memory nor a second pass.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import torch

from vlasteer.policies.openvla.config import OpenVLAConfig, TowerConfig
from vlasteer.policies.openvla.model import OpenVLAModel
from vlasteer.policies.openvla.vision import VisionTower

SHARD_BYTES = 7_000_000_000
_BLOCK = 1 << 24
_LONE_MARK = 29871
_TIMM_IDS = ("vit_large_patch14_reg4_dinov2.lvd142m", "vit_so400m_patch14_siglip_224")


@dataclass(frozen=True)
class Size:
    """What may be smaller than in the real one; the towers then shrink with it."""

    layers: int = 32
    hidden: int = 4096
    width: int = 11008
    heads: int = 32

    @property
    def full(self) -> bool:
        """Whether it is the real size."""
        return self == Size()


def write_checkpoint(folder: Path, size: Size, *, seed: int = 0) -> int:
    """Write a bfloat16 checkpoint into an empty folder; returns the bytes of its weights."""
    folder.mkdir(parents=True)
    for name, document in _documents(size).items():
        (folder / name).write_text(json.dumps(document))
    config = OpenVLAConfig.read(folder)
    with torch.device("meta"):
        used = OpenVLAModel(config).state_dict()
    shapes = {key: tuple(tensor.shape) for key, tensor in used.items()} | dict(_unused(config.towers))
    return _write_shards(folder, shapes, seed)


def _documents(size: Size) -> dict[str, Any]:
    config: dict[str, Any] = {
        "architectures": ["OpenVLAForActionPrediction"],
        "arch_specifier": "no-align+fused-gelu-mlp",
        "image_resize_strategy": "resize-naive",
        "image_sizes": [224, 224],
        "llm_backbone_id": "llama2-7b-pure",
        "model_type": "openvla",
        "n_action_bins": 256,
        "norm_stats": {"libero_10_no_noops": _statistics()},
        "pad_to_multiple_of": 64,
        "pad_token_id": 32000,
        "text_config": {"model_type": "llama", "pad_token_id": 32000, "torch_dtype": "bfloat16", "vocab_size": 32064},
        "timm_model_ids": list(_TIMM_IDS),
        "timm_override_act_layers": [None, None],
        "torch_dtype": "bfloat16",
        "use_fused_vision_backbone": True,
        "vision_backbone_id": "dinosiglip-vit-so-224px",
    }
    if not size.full:
        config["text_config"] |= {
            "hidden_size": size.hidden,
            "intermediate_size": size.width,
            "num_hidden_layers": size.layers,
            "num_attention_heads": size.heads,
            "num_key_value_heads": size.heads,
        }
        config["tiny_vision_towers"] = {
            "featurizer": _small_tower(class_token=True, reg_tokens=4, layer_scale=True),
            "fused_featurizer": _small_tower(class_token=False, reg_tokens=0, layer_scale=False),
        }
    return {
        "config.json": config,
        "preprocessor_config.json": _preprocessor(),
        "tokenizer.json": _tokenizer(),
    }


def _statistics() -> dict[str, Any]:
    return {"action": {"q01": [-1.0] * 6 + [0.0], "q99": [1.0] * 7, "mask": [True] * 6 + [False]}}


def _small_tower(**differences: Any) -> dict[str, Any]:
    return {"embed_dim": 64, "depth": 4, "num_heads": 4, "mlp_hidden_dim": 256, "patch_size": 14, **differences}


def _preprocessor() -> dict[str, Any]:
    def pair(item: dict[str, Any]) -> list[dict[str, Any]]:
        return [item, item]

    return {
        "tvf_resize_params": pair({"size": [224, 224], "interpolation": 3}),
        "tvf_crop_params": pair({"output_size": [224, 224]}),
        "tvf_normalize_params": pair({"mean": [0.5] * 3, "std": [0.5] * 3}),
        "tvf_do_letterbox": False,
    }


def _tokenizer() -> dict[str, Any]:
    """Llama's 32000 ids with only bytes and single characters in them: prompts come out longer than real ones."""
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *map(chr, range(33, 127))]
    pieces += [f"<filler {i}>" for i in range(len(pieces), 32000)]
    pieces[_LONE_MARK] = "▁"
    special = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False) | {"special": True}
    mark = [{"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]
    return {
        "version": "1.0",
        "added_tokens": [{"id": i, "content": pieces[i]} | special for i in range(3)]
        + [{"id": 32000, "content": "<PAD>"} | special],
        "normalizer": {"type": "Sequence", "normalizers": mark},
        "model": {
            "type": "BPE",
            "unk_token": "<unk>",
            "fuse_unk": True,
            "byte_fallback": True,
            "vocab": {piece: i for i, piece in enumerate(pieces)},
            "merges": [],
        },
    }


def _unused(towers: Iterable[TowerConfig]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of what a real checkpoint stores and nobody reads."""
    for tower in towers:
        prefix, width = f"vision_backbone.{tower.name}", tower.embed_dim
        for part in ("weight", "bias"):
            yield f"{prefix}.norm.{part}", (width,)
        with torch.device("meta"):
            blocks = VisionTower(replace(tower, depth=2)).blocks[0].state_dict()
        yield from ((f"{prefix}.blocks.{tower.depth - 1}.{key}", tuple(t.shape)) for key, t in blocks.items())


# -- safetensors, streamed ---------------------------------------------------------------------------------------------
def _write_shards(folder: Path, shapes: dict[str, tuple[int, ...]], seed: int) -> int:
    shards: list[list[str]] = [[]]
    filled = total = 0
    for key in sorted(shapes):
        size = 2 * math.prod(shapes[key])
        if shards[-1] and filled + size > SHARD_BYTES:
            shards.append([])
            filled = 0
        shards[-1].append(key)
        filled, total = filled + size, total + size
    names = [f"model-{i + 1:05d}-of-{len(shards):05d}.safetensors" for i in range(len(shards))]
    noise = torch.randn(_BLOCK, generator=torch.Generator().manual_seed(seed)) * 0.02
    block = noise.bfloat16().view(torch.uint8).numpy().tobytes()
    for name, keys in zip(names, shards, strict=True):
        with (folder / name).open("wb") as stream:
            _write_shard(stream, {key: shapes[key] for key in keys}, block)
    weight_map = {key: name for name, keys in zip(names, shards, strict=True) for key in keys}
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return total


def _write_shard(stream: BinaryIO, shapes: dict[str, tuple[int, ...]], block: bytes) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for key, shape in shapes.items():
        size = 2 * math.prod(shape)
        header[key] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    stream.write(struct.pack("<Q", len(text)) + text)
    one = torch.ones(1, dtype=torch.bfloat16).view(torch.uint8).numpy().tobytes()
    start = 0
    for key, shape in shapes.items():
        size = 2 * math.prod(shape)
        # Norms begin at one, as everywhere; a network of small random gains would compute zeros.
        source = one * (size // 2) if "norm" in key and key.endswith("weight") else b""
        stream.write(source)
        left = size - len(source)
        while left:
            part = block[start : start + left]
            stream.write(part)
            left -= len(part)
            start = (start + len(part)) % len(block)
