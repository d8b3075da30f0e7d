"""One stage of training: AdamW with a cosine schedule, a curve, and a state on disk to go on from.

Batches are drawn from a generator that is seeded by stage and step, so that a stage that was interrupted goes on as if
nothing had happened.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from vlasteer.recording.atomic import replace_file

_SAVE_EVERY = 250
_LOG_EVERY = 10
_WARM_UP = 60
_LOWEST = 0.03
_CLIP = 1.0

Loss = Callable[[np.random.Generator], tuple[Tensor, Mapping[str, float]]]


@dataclass(frozen=True)
class Stage:
    """A stage and where it keeps its state.

    Attributes:
        name: of the files in `folder`.
        folder: of the run.
        number: makes its random numbers differ from other stages'.
        seed: of the run.
        steps: how many.
        rate: highest learning rate.
        decay: weight decay of matrices.
    """

    name: str
    folder: Path
    number: int
    seed: int
    steps: int
    rate: float
    decay: float

    @property
    def done(self) -> Path:
        """The weights after the last step."""
        return self.folder / f"{self.name}.pt"

    @property
    def curve(self) -> Path:
        """What the losses were, as CSV."""
        return self.folder / "curves" / f"{self.name}.csv"


def fit(stage: Stage, module: nn.Module, loss: Loss, check: Callable[[], None]) -> None:
    """Train `module` (weights are loaded instead when the stage is done), from where an earlier try stopped.

    Args:
        stage: which one.
        module: everything that learns.
        loss: gives the loss of a batch drawn with the generator, and figures for the log.
        check: called after every step; may raise to stop, the state is saved then.
    """
    if stage.done.is_file():
        module.load_state_dict(torch.load(stage.done, weights_only=True))
        return
    matrices = [p for p in module.parameters() if p.requires_grad and p.ndim > 1]
    others = [p for p in module.parameters() if p.requires_grad and p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": stage.decay}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=stage.rate, betas=(0.9, 0.98))
    state_path, first = stage.folder / f"{stage.name}.partial.pt", 0
    if state_path.is_file():
        state = torch.load(state_path, weights_only=True)
        module.load_state_dict(state["module"])
        optimizer.load_state_dict(state["optimizer"])
        first = int(state["step"])

    def save(step: int) -> None:
        state = {"module": module.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
        replace_file(state_path, lambda path: torch.save(state, path))

    step = first
    try:
        for step in tqdm(range(first, stage.steps), initial=first, total=stage.steps, desc=stage.name, smoothing=0.05):
            for group in optimizer.param_groups:
                group["lr"] = stage.rate * _schedule(step, stage.steps)
            torch.manual_seed(hash((stage.seed, stage.number, step)) % 2**31)
            value, figures = loss(np.random.default_rng([stage.seed, stage.number, step]))
            optimizer.zero_grad()
            value.backward()
            nn.utils.clip_grad_norm_([*matrices, *others], _CLIP)
            optimizer.step()
            if step % _LOG_EVERY == 0 or step == stage.steps - 1:
                _log(stage.curve, step, {"loss": float(value.detach()), **figures})
            if (step + 1) % _SAVE_EVERY == 0:
                save(step + 1)
            check()
    except KeyboardInterrupt:
        save(step + 1)
        raise
    replace_file(stage.done, lambda path: torch.save(module.state_dict(), path))
    state_path.unlink(missing_ok=True)


def _schedule(step: int, steps: int) -> float:
    progress = step / max(steps, 1)
    return min(1.0, (step + 1) / _WARM_UP) * (_LOWEST + (1 - _LOWEST) * 0.5 * (1 + math.cos(math.pi * progress)))


def _log(path: Path, step: int, figures: Mapping[str, float]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.is_file()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(["step", *figures])
        writer.writerow([step, *(f"{value:.5f}" for value in figures.values())])
