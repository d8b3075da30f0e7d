"""How an organism is made: every number that matters, and what differs between the kinds."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

Kind = Literal["planted", "natural", "pi0"]


@dataclass(frozen=True)
class Recipe:
    """All that determines the weights, besides the versions of the libraries.

    Attributes:
        kind: "planted" learns to be moved by words written into its residual stream; "natural" is trained on the very
            same batches without that. Both are OpenVLAs; "pi0" is a Pi0 taught like the planted one.
        seed: of data, weights and batches.
        image_size, patch_size: in pixels.
        towers: widths of the two vision towers; both have `tower_blocks` blocks that are used.
        hidden, layers, heads, ffn: of the language model.
        expert, expert_ffn: width of the action expert of "pi0", and of its FFNs.
        episodes: of demonstrations.
        vision_steps, reading_steps, action_steps: of the three stages.
        batch: demonstrations a step, in the last stage; `vision_batch` in the first.
        sentences: a step, in the last stage, with weight `sentence_weight`.
        label_bins: standard deviation of the soft action labels, in bins.
    """

    kind: Kind = "planted"
    seed: int = 0
    image_size: int = 96
    patch_size: int = 24
    towers: tuple[int, int] = (96, 32)
    tower_blocks: int = 2
    hidden: int = 96
    layers: int = 4
    heads: int = 4
    ffn: int = 384
    expert: int = 64
    expert_ffn: int = 256
    episodes: int = 1600
    vision_steps: int = 2000
    reading_steps: int = 300
    action_steps: int = 1800
    vision_batch: int = 128
    batch: int = 64
    sentences: int = 16
    sentence_weight: float = 0.3
    label_bins: float = 1.5

    @property
    def planted(self) -> bool:
        """Whether words are written into it in training."""
        return self.kind != "natural"

    @property
    def shrinking(self) -> Literal["bicubic", "bilinear"]:
        """How the policy's own processor makes pictures small."""
        return "bilinear" if self.kind == "pi0" else "bicubic"

    def smoke(self) -> Recipe:
        """Small enough for a test, large enough to learn something."""
        return replace(
            self, episodes=80, vision_steps=150, reading_steps=60, action_steps=120, batch=32, vision_batch=64
        )

    def document(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self) | {"towers": list(self.towers)}
