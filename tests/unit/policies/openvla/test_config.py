"""config.json: what the real one means, and every way in which it can be wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from altered import DELETE, edit_json

from vlasteer.errors import CheckpointError
from vlasteer.policies.openvla import recognises
from vlasteer.policies.openvla.config import OpenVLAConfig, PromptStyle

PUBLISHED = {
    "model_type": "openvla",
    "use_fused_vision_backbone": True,
    "timm_model_ids": ["vit_large_patch14_reg4_dinov2.lvd142m", "vit_so400m_patch14_siglip_224"],
    "timm_override_act_layers": [None, None],
    "image_sizes": [224, 224],
    "llm_backbone_id": "llama2-7b-pure",
    "n_action_bins": 256,
    "pad_to_multiple_of": 64,
    "text_config": {"model_type": "llama", "pad_token_id": 32000, "torch_dtype": "bfloat16", "vocab_size": 32064},
}
"""The fields of openvla-7b's config.json that change what it computes."""


def read(folder: Path, document: Any) -> OpenVLAConfig:
    (folder / "config.json").write_text(json.dumps(document))
    return OpenVLAConfig.read(folder)


def test_the_published_checkpoint(tmp_path: Path) -> None:
    config = read(tmp_path, PUBLISHED)
    dino, siglip = config.towers
    assert (dino.name, dino.embed_dim, dino.depth, dino.num_heads, dino.mlp_dim) == ("featurizer", 1024, 24, 16, 4096)
    assert (dino.class_token, dino.reg_tokens, dino.layer_scale) == (True, 4, True)
    assert (siglip.name, siglip.embed_dim, siglip.depth) == ("fused_featurizer", 1152, 27)
    assert (siglip.num_heads, siglip.mlp_dim, siglip.class_token, siglip.layer_scale) == (16, 4304, False, False)
    assert dino.patches == siglip.patches == 256
    language = config.language
    assert (language.hidden_size, language.intermediate_size, language.num_hidden_layers) == (4096, 11008, 32)
    assert language.rms_norm_eps == 1e-6
    assert config.vocabulary == 32000
    assert (config.action_ids.start, config.action_ids.stop) == (31744, 32000)
    assert config.prompt_style is PromptStyle.PURE
    assert config.norm_stats is None


def test_the_tiny_checkpoint(openvla_tiny: Path) -> None:
    config = OpenVLAConfig.read(openvla_tiny)
    assert [(t.embed_dim, t.depth, t.num_heads, t.mlp_dim, t.reg_tokens) for t in config.towers] == [
        (32, 4, 2, 128, 4),
        (48, 5, 4, 96, 0),
    ]
    assert (config.language.hidden_size, config.language.intermediate_size) == (24, 80)
    assert set(config.norm_stats or {}) == {"bridge_orig", "libero_10_no_noops"}


def test_v01_has_one_tower_and_the_vicuna_prompt(checkpoint_v01: Path) -> None:
    config = OpenVLAConfig.read(checkpoint_v01)
    assert [tower.name for tower in config.towers] == ["featurizer"]
    assert config.prompt_style is PromptStyle.VICUNA


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("model_type", "llava", "model_type 'llava'"),
        ("model_type", DELETE, "no field 'model_type'"),
        ("timm_model_ids", ["vit_large_patch14_clip_224.openai", "x"], "vision tower 'vit_large_patch14_clip"),
        ("timm_model_ids", ["vit_so400m_patch14_siglip_224"], "'timm_model_ids'"),
        ("timm_override_act_layers", ["quick_gelu", None], "'timm_override_act_layers'.*not supported"),
        ("image_sizes", [224, "224"], "'image_sizes'"),
        ("image_sizes", [224, 238], r"\[256, 289\] patches"),
        ("use_fused_vision_backbone", "yes", "'use_fused_vision_backbone' is 'yes'"),
        ("llm_backbone_id", DELETE, "no field 'llm_backbone_id'"),
        ("n_action_bins", 1, "n_action_bins 1"),
        ("n_action_bins", 256.0, "'n_action_bins' is 256.0"),
        ("n_action_bins", True, "'n_action_bins' is True"),
        ("pad_to_multiple_of", -1, "field 'pad_to_multiple_of' is -1"),
        ("text_config", DELETE, "no field 'text_config'"),
        ("text_config", [], "'text_config'"),
        ("text_config.vocab_size", DELETE, "no field 'vocab_size'"),
        ("text_config.hidden_size", "24", "'hidden_size' is '24'"),
        ("text_config.hidden_size", 26, "hidden_size 26"),
        ("text_config.hidden_act", "gelu", "'hidden_act' is 'gelu', which is not supported"),
        ("text_config.attention_bias", True, "'attention_bias'"),
        ("text_config.tie_word_embeddings", True, "'tie_word_embeddings'"),
        ("text_config.rope_scaling", {"type": "linear"}, "'rope_scaling'"),
        ("text_config.rope_parameters", {"rope_type": "yarn"}, "'rope_type' is 'yarn'"),
        ("text_config.head_dim", 7, "'head_dim' is 7"),
        ("norm_stats", [], "'norm_stats'"),
        ("tiny_vision_towers.featurizer", DELETE, "no field 'featurizer'"),
        ("tiny_vision_towers.featurizer.num_heads", DELETE, "no field 'num_heads'"),
        ("tiny_vision_towers.featurizer.num_heads", 5, "num_heads 5"),
        ("tiny_vision_towers.featurizer.depth", 1, "depth 1"),
        ("tiny_vision_towers.featurizer.embed_dim", 0, "field 'embed_dim' is 0"),
    ],
)
def test_a_wrong_field_is_named(checkpoint: Path, field: str, value: Any, message: str) -> None:
    edit_json(checkpoint / "config.json", {field: value})
    with pytest.raises(CheckpointError, match=message):
        OpenVLAConfig.read(checkpoint)


def test_only_openvla_is_recognised(checkpoint: Path, tmp_path: Path) -> None:
    assert recognises(checkpoint)
    edit_json(checkpoint / "config.json", {"model_type": "llama"})
    assert not recognises(checkpoint)
    (checkpoint / "config.json").write_text("{")
    assert not recognises(checkpoint)
    assert not recognises(tmp_path / "nowhere")
