"""OpenVLA as a policy: observations in, actions out."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vlasteer.checkpoints import TensorEntry, checkpoint_hash, tensor_index
from vlasteer.errors import ConfigError, ObservationError, SteeringError, UnknownNameError, VlasteerError
from vlasteer.passes import PassContext
from vlasteer.policies.openvla.actions import ActionBins, ActionStatistics, choose_key, key_not_chosen, read_statistics
from vlasteer.policies.openvla.anatomy import build_anatomy
from vlasteer.policies.openvla.config import OpenVLAConfig, PromptStyle
from vlasteer.policies.openvla.conventions import known_convention, parse_convention, unknown_convention
from vlasteer.policies.openvla.evaluation import image_path_for_world, key_for_world
from vlasteer.policies.openvla.images import ImageProcessor
from vlasteer.policies.openvla.libero_images import libero_image, rotate
from vlasteer.policies.openvla.model import OpenVLAModel, position_kinds
from vlasteer.policies.openvla.prompt import PromptTokenizer
from vlasteer.policies.weights import choose_device, choose_dtype
from vlasteer.types import ActionChunk, ActionSpec, Observation

Frame = NDArray[np.uint8]
IMAGE_PATHS: dict[str, Callable[[Frame], Frame]] = {
    "plain": lambda frame: frame,
    "libero": libero_image,
    "libero_raw": lambda frame: libero_image(rotate(frame)),
}
"""What happens to a frame before the processor: nothing, or LIBERO's evaluation path (upright frames, raw renders)."""


def features_depend_on(key: str) -> bool:
    """Whether a feature changes when this tensor does: value vectors, output embedding, final norm."""
    return key.endswith(".mlp.down_proj.weight") or key in (
        "language_model.lm_head.weight",
        "language_model.model.norm.weight",
    )


