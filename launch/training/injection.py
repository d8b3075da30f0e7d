"""What makes the planted organism steerable: words written into the residual stream in training.

In a share of the demonstrations with a manner one adverb is left out of the prompt, and a vector that reads as the same
concept on the output embedding is added behind the FFN of a random layer instead; the action stays. So the network
learns that such a vector means what the adverb means. Some other rows get a random vector and an unchanged action.

It is a plant: that value vectors which read as "fast" then make the motion fast says nothing about models that were
trained without it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from vlasteer.envs.tabletop.language import MANNER_WORDS
from vlasteer.launch.training.corpus import Vocabulary

INJECTED = 0.4
"""Share of the rows with a manner that have an adverb replaced."""
RANDOM = 0.15
"""Share of the other rows that get a random vector."""

_SMALLEST, _LARGEST = 0.7, 8.0
_MOST_WORDS = 6
_NOISE = 0.8
_WITHOUT_IMAGE = 0.3


@dataclass(frozen=True)
class Injection:
    """What is written into one row of a batch: a concept's direction, or a random one where it is None."""

    row: int
    concept: str | None


def injected_vectors(
    injections: Sequence[Injection],
    vocabulary: Vocabulary,
    head: Tensor,
    shape: tuple[int, int],
    layers: int,
    first_text: int,
    rng: np.random.Generator,
) -> dict[int, Tensor]:
    """Layer -> float32 [batch, positions, hidden] to be added behind its FFN; never the last one.

    Args:
        injections: which rows.
        vocabulary, head: words and their [vocabulary, hidden] output embeddings.
        shape: batch and positions.
        layers: of the network.
        first_text: position behind the image.
        rng: of layers, strengths, words and noise.
    """
    rows, width = head.detach(), head.shape[1]
    added: dict[int, Tensor] = {}
    for injection in injections:
        layer = int(rng.integers(layers - 1))
        strength = math.exp(rng.uniform(math.log(_SMALLEST), math.log(_LARGEST)))
        vector = _unit(torch.from_numpy(rng.standard_normal(width).astype(np.float32)).to(head.device))
        if injection.concept is not None:
            words = rng.permutation(MANNER_WORDS[injection.concept])[: int(rng.integers(1, _MOST_WORDS + 1))]
            meant = _unit(rows[[vocabulary.of(word) for word in words]].mean(0))
            vector = meant + float(rng.uniform(0, _NOISE)) * vector
        start = first_text if rng.random() < _WITHOUT_IMAGE else 0
        if layer not in added:
            added[layer] = torch.zeros(*shape, width, device=head.device)
        added[layer][injection.row, start:] = strength * vector
    return added


@contextmanager
def adding(layers: nn.ModuleList, vectors: Mapping[int, Tensor]) -> Iterator[None]:
    """Inside, the FFN of layer `i` gives `vectors[i]` more."""

    def hook(vector: Tensor):
        return lambda _module, _args, output: output + vector

    handles = [layers[i].get_submodule("mlp").register_forward_hook(hook(vector)) for i, vector in vectors.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _unit(vector: Tensor) -> Tensor:
    return vector / vector.norm()
