"""An organism from nothing: demonstrations, vision, reading, acting, checkpoint. Every stage is resumed where it was.

The folder of a run holds what both kinds share (demonstrations/, vision.pt, reading.pt, curves/) and a folder for each
kind (acting.pt, curves/, checkpoint/): made in one folder, the natural organism is the planted one's twin.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from vlasteer.errors import ConfigError, OutputError
from vlasteer.launch.training import network, pi0_network
from vlasteer.launch.training.acting import ActionBatches, Learner
from vlasteer.launch.training.corpus import Vocabulary
from vlasteer.launch.training.curves import plot_curves
from vlasteer.launch.training.demonstrations import SHARD_EPISODES, Demonstrations, collect
from vlasteer.launch.training.fitting import Stage, fit
from vlasteer.launch.training.pi0_acting import Pi0Learner
from vlasteer.launch.training.recipe import Recipe
from vlasteer.launch.training.vision import VisionStage, VisionTargets, patch_features
from vlasteer.policies.openvla.prompt import WORD_MARK
from vlasteer.recording.atomic import replace_json

FACTS = "training.json"
"""In the checkpoint: recipe, durations, versions."""

_VISION_RATE, _RATE = 2e-3, 2e-3
_VISION_DECAY, _DECAY = 0.02, 0.1


def train(folder: Path, recipe: Recipe, *, device: torch.device, workers: int, check: Callable[[], None]) -> Path:
    """Make an organism; what is there already is not made again.

    Args:
        folder: of the run; made if absent. A full one takes about 1.3 GB, almost all of it demonstrations.
        recipe: of the organism.
        device: where to train. The same recipe gives the same weights on the same machine, close ones on others.
        workers: processes that render demonstrations.
        check: called after every step; may raise KeyboardInterrupt, the state is saved then.

    Returns:
        The checkpoint's folder.

    Raises:
        OutputError: the folder holds a run with another recipe.
    """
    own = folder / recipe.kind
    checkpoint = own / "checkpoint"
    _claim(folder, recipe)
    seconds, own_seconds = _Seconds(folder / "seconds.json"), _Seconds(own / "seconds.json")
    with seconds.of("demonstrations"):
        shown = _demonstrations(folder / "demonstrations", recipe, workers)
    student = (Pi0Student if recipe.kind == "pi0" else OpenVLAStudent)(checkpoint, recipe, shown, device)
    vision = VisionStage(student.backbone, sum(recipe.towers), student.pixels_of, shown, recipe.vision_batch).to(device)
    stage = Stage("vision", folder, 1, recipe.seed, recipe.vision_steps, _VISION_RATE, _VISION_DECAY)
    with seconds.of("vision"):
        fit(stage, vision, vision.loss, check)
    student.backbone.eval().requires_grad_(False)
    with seconds.of("features"):
        patches = patch_features(student.backbone, student.pixels_of, shown.images)
    learner = student.learner(replace(shown, images=shown.images[:0]), patches, VisionTargets.of(shown)).to(device)
    stage = Stage("reading", folder, 2, recipe.seed, recipe.reading_steps, _RATE, _DECAY)
    with seconds.of("reading"):
        fit(stage, learner, learner.reading_loss, check)
    stage = Stage("acting", own, 3, recipe.seed, recipe.action_steps, _RATE, _DECAY)
    with own_seconds.of("acting"):
        fit(stage, learner, learner.acting_loss, check)
    student.save()
    facts = {
        "recipe": recipe.document(),
        "seconds": seconds.known() | own_seconds.known(),
        "device": str(device),
        "frames": len(shown),
    }
    replace_json(checkpoint / FACTS, facts | {"torch": torch.__version__})
    plot_curves([folder / "curves", own / "curves"], own / "curves.png", recipe)
    return checkpoint


class OpenVLAStudent:
    """What is trained where it is an OpenVLA. Its folder holds all but the weights from the beginning."""

    pixels_of = staticmethod(network.pixels_of)

    def __init__(self, folder: Path, recipe: Recipe, shown: Demonstrations, device: torch.device) -> None:
        self._folder, self._recipe, self._vocabulary = folder, recipe, Vocabulary.make()
        network.write_documents(folder, recipe, self._vocabulary)
        self._model = network.build(folder, recipe.seed).to(device)
        self.backbone = self._model.vision_backbone

    def learner(self, shown: Demonstrations, patches: Tensor, wanted: VisionTargets) -> Learner:
        """Of the second and the third stage."""
        marker = self._vocabulary.ids[WORD_MARK]
        batches = ActionBatches(shown, self._vocabulary, self._recipe, marker)
        return Learner(self._model, batches, patches, wanted, self._recipe)

    def save(self) -> None:
        """Write the weights."""
        network.save_weights(self._model, self._folder)


class Pi0Student:
    """What is trained where it is a Pi0."""

    pixels_of = staticmethod(pi0_network.pixels_of)

    def __init__(self, folder: Path, recipe: Recipe, shown: Demonstrations, device: torch.device) -> None:
        if device.type != "cpu":
            raise ConfigError(f"--device {device}", expected="cpu for --recipe pi0, which is too small for a GPU")
        self._folder, self._recipe, self._vocabulary = folder, recipe, Vocabulary.paligemma()
        pi0_network.write_documents(folder, recipe, self._vocabulary, shown)
        self._network = pi0_network.build(folder, recipe.seed)
        self.backbone = pi0_network.SiglipPatches(self._network.native.model.vlm.vision_tower)

    def learner(self, shown: Demonstrations, patches: Tensor, wanted: VisionTargets) -> Pi0Learner:
        """Of the second and the third stage."""
        return Pi0Learner(self._network, self._vocabulary, shown, patches, wanted, self._recipe)

    def save(self) -> None:
        """Write the weights."""
        pi0_network.save_weights(self._network, self._folder)


def _demonstrations(folder: Path, recipe: Recipe, workers: int) -> Demonstrations:
    total = -(-recipe.episodes // SHARD_EPISODES) * SHARD_EPISODES
    with tqdm(total=total, desc="demonstrations", unit="episode") as bar:
        collect(
            folder,
            recipe.episodes,
            size=recipe.image_size,
            shrinking=recipe.shrinking,
            seed=recipe.seed,
            workers=workers,
            progress=bar.update,
        )
    return Demonstrations.load(folder, recipe.episodes)


def _claim(folder: Path, recipe: Recipe) -> None:
    """Write the shared part of the recipe, or compare with what is there."""
    shared = {key: value for key, value in recipe.document().items() if key not in ("kind", "action_steps")}
    shared["pictures"] = recipe.shrinking
    path = folder / "recipe.json"
    if path.is_file():
        there = json.loads(path.read_text(encoding="utf-8"))
        differing = sorted(key for key in shared if there.get(key) != shared[key])
        if differing:
            raise OutputError(
                f"{folder} holds an organism with another recipe ({', '.join(differing)})",
                fix="Choose another folder, or the same options to go on with it",
            )
    elif folder.is_dir() and any(folder.iterdir()):
        raise OutputError(f"{folder} holds something else", expected="a new or empty folder, or a run to resume")
    else:
        replace_json(path, shared)


class _Seconds:
    """How long every stage took, added up over resumptions, in a JSON file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def known(self) -> dict[str, float]:
        """Stage -> seconds so far."""
        return json.loads(self._path.read_text(encoding="utf-8")) if self._path.is_file() else {}

    @contextmanager
    def of(self, stage: str) -> Iterator[None]:
        """Count what happens inside."""
        started = time.monotonic()
        try:
            yield
        finally:
            known = self.known()
            known[stage] = round(known.get(stage, 0.0) + time.monotonic() - started, 1)
            replace_json(self._path, known)


def default_workers() -> int:
    """Processes that this machine has cores for."""
    return max(1, len(os.sched_getaffinity(0)))
