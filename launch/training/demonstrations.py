"""What the organisms learn to act from: pictures of the tabletop, and what its expert would do there, for every goal.

A frame is labelled for all bins and all manners at once, so that in training it can be paired with any instruction: the
picture alone never gives away what is wanted, and words are needed. The hand is led by the expert with noise, and at
random moments towards another bin or in another manner: states beside the usual paths are there as well (in the spirit
of Laskey et al. 2017, "DART"). Pairs of cube and bin that are held out, held-out places and shades are never shown.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from vlasteer.envs.tabletop.expert import expert_action
from vlasteer.envs.tabletop.layout import draw_layout
from vlasteer.envs.tabletop.manner import MANNERS
from vlasteer.envs.tabletop.simulation import Simulation
from vlasteer.envs.tabletop.splits import TRAIN
from vlasteer.envs.tabletop.tasks import BIN_COLOURS, COLOURS, Task, TaskKind, succeeded, tasks_of
from vlasteer.policies.pi_family.checkpoint import Resize
from vlasteer.policies.pi_family.images import pixel_values

Shrinking = Literal["bicubic", "bilinear"]
CAMERA = "image"
RENDERED = 224
"""Edge of the pictures that the world gives; they are then resized as the policy's own processor does it."""
SHARD_EPISODES = 40
FRAMES_PER_EPISODE = 27
"""About; what an episode yields on average."""

_LONGEST = 70
_CHANGE = 0.06  # chance per step that the hand is led to another bin, and that it is led in another manner
_NOISE = 0.3  # largest standard deviation of the executed translation, as a share of the step


@dataclass(frozen=True)
class Demonstrations:
    """Frames and labels; all arrays have one row per frame.

    Attributes:
        images: uint8 [n, size, size, 3].
        tcp: float32 [n, 3] pinch point, m.
        cubes: int8 [n] colour of the cube in the hand, an index of `COLOURS`.
        bins: int8 [n, 3] colours of the bins, indices of `BIN_COLOURS`.
        places: float32 [n, 3, 2] their centres, m.
        actions: float32 [n, 3, 9, 7] the expert's action towards each bin in each of `MANNERS`, the world's convention.
        usable: bool [n, 3] whether this cube and this bin are a training pair, and the label makes sense there.
    """

    images: NDArray[np.uint8]
    tcp: NDArray[np.float32]
    cubes: NDArray[np.int8]
    bins: NDArray[np.int8]
    places: NDArray[np.float32]
    actions: NDArray[np.float32]
    usable: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.tcp)

    @classmethod
    def load(cls, folder: Path, episodes: int) -> Demonstrations:
        """The shards of the first so many episodes, in order."""
        shards = [np.load(_shard(folder, first), allow_pickle=False) for first in range(0, episodes, SHARD_EPISODES)]
        return cls(*(np.concatenate([shard[name] for shard in shards]) for name in cls.__dataclass_fields__))


def collect(
    folder: Path,
    episodes: int,
    *,
    size: int,
    shrinking: Shrinking,
    seed: int,
    workers: int,
    progress: Callable[[int], object],
) -> None:
    """Write the shards that are not there yet.

    Args:
        folder: of the shards; made if absent.
        episodes: how many, rounded up to whole shards.
        size: edge of the pictures.
        shrinking: how they come to that size.
        seed: of everything; episode i of a seed is always the same.
        workers: processes.
        progress: told how many further episodes there are.
    """
    folder.mkdir(parents=True, exist_ok=True)
    jobs = []
    for first in range(0, episodes, SHARD_EPISODES):
        path = _shard(folder, first)
        if path.is_file():
            progress(SHARD_EPISODES)
        else:
            jobs.append((path, range(first, first + SHARD_EPISODES), size, shrinking, seed))
    if not jobs:
        return
    # OpenGL contexts do not survive a fork.
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for done in as_completed([pool.submit(_write_shard, *job) for job in jobs]):
            done.result()
            progress(SHARD_EPISODES)


def _shard(folder: Path, first: int) -> Path:
    return folder / f"episodes-{first:06d}.npz"


def _write_shard(path: Path, episodes: range, size: int, shrinking: Shrinking, seed: int) -> None:
    simulation = Simulation(RENDERED, (CAMERA,))
    try:
        rows = [
            (shrink(picture, size, shrinking), *rest)
            for episode in episodes
            for picture, *rest in _episode(simulation, episode, seed)
        ]
    finally:
        simulation.close()
    columns = zip(*rows, strict=True)
    arrays: dict[str, Any] = dict(zip(Demonstrations.__dataclass_fields__, map(np.stack, columns), strict=True))
    draft = path.with_suffix(".tmp")
    with draft.open("wb") as file:
        np.savez(file, **arrays)
    draft.replace(path)


def _episode(simulation: Simulation, episode: int, seed: int) -> Iterator[tuple[NDArray[Any], ...]]:
    rng = np.random.default_rng([seed, episode])
    tasks = tasks_of(TaskKind.TRANSPORT, TRAIN)
    task = tasks[int(rng.integers(len(tasks)))]
    manner = MANNERS[int(rng.integers(len(MANNERS)))]
    layout = draw_layout(task, TRAIN, episode, seed)
    simulation.reset(layout)
    own = layout.bin_colours.index(task.goal)
    allowed = np.array([Task(TaskKind.TRANSPORT, task.colour, colour) in tasks for colour in layout.bin_colours])
    cube = np.array(COLOURS.index(task.colour), np.int8)
    bins = np.array([BIN_COLOURS.index(colour) for colour in layout.bin_colours], np.int8)
    towards, noise = own, rng.uniform(0.0, _NOISE)
    for _ in range(_LONGEST):
        now = simulation.snapshot()
        goals = [replace(now, goal=layout.bins[i]) for i in range(3)]
        held = bool(np.linalg.norm(now.objects[0] - now.tcp) < 0.02)
        if any(succeeded(task.kind, goal) for goal in goals):
            return
        actions = np.array([[expert_action(task.kind, goal, m) for m in MANNERS] for goal in goals], np.float32)
        yield (
            simulation.pictures()[CAMERA],
            now.tcp.astype(np.float32),
            cube,
            bins,
            layout.bins.astype(np.float32),
            actions,
            allowed & (held | (np.arange(3) == towards)),
        )
        if held and rng.random() < _CHANGE:
            towards = int(rng.integers(3))
        if rng.random() < _CHANGE:
            manner = MANNERS[int(rng.integers(len(MANNERS)))]
        executed = actions[towards, MANNERS.index(manner)].astype(np.float64)
        executed[:3] += rng.normal(0.0, noise * manner.speed.share, 3)
        simulation.step(executed)


def shrink(picture: NDArray[np.uint8], size: int, shrinking: Shrinking) -> NDArray[np.uint8]:
    """As the checkpoint's image processor resizes: bicubic and antialiased (OpenVLA), or bilinear and not (lerobot's
    Pi0)."""
    if shrinking == "bicubic":
        return np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.BICUBIC))
    pixels = pixel_values(picture, size, Resize.PLAIN)
    return ((pixels + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()
