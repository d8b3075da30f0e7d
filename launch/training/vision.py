"""First stage: the vision towers learn where things are, before they are given a language model.

Without it the language model stays blind for its first thousand steps while the teacher-forced error looks fine. A
head that is thrown away afterwards asks the patches about every bin colour and about the hand, by attention as the
language model will: is there such a bin, where, how far from the hand and in which direction, and what the expert would
do to get there in every manner. At which patch to look is told as well (where the camera sees the thing), which is what
makes a few minutes on a CPU enough.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from vlasteer.envs.tabletop.manner import MANNERS
from vlasteer.envs.tabletop.scene import AGENT_EYE, AGENT_FOVY, AGENT_TARGET
from vlasteer.envs.tabletop.tasks import BIN_COLOURS
from vlasteer.launch.training.demonstrations import Demonstrations

Pixels = Callable[[NDArray[np.uint8]], Tensor]
_NEAR_M = 0.05
_RIM_M = 0.03
_ASK, _READ = 64, 128


@dataclass(frozen=True)
class VisionTargets:
    """What is asked of a frame; rows as in the demonstrations.

    Attributes:
        hand: float32 [n, 3], standardised.
        bins: float32 [n, colours, m], standardised; zeros where there is no such bin.
        there: float32 [n, colours], 1 where there is.
        actions: float32 [n, colours, 9 * 4] translation and gripper for every manner.
        usable: float32 [n, colours], 1 where `actions` may be learned from.
        seen: float32 [n, colours + 1, 2] where in the picture bins and hand are, 0 to 1 from the upper left corner.
    """

    hand: Tensor
    bins: Tensor
    there: Tensor
    actions: Tensor
    usable: Tensor
    seen: Tensor

    @classmethod
    def of(cls, shown: Demonstrations) -> VisionTargets:
        """Those of the demonstrations."""
        n, rows = len(shown), np.arange(len(shown))
        per_bin = _about_bins(shown)
        moved = np.concatenate([shown.actions[..., :3], shown.actions[..., 6:]], -1).reshape(n, 3, -1)
        there, usable = np.zeros((n, len(BIN_COLOURS))), np.zeros((n, len(BIN_COLOURS)))
        bins = np.zeros((n, len(BIN_COLOURS), per_bin.shape[-1]))
        actions = np.zeros((n, len(BIN_COLOURS), moved.shape[-1]))
        seen = np.zeros((n, len(BIN_COLOURS) + 1, 2))
        for i in range(shown.bins.shape[1]):
            colour = shown.bins[:, i]
            there[rows, colour] = 1
            usable[rows, colour] = shown.usable[:, i]
            bins[rows, colour] = per_bin[:, i]
            actions[rows, colour] = moved[:, i]
            seen[rows, colour] = in_picture(np.concatenate([shown.places[:, i], np.full((n, 1), _RIM_M)], 1))
        seen[:, -1] = in_picture(shown.tcp)
        hand = (shown.tcp - shown.tcp.mean(0)) / shown.tcp.std(0)
        parts = (hand, bins, there, actions, usable, seen)
        return cls(*(torch.from_numpy(np.asarray(part, np.float32)) for part in parts))

    def to(self, device: torch.device) -> VisionTargets:
        """The same there."""
        return VisionTargets(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))


def _about_bins(shown: Demonstrations) -> NDArray[np.float64]:
    """[n, 3, 8]: place (2), offset from the hand (2), distance, direction (2), whether the hand is over it."""
    offset = shown.places - shown.tcp[:, None, :2]
    distance = np.linalg.norm(offset, axis=-1, keepdims=True)
    parts = [shown.places, offset, distance, offset / (distance + 1e-3), np.clip(distance / _NEAR_M, 0, 1)]
    values = np.concatenate(parts, -1).astype(np.float64)
    return (values - values.mean((0, 1))) / values.std((0, 1))


def in_picture(points: NDArray[np.floating]) -> NDArray[np.float64]:
    """[n, 3] world points (m) -> [n, 2] column and row in the agent's view, 0 to 1 from the upper left corner."""
    eye, target = np.array(AGENT_EYE), np.array(AGENT_TARGET)
    back = (eye - target) / np.linalg.norm(eye - target)
    right = np.cross((0.0, 0.0, 1.0), back)
    right /= np.linalg.norm(right)
    way = np.asarray(points, np.float64) - eye
    depth = -(way @ back) * 2 * np.tan(np.radians(AGENT_FOVY) / 2)
    return np.stack([0.5 + way @ right / depth, 0.5 - way @ np.cross(back, right) / depth], -1)


