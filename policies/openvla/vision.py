"""The vision towers and the projector, with the checkpoint's key names.

The towers are pre-norm vision transformers (Dosovitskiy et al. 2021) with exact GELU and LayerNorm eps 1e-6, as timm
builds `vit_large_patch14_reg4_dinov2` and `vit_so400m_patch14_siglip_224`. What is read is the output of the last block
but one, un-normed and without the prefix tokens (Karamcheti et al. 2024, "Prismatic VLMs"), so the last block is not
built at all.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vlasteer.policies.openvla.config import TowerConfig

_NORM_EPS = 1e-6


class _PatchEmbed(nn.Module):
    def __init__(self, config: TowerConfig) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, config.embed_dim, config.patch_size, stride=config.patch_size)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.proj(pixels).flatten(2).transpose(1, 2)


class _Attention(nn.Module):
    def __init__(self, config: TowerConfig) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.qkv = nn.Linear(config.embed_dim, 3 * config.embed_dim)
        self.proj = nn.Linear(config.embed_dim, config.embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        heads = self.qkv(x).view(batch, tokens, 3, self.num_heads, width // self.num_heads)
        query, key, value = heads.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(query, key, value)
        return self.proj(mixed.transpose(1, 2).reshape(batch, tokens, width))


class _Mlp(nn.Module):
    def __init__(self, config: TowerConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.embed_dim, config.mlp_dim)
        self.fc2 = nn.Linear(config.mlp_dim, config.embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class _LayerScale(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale_factor = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale_factor


class _Block(nn.Module):
    def __init__(self, config: TowerConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.embed_dim, eps=_NORM_EPS)
        self.attn = _Attention(config)
        self.ls1 = _LayerScale(config.embed_dim) if config.layer_scale else nn.Identity()
        self.norm2 = nn.LayerNorm(config.embed_dim, eps=_NORM_EPS)
        self.mlp = _Mlp(config)
        self.ls2 = _LayerScale(config.embed_dim) if config.layer_scale else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))


class VisionTower(nn.Module):
    """One vision transformer up to its last block but one.

    Position embeddings belong to the patches only; class and register tokens are put in front after they were added.
    """

    def __init__(self, config: TowerConfig) -> None:
        super().__init__()
        self.prefix_tokens = int(config.class_token) + config.reg_tokens
        self.patch_embed = _PatchEmbed(config)
        self.pos_embed = nn.Parameter(torch.zeros(1, config.patches, config.embed_dim))
        if config.class_token:
            self.cls_token = nn.Parameter(torch.zeros(1, 1, config.embed_dim))
        if config.reg_tokens:
            self.reg_token = nn.Parameter(torch.zeros(1, config.reg_tokens, config.embed_dim))
        self.blocks = nn.ModuleList(_Block(config) for _ in range(config.depth - 1))

    def forward(self, pixels: Tensor) -> Tensor:
        """[batch, 3, size, size] normalised pixels -> [batch, patches, embed_dim]."""
        x = self.patch_embed(pixels) + self.pos_embed
        prefix = [
            t.expand(len(x), -1, -1) for n in ("cls_token", "reg_token") if (t := getattr(self, n, None)) is not None
        ]
        x = torch.cat([*prefix, x], dim=1)
        for block in self.blocks:
            x = block(x)
        return x[:, self.prefix_tokens :]


class VisionBackbone(nn.Module):
    """The towers side by side, each on its own three channels."""

    def __init__(self, towers: tuple[TowerConfig, ...]) -> None:
        super().__init__()
        self.names = tuple(tower.name for tower in towers)
        for tower in towers:
            self.add_module(tower.name, VisionTower(tower))

    def forward(self, pixels: Tensor) -> Tensor:
        """[batch, 3 * towers, size, size] -> [batch, patches, sum of the towers' widths]."""
        channels = pixels.split(3, dim=1)
        features = [self.get_submodule(name)(part) for name, part in zip(self.names, channels, strict=True)]
        return torch.cat(features, dim=-1)


class Projector(nn.Module):
    """From vision features to the language model's embedding space: two layers for one tower, three for two."""

    def __init__(self, vision_dim: int, hidden: int, *, fused: bool) -> None:
        super().__init__()
        middle = 4 * vision_dim if fused else hidden
        self.fc1 = nn.Linear(vision_dim, middle)
        self.fc2 = nn.Linear(middle, hidden)
        self.fc3 = nn.Linear(hidden, hidden) if fused else None

    def forward(self, features: Tensor) -> Tensor:
        """[batch, patches, vision_dim] -> [batch, patches, hidden]."""
        x = self.fc2(F.gelu(self.fc1(features)))
        return x if self.fc3 is None else self.fc3(F.gelu(x))


def is_unused_key(key: str, towers: tuple[TowerConfig, ...]) -> bool:
    """Whether a checkpoint stores this tensor although the policy never reads it.

    These are each tower's last block, its final norm and its attention pooling.
    """
    return any(
        key.startswith(f"vision_backbone.{tower.name}.{part}")
        for tower in towers
        for part in (f"blocks.{tower.depth - 1}.", "norm.", "attn_pool.")
    )
