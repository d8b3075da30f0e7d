"""A writable copy of the tiny checkpoint, and one in the format of OpenVLA v0.1."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from altered import copy_checkpoint, edit_json, edit_tensors
from torch import Tensor


@pytest.fixture
def checkpoint(openvla_tiny: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return copy_checkpoint(openvla_tiny, tmp_path / "checkpoint")


@pytest.fixture
def checkpoint_v01(checkpoint: Path) -> Path:
    """One SigLIP tower, two projector layers, Vicuna, letterbox images: what v0.1 has in place of its successor's."""
    edit_json(
        checkpoint / "config.json",
        {
            "use_fused_vision_backbone": False,
            "timm_model_ids": ["vit_so400m_patch14_siglip_224"],
            "timm_override_act_layers": [None],
            "image_sizes": [224],
            "llm_backbone_id": "vicuna-v15-7b",
            "tiny_vision_towers.featurizer": {
                "embed_dim": 48,
                "depth": 5,
                "num_heads": 4,
                "mlp_hidden_dim": 96,
                "patch_size": 14,
                "class_token": False,
                "reg_tokens": 0,
                "layer_scale": False,
            },
        },
    )
    grey = {"mean": [0.5] * 3, "std": [0.5] * 3, "inplace": False}
    edit_json(
        checkpoint / "preprocessor_config.json",
        {
            "tvf_resize_params": [{"size": 224, "interpolation": 3, "max_size": None, "antialias": True}],
            "tvf_crop_params": [{"output_size": [224, 224]}],
            "tvf_normalize_params": [grey],
            "tvf_do_letterbox": True,
            "tvf_letterbox_fill": [127, 127, 127],
        },
    )

    def one_tower(tensors: dict[str, Tensor]) -> None:
        for key in [key for key in tensors if key.startswith(("vision_backbone.featurizer.", "projector."))]:
            del tensors[key]
        for key in [key for key in tensors if "fused_featurizer" in key]:
            tensors[key.replace("fused_featurizer", "featurizer")] = tensors.pop(key)
        generator = torch.Generator().manual_seed(0)
        for name, shape in (("fc1", (24, 48)), ("fc2", (24, 24))):
            tensors[f"projector.{name}.weight"] = torch.randn(shape, generator=generator).bfloat16()
            tensors[f"projector.{name}.bias"] = torch.zeros(shape[0], dtype=torch.bfloat16)

    edit_tensors(checkpoint, one_tower)
    return checkpoint