class VisionHead(nn.Module):
    """What asks the patches; not part of the checkpoint."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.ask = nn.Parameter(torch.randn(len(BIN_COLOURS) + 1, _ASK) * 0.1)
        self.key = nn.Linear(width, _ASK)
        self.value = nn.Linear(width, _READ)
        self.read = nn.Sequential(nn.GELU(), nn.Linear(_READ, _READ), nn.GELU())
        self.read_bin = nn.Sequential(nn.Linear(2 * _READ, _READ), nn.GELU(), nn.Linear(_READ, _READ), nn.GELU())
        self.there, self.bins = nn.Linear(_READ, 1), nn.Linear(_READ, 8)
        self.actions = nn.Linear(_READ, len(MANNERS) * 4)
        self.hand = nn.Linear(_READ, 3)

    def forward(self, patches: Tensor) -> tuple[Tensor, ...]:
        """[batch, patches, width] -> hand, bins, there (logits), actions as in `VisionTargets`, and where it looked:
        [batch, colours + 1, patches] log-probabilities."""
        patches = self.norm(patches)
        where = torch.log_softmax(self.ask @ self.key(patches).transpose(1, 2), -1)
        read = where.exp() @ self.value(patches)
        bins, hand = read[:, :-1], read[:, -1]
        both = self.read_bin(torch.cat([bins, hand[:, None].expand_as(bins)], -1))
        return (
            self.hand(self.read(hand)),
            self.bins(both),
            self.there(self.read(bins))[..., 0],
            self.actions(both),
            where,
        )


def vision_loss(
    head: VisionHead, patches: Tensor, wanted: VisionTargets, rows: Tensor
) -> tuple[Tensor, dict[str, float]]:
    """The loss of a batch, and its parts for the log: errors in standard deviations, and of actions in their units."""
    hand, bins, there, actions, where = head(patches)
    exists, usable = wanted.there[rows], wanted.usable[rows]
    hand_loss = F.mse_loss(hand, wanted.hand[rows])
    bins_loss = ((bins - wanted.bins[rows]) ** 2 * exists[..., None]).sum() / (exists.sum() * bins.shape[-1])
    there_loss = F.binary_cross_entropy_with_logits(there, exists)
    # Absolute errors: gripper and direction change abruptly, and squares would blur them.
    action_loss = ((actions - wanted.actions[rows]).abs() * usable[..., None]).sum() / (
        usable.sum() * actions.shape[-1]
    )
    look = torch.cat([exists, torch.ones_like(exists[:, :1])], 1)
    look_loss = -((heat_of(wanted.seen[rows], where.shape[-1]) * where).sum(-1) * look).sum() / look.sum()
    loss = hand_loss + bins_loss + 0.3 * there_loss + 3.0 * action_loss + 0.3 * look_loss
    parts = {"hand": hand_loss, "bins": bins_loss, "there": there_loss, "action": action_loss, "look": look_loss}
    return loss, {name: float(part.detach()) for name, part in parts.items()}


def heat_of(seen: Tensor, patches: int) -> Tensor:
    """[..., 2] places in the picture -> [..., patches] shares of the patches around them."""
    side = round(patches**0.5)
    centres = (torch.arange(side, device=seen.device) + 0.5) / side
    column, row = (-0.5 * ((seen[..., i, None] - centres) * side / 0.5) ** 2 for i in (0, 1))
    return torch.softmax((row[..., :, None] + column[..., None, :]).flatten(-2), -1)


class VisionStage(nn.Module):
    """What the first stage trains: the towers and the head that asks them.

    Args:
        backbone: pixels to patches [batch, patches, width].
        width: of the patches.
        pixels_of: uint8 [n, size, size, 3] pictures to what the backbone reads.
        shown: demonstrations.
        batch: frames a step.
    """

    def __init__(self, backbone: nn.Module, width: int, pixels_of: Pixels, shown: Demonstrations, batch: int) -> None:
        super().__init__()
        self.backbone, self.head = backbone, VisionHead(width)
        self._shown, self._batch, self._pixels_of = shown, batch, pixels_of
        self._wanted = VisionTargets.of(shown).to(next(backbone.parameters()).device)

    def loss(self, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        """Of a batch of frames."""
        rows = np.sort(rng.integers(0, len(self._shown), self._batch))
        device = self._wanted.hand.device
        patches = self.backbone(self._pixels_of(self._shown.images[rows]).to(device))
        return vision_loss(self.head, patches, self._wanted, torch.from_numpy(rows).to(device))


@torch.no_grad()
def patch_features(backbone: nn.Module, pixels_of: Pixels, images: NDArray[np.uint8], batch: int = 256) -> Tensor:
    """float16 [n, patches, width] of all frames: the towers stay as they are from here on."""
    device = next(backbone.parameters()).device
    rows = range(0, len(images), batch)
    return torch.cat([backbone(pixels_of(images[i : i + batch]).to(device)).half().cpu() for i in rows])
