"""Observations as arrays for the model, and what the model says as answers to them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlasteer.errors import ObservationError
from vlasteer.policies.pi_family.checkpoint import PiCheckpoint
from vlasteer.policies.pi_family.images import pixel_values
from vlasteer.types import Observation


class ObservationReader:
    """Reads observations as a checkpoint was trained to see them."""

    def __init__(self, checkpoint: PiCheckpoint) -> None:
        self._checkpoint = checkpoint

    def pixels(self, observations: Sequence[Observation]) -> Tensor:
        """float32 [batch, cameras, 3, size, size] in [-1, 1]; empty cameras are not among them.

        Raises:
            ObservationError: an image is missing.
        """
        size = self._checkpoint.sizes.vision.image_size
        return torch.stack(
            [
                torch.stack(
                    [pixel_values(_image(seen, c), size, self._checkpoint.resize) for c in self._checkpoint.cameras]
                )
                for seen in observations
            ]
        )

    def states(self, observations: Sequence[Observation]) -> NDArray[np.float32]:
        """float32 [batch, state_size], normalised.

        Raises:
            ObservationError: a state is missing or has another length.
        """
        return self._checkpoint.state.normalize(
            np.stack([self._raw_state(seen) for seen in observations]).astype(np.float32)
        )

    def actions(self, normalized: NDArray[np.floating], observation: Observation) -> NDArray[np.float64]:
        """[chunk, action_size] as in training -> float64 [chunk, action_size] in the checkpoint's convention.

        Dimensions that were trained relative to the state get the state of `observation` added, the same one for the
        whole chunk (openpi's `AbsoluteActions`).
        """
        actions = self._checkpoint.action.unnormalize(normalized)
        relative = np.flatnonzero(self._checkpoint.offsets)
        if len(relative):
            actions[:, relative] += self._raw_state(observation)[relative]
        return actions

    def example(self, seed: int) -> Observation:
        """A valid observation with random pixels and a plausible state."""
        generator = np.random.default_rng(seed)
        images = {name: generator.integers(0, 256, (256, 256, 3), dtype=np.uint8) for name in self._checkpoint.cameras}
        state = self._checkpoint.state.unnormalize(generator.uniform(-1, 1, self._checkpoint.state_size))
        return Observation(images, "pick up the red block", state)

    def _raw_state(self, observation: Observation) -> NDArray[np.float64]:
        size = self._checkpoint.state_size
        state = observation.state
        if state is None or state.shape != (size,):
            raise ObservationError(
                f"the observation has {'no state' if state is None else f'a state of shape {list(state.shape)}'}",
                expected=f"{size} numbers",
                fix="Give it with --state" if state is None else "",
            )
        return np.asarray(state, np.float64)


def _image(observation: Observation, camera: str) -> NDArray[np.uint8]:
    if camera not in observation.images:
        raise ObservationError(
            f"the observation has no image from camera '{camera}' (it has: {', '.join(observation.images) or 'none'})",
            expected=f"uint8 [height, width, 3] as '{camera}'",
        )
    return observation.images[camera]
