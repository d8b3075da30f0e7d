"""`vlasteer act`: one observation from files, one answer; the command by which others check parity."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vlasteer.errors import ConfigError, ObservationError, OutputError
from vlasteer.launch.options import PolicyOptions, SteeringOptions

if TYPE_CHECKING:
    from vlasteer.anatomy import Activations
    from vlasteer.protocols import Policy
    from vlasteer.steering import Steering
    from vlasteer.types import ActionChunk, Observation


@dataclass(frozen=True, kw_only=True)
class Act(PolicyOptions, SteeringOptions):
    """Answer one observation read from files, steered or not.

    Images are taken as the policy should see them; with --libero-image they are raw LIBERO camera frames, and go
    through the evaluation path (rotation, JPEG, Lanczos to 224, centre crop) first.

    Example:
        vlasteer act --policy openvla/openvla-7b --image image=frame.png --instruction "pick up the bowl"
        --unnorm-key bridge_orig --clamp 3:512,7:1101 --coefficient 10 --json
    """

    image: tuple[str, ...]
    """Camera and file, e.g. image=frame.png (PNG, JPEG or .npy uint8 [height, width, 3]); repeatable."""
    instruction: str
    """The task in words."""
    state: str | None = None
    """Proprioception: numbers separated by commas, or a .npy file."""
    libero_image: bool = False
    """The images are raw LIBERO camera frames."""
    clamp: str | None = None
    """Raw neurons to steer: layer:neuron or stream:layer:neuron or flat ids, separated by commas."""
    coefficient: float | None = None
    """Coefficient of --clamp."""
    noise: str | None = None
    """.npy float32 file with the sampler's initial noise (policies that sample)."""
    activations: str | None = None
    """Write the FFN activations (inputs of down_proj) of every site, pass and position to this .npz file."""
    json: bool = False
    """Print one JSON object on standard output instead of a table."""

    def run(self) -> int:
        """Load, act, print."""
        started = time.perf_counter()
        # The evaluation path belongs to the policy kind; others refuse the option by name.
        policy = self.load_policy(image_path="libero_raw" if self.libero_image else None)
        loaded = time.perf_counter()
        steering = self._steering(policy)
        observation = self._observation(policy)
        chunk = self._act(policy, steering, observation)
        timings = {"load_s": loaded - started, "inference_s": chunk.inference_s}
        print(json.dumps(_document(chunk, timings)) if self.json else _table(chunk, timings))
        if self.activations:
            print(f"Activations are in {self.activations}", file=sys.stderr)
        return 0

    def _steering(self, policy: Policy) -> Steering:
        from vlasteer.steering import Feature, Steering
        from vlasteer.steering.packs import parse_neuron

        if self.clamp is None:
            if self.coefficient is not None:
                raise ConfigError(
                    "--coefficient belongs to --clamp",
                    fix="Add --clamp layer:neuron, or use --steer feature=coefficient",
                )
            return self.parse_steering(policy)[0]
        if self.steer:
            raise ConfigError(
                "--clamp and --steer exclude each other", fix="Put the neurons into a feature pack to steer both"
            )
        if self.coefficient is None and self.operator != "ablate":
            raise ConfigError("--clamp has no coefficient", fix="Add --coefficient, e.g. --coefficient 10")
        neurons = [parse_neuron(part.strip(), policy.anatomy) for part in self.clamp.split(",")]
        coefficient = 1.0 if self.coefficient is None else self.coefficient
        return Steering.of(Feature.of("clamp", neurons), coefficient, operator=self.operator, scope=self.scope)

    def _observation(self, policy: Policy) -> Observation:
        from vlasteer.types import Observation

        images: dict[str, NDArray[np.uint8]] = {}
        for item in self.image:
            name, equals, path = item.partition("=")
            if not equals:  # a bare path is the main camera
                name, path = policy.cameras[0], item
            images[name] = read_image(Path(path))
        return Observation(images, self.instruction, None if self.state is None else _read_state(self.state))

    def _act(self, policy: Policy, steering: Steering, observation: Observation) -> ActionChunk:
        from contextlib import ExitStack

        from vlasteer.anatomy import record_activations
        from vlasteer.steering import steer

        noise = None if self.noise is None else _read_npy(Path(self.noise)).astype(np.float32)
        with ExitStack() as stack:
            if len(steering):
                stack.enter_context(steer(policy, steering, negative_control=self.negative_control))
            seen = stack.enter_context(record_activations(policy.anatomy)) if self.activations else None
            chunk = policy.act(observation, noise)
        if seen is not None:
            _write_activations(Path(str(self.activations)), seen)
        return chunk


def read_image(path: Path) -> NDArray[np.uint8]:
    """An image file as uint8 [height, width, 3] RGB.

    Raises:
        ObservationError: missing, unreadable or of another shape.
    """
    if path.suffix == ".npy":
        array = _read_npy(path)
        if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
            raise ObservationError(
                f"{path} holds {array.dtype} {list(array.shape)}", expected="uint8 [height, width, 3]"
            )
        return array
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except FileNotFoundError:
        raise ObservationError(f"there is no image at {path}") from None
    except (UnidentifiedImageError, OSError) as error:
        raise ObservationError(f"{path} cannot be read as an image ({error})") from error


def _read_npy(path: Path) -> NDArray[Any]:
    try:
        return np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise ObservationError(f"there is no file at {path}") from None
    except (OSError, ValueError) as error:
        raise ObservationError(f"{path} cannot be read as a .npy array ({error})") from error


def _read_state(text: str) -> NDArray[np.float64]:
    if text.endswith(".npy"):
        return _read_npy(Path(text)).astype(np.float64).reshape(-1)
    try:
        return np.array([float(part) for part in text.split(",")])
    except ValueError:
        raise ObservationError(f"state '{text}'", expected="numbers separated by commas, or a .npy file") from None


def _write_activations(path: Path, seen: Activations) -> None:
    arrays: dict[str, Any] = {
        f"{key.stream}.{key.layer}.pass{i}": values.squeeze(0).float().numpy()
        for key, passes in seen.passes.items()
        for i, values in enumerate(passes)
    }
    try:
        np.savez(path, allow_pickle=False, **arrays)
    except OSError as error:
        raise OutputError(f"the activations cannot be written to {path} ({error.strerror})") from error


def _document(chunk: ActionChunk, timings: dict[str, float]) -> dict[str, Any]:
    return {
        "actions": chunk.actions.tolist(),
        "actions_normalized": chunk.normalized.tolist(),
        "token_ids": chunk.token_ids.tolist(),
        "non_action_tokens": chunk.non_action_tokens,
        "steering": dict(chunk.applied),
        "timings": timings,
    }


def _table(chunk: ActionChunk, timings: dict[str, float]) -> str:
    names = chunk.spec.names
    lines = ["  ".join(f"{name:>9}" for name in names)]
    lines += ["  ".join(f"{value:9.4f}" for value in action) for action in chunk.actions]
    if len(chunk.token_ids):
        foreign = (
            f"{chunk.non_action_tokens} of them not action tokens" if chunk.non_action_tokens else "all are actions"
        )
        lines.append(f"token ids: {' '.join(str(i) for i in chunk.token_ids)} ({foreign})")
    lines.append(f"loaded in {timings['load_s']:.2f} s, answered in {timings['inference_s'] * 1e3:.0f} ms")
    return "\n".join(lines)