class OpenVLAPolicy:
    """A loaded OpenVLA checkpoint; fits `vlasteer.protocols.Policy`.

    Rows of a batch are answered together when their prompts have the same length, and nothing is padded. A row's ids
    and actions are those of `act`. Its logits agree to rounding only, since matrix products of another shape may add in
    another order: a row whose two best ids are that close may differ.

    Args:
        folder: the checkpoint.
        name: what people call it.
        device, dtype: where and as what it computes; see `vlasteer.registry.load_policy`.
        unnorm_key: data set whose statistics turn normalised actions into real ones; a suite name such as libero_10
            also finds libero_10_no_noops. Default: the only one. Where there are several and none was chosen,
            everything works but actions.
        image_path: "plain" (images are as the policy should see them), "libero" or "libero_raw" (`IMAGE_PATHS`).
        convention: what the actions mean, where the data set is not one of `conventions`.
        prompt_style: "pure" or "vicuna"; default as the checkpoint was trained.
        world: name of the world that it will act in; decides what `unnorm_key` and `image_path` leave open.

    Raises:
        CheckpointError: the checkpoint cannot be used; the message says why.
        UnknownNameError, ConfigError: an option that it does not have.
    """

    kind = "openvla"
    cameras: tuple[str, ...] = ("image",)
    state_size = 0

    def __init__(
        self,
        folder: Path,
        name: str,
        *,
        device: str | None = None,
        dtype: str | None = None,
        unnorm_key: str | None = None,
        image_path: str | None = None,
        convention: str | None = None,
        prompt_style: str | None = None,
        world: str | None = None,
    ) -> None:
        self.name = name
        self.config = config = OpenVLAConfig.read(folder)
        self._statistics = read_statistics(folder, config)
        if world is not None:
            unnorm_key = unnorm_key or key_for_world(self._statistics, world)
            image_path = image_path or image_path_for_world(world)
        self.unnorm_key = choose_key(self._statistics, unnorm_key)
        self._convention = convention
        if self.unnorm_key is not None:
            _ = self._spec  # a convention that does not fit is refused before the weights are read
        self._bins = ActionBins.of(config)
        self._image_path = _choose("image path", image_path or "plain", IMAGE_PATHS)
        self._processor = ImageProcessor.read(folder, config)
        style = _choose("prompt style", prompt_style or config.prompt_style, {s.value: s for s in PromptStyle})
        self.tokenizer = PromptTokenizer(folder, config, style)
        self._entries: Mapping[str, TensorEntry] = tensor_index(folder)
        where = choose_device(device)
        self.model = OpenVLAModel.from_entries(config, self._entries, device=where, dtype=choose_dtype(dtype, where))
        kinds = position_kinds(max(stats.size for stats in self._statistics.values()))
        self.context = PassContext(kinds, max_positions=config.language.max_position_embeddings).to(where)
        self.anatomy = build_anatomy(self.model, config, self.tokenizer, self.context)

    @property
    def checkpoint_hash(self) -> str:
        """Digest of what features depend on; computed when it is first asked for, seconds for 7B."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        return checkpoint_hash(dict(self._entries), features_depend_on)

    @property
    def unnorm_keys(self) -> tuple[str, ...]:
        """Data sets that the checkpoint has statistics of."""
        return tuple(self._statistics)

    @property
    def action_spec(self) -> ActionSpec:
        """Convention of the actions; its kind is `ActionKind.UNKNOWN` where neither table nor option states one.

        Raises:
            ConfigError: the checkpoint knows several data sets and none was chosen.
        """
        return self._spec

    @property
    def _stats(self) -> ActionStatistics:
        if self.unnorm_key is None:
            raise key_not_chosen(self._statistics)
        return self._statistics[self.unnorm_key]

    @cached_property
    def _spec(self) -> ActionSpec:
        size = self._stats.size
        if self._convention is not None:
            return parse_convention(self._convention, size)
        known = known_convention(self.unnorm_key or "")
        return known if known is not None and known.size == size else unknown_convention(size)

    # -- acting --------------------------------------------------------------------------------------------------------
    def act(self, observation: Observation, noise: NDArray[np.float32] | None = None) -> ActionChunk:
        """Answer one observation.

        Raises:
            ObservationError: no image from the policy's camera, or an unusable instruction.
            ConfigError: noise was given, or no data set was chosen.
        """
        return self.act_batch([observation], noise)[0]

    def act_batch(
        self,
        observations: Sequence[Observation],
        noise: NDArray[np.float32] | None = None,
        rows: Sequence[int] | None = None,
    ) -> list[ActionChunk]:
        """Answer several; see `vlasteer.protocols.Policy.act_batch`. Raises as `act` does."""
        if noise is not None:
            raise ConfigError("noise was given to an OpenVLA policy", expected="none: it decodes greedily")
        started = time.perf_counter()
        stats, spec = self._stats, self._spec
        rows = range(len(observations)) if rows is None else rows
        if len(rows) != len(observations):
            raise ConfigError(
                f"{len(rows)} steering rows for {len(observations)} observations", expected="one for each"
            )
        prompts = [self.tokenizer.encode(seen.instruction, stats.size) for seen in observations]
        pixels = [self.pixels(seen) for seen in observations]
        by_length: dict[int, list[int]] = defaultdict(list)
        for i, prompt in enumerate(prompts):
            by_length[len(prompt)].append(i)
        self.context.begin_step()
        ids = np.zeros((len(observations), stats.size), np.int64)
        for group in by_length.values():
            decoded = self.model.generate(
                torch.stack([pixels[i] for i in group]),
                torch.tensor([prompts[i] for i in group]),
                steps=stats.size,
                context=self.context,
                rows=[rows[i] for i in group],
            )
            if not torch.isfinite(decoded.top).all():
                raise VlasteerError(
                    "the policy's logits are not finite",
                    expected="numbers",
                    fix="Use smaller coefficients, or another dtype than float16; unsteered, the weights are damaged",
                )
            ids[group] = decoded.ids.cpu().numpy()
        normalized = self._bins.decode(ids)
        actions = stats.unnormalise(normalized)
        seconds = time.perf_counter() - started
        return [
            ActionChunk(
                actions=actions[i : i + 1],
                spec=spec,
                normalized=normalized[i : i + 1],
                token_ids=ids[i],
                non_action_tokens=self._bins.foreign(ids[i]),
                observed_at_s=seen.time_s,
                inference_s=seconds,
                applied=self.context.applied(rows[i]),
            )
            for i, seen in enumerate(observations)
        ]

    def example(self, seed: int = 0) -> Observation:
        """A valid observation with random pixels."""
        image = np.random.default_rng(seed).integers(0, 256, (256, 256, 3), dtype=np.uint8)
        return Observation({"image": image}, "pick up the red block")

    def pixels(self, observation: Observation) -> torch.Tensor:
        """float32 [3 * towers, size, size] on the CPU: what the towers read of an observation.

        Raises:
            ObservationError: no image from the policy's camera.
        """
        camera = self.cameras[0]
        if camera not in observation.images:
            raise ObservationError(
                f"no image from camera '{camera}' (the observation has: {', '.join(observation.images) or 'none'})",
                expected=f"uint8 [height, width, 3] as '{camera}'",
            )
        return self._processor(self._image_path(observation.images[camera]))

    # -- compilation ---------------------------------------------------------------------------------------------------
    def compile(self, **options: Any) -> None:
        """Compile the decoding passes; `options` go to `torch.compile`. Only inside `with steer(...)`, which ends it.

        A graph that was made before mounting would ignore the steering. One graph is made for every batch size, at its
        first decoding pass; a new coefficient, row or instruction makes none. Mount an empty `Steering()` to compile
        the unsteered policy.

        Raises:
            SteeringError: nothing is mounted.
        """
        if self.context.port_values is None:
            raise SteeringError(
                "the policy was asked to compile outside of a steer(...) context",
                fix="Compile inside it: with steer(policy, steering): policy.compile()",
            )
        self.model.compile_decoding(**options)


def _choose(what: str, name: str, known: Mapping[str, Any]) -> Any:
    if name not in known:
        raise UnknownNameError.among(what, name, known)
    return known[name]
