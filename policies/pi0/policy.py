"""Pi0 as a policy: observations in, chunks of actions out."""

from __future__ import annotations

import struct
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from vlasteer.anatomy import Anatomy
from vlasteer.checkpoints import checkpoint_hash
from vlasteer.errors import ConfigError, SteeringError, VlasteerError
from vlasteer.policies.pi0.network import Pi0Inputs, Pi0Network
from vlasteer.policies.pi0.settings import read_settings
from vlasteer.policies.pi_family import backbone
from vlasteer.policies.pi_family.observations import ObservationReader
from vlasteer.policies.pi_family.tokenizer import PaliGemmaTokenizer, find_files
from vlasteer.policies.weights import choose_device, choose_dtype
from vlasteer.types import ActionChunk, ActionSpec, Observation


class Pi0Policy:
    """A loaded Pi0 checkpoint; fits `vlasteer.protocols.Policy`.

    Row i of a batch is what `act` gives, to rounding: matrix products of another shape may add in another order. In
    float32 the difference is of the order of 1e-5.

    Without given noise, that of an observation is drawn from a generator seeded with `noise_seed` and the observation's
    `time_s`: it varies from call to call, two runs agree, and steered and unsteered arms see the same noise.

    Args:
        folder: the checkpoint, as lerobot or openpi's converter writes it.
        name: what people call it.
        device, dtype: where and as what it computes; see `vlasteer.registry.load_policy`.
        convention: what the actions mean ("libero", "ur5", "droid"), where the checkpoint does not tell.
        tokenizer: folder with PaliGemma's tokenizer.json, or a hub name; default: the checkpoint's, then the hub's.
        noise_seed: of the default noise.

    Raises:
        CheckpointError: the checkpoint cannot be used; the message says why.
        UnknownNameError, ConfigError: an option that it does not have.
    """

    kind = "pi0"

    def __init__(
        self,
        folder: Path,
        name: str,
        *,
        device: str | None = None,
        dtype: str | None = None,
        convention: str | None = None,
        tokenizer: str | None = None,
        noise_seed: int = 0,
    ) -> None:
        self.name = name
        self.settings = settings = read_settings(folder, convention)
        checkpoint = settings.checkpoint
        self.cameras: tuple[str, ...] = checkpoint.cameras
        self.state_size: int = checkpoint.state_size
        self.action_spec: ActionSpec = checkpoint.spec
        self._noise_seed = noise_seed
        self._reader = ObservationReader(checkpoint)
        files = find_files(
            tokenizer, beside=folder, hub_name=checkpoint.tokenizer, names=("tokenizer.json",), option="--tokenizer"
        )
        self.tokenizer = PaliGemmaTokenizer(files / "tokenizer.json", checkpoint.sizes.vocabulary)
        where = choose_device(device)
        self.network = Pi0Network(settings, device=where, dtype=choose_dtype(dtype, where))
        self.anatomy: Anatomy = self._anatomy()

    @cached_property
    def checkpoint_hash(self) -> str:
        """Digest of what features depend on; the same whoever wrote the file."""
        return checkpoint_hash(self.network.entries, backbone.features_depend_on)

    # -- acting --------------------------------------------------------------------------------------------------------
    def act(self, observation: Observation, noise: NDArray[np.float32] | None = None) -> ActionChunk:
        """Answer one observation.

        Args:
            observation: what the policy sees.
            noise: float32 [chunk, action_dim] or [1, chunk, action_dim]; default: see the class.

        Raises:
            ObservationError: an image or the state is missing, or the instruction is too long.
            ConfigError: noise of another shape.
        """
        return self.act_batch([observation], noise)[0]

    def act_batch(
        self,
        observations: Sequence[Observation],
        noise: NDArray[np.float32] | None = None,
        rows: Sequence[int] | None = None,
    ) -> list[ActionChunk]:
        """Answer several; see `vlasteer.protocols.Policy.act_batch`.

        Args:
            observations: what the policy sees.
            noise: float32 [batch, chunk, action_dim], or [chunk, action_dim] for all.
            rows: steering row of every observation.

        Raises:
            As `act` does.
        """
        started = time.perf_counter()
        rows = range(len(observations)) if rows is None else rows
        if len(rows) != len(observations):
            raise ConfigError(
                f"{len(rows)} steering rows for {len(observations)} observations", expected="one for each"
            )
        for context in self.anatomy.contexts.values():
            context.begin_step()
        sampled = self.network.sample(self.inputs(observations), self._noise(observations, noise), rows).cpu().numpy()
        if not np.all(np.isfinite(sampled)):
            raise VlasteerError(
                "the policy's actions are not finite",
                expected="numbers",
                fix="Use smaller coefficients, or another dtype than float16; unsteered, the weights are damaged",
            )
        normalized = sampled[..., : self.action_spec.size]
        actions = [self._reader.actions(n, seen) for n, seen in zip(normalized, observations, strict=True)]
        seconds = time.perf_counter() - started
        return [
            ActionChunk(
                actions=actions[i],
                spec=self.action_spec,
                normalized=normalized[i].astype(np.float64),
                observed_at_s=seen.time_s,
                inference_s=seconds,
                applied=self.anatomy.contexts[backbone.VLM].applied(rows[i]),
            )
            for i, seen in enumerate(observations)
        ]

    def inputs(self, observations: Sequence[Observation]) -> Pi0Inputs:
        """The observations as the network reads them, on the CPU.

        Raises:
            ObservationError: see `act`.
        """
        length = self.settings.checkpoint.token_length
        encoded = [self.tokenizer.encode(self.settings.prompt(seen.instruction), length) for seen in observations]
        ids, valid = (torch.from_numpy(np.stack(part)) for part in zip(*encoded, strict=True))
        state = torch.from_numpy(self._reader.states(observations))
        padded = F.pad(state, (0, self.settings.flow.state_dim - state.shape[1]))
        return Pi0Inputs(self._reader.pixels(observations), ids, valid, padded)

    def _noise(self, observations: Sequence[Observation], given: NDArray[np.float32] | None) -> Tensor:
        flow = self.settings.flow
        shape = (len(observations), flow.chunk, flow.action_dim)
        if given is None:
            return torch.stack([self._default_noise(seen.time_s, shape[1:]) for seen in observations])
        if given.shape not in (shape, shape[1:]) or not np.all(np.isfinite(given)):
            raise ConfigError(
                f"noise of shape {list(given.shape)}",
                expected=f"finite numbers of shape {list(shape)} or {list(shape[1:])}",
            )
        return torch.from_numpy(np.array(given, np.float32)).expand(shape)

    def _default_noise(self, time_s: float, shape: tuple[int, ...]) -> Tensor:
        (moment,) = struct.unpack("<Q", struct.pack("<d", time_s))
        generator = np.random.default_rng([self._noise_seed, moment])
        return torch.from_numpy(generator.standard_normal(shape, dtype=np.float32))

    def example(self, seed: int = 0) -> Observation:
        """A valid observation with random pixels and a plausible state."""
        return self._reader.example(seed)

    def compile(self, **options: Any) -> None:
        """Compile the network; `options` go to `torch.compile`. Only inside `with steer(...)`, which ends it.

        A graph that was made before mounting would ignore the steering. Mount an empty `Steering()` to compile the
        unsteered policy.

        Raises:
            SteeringError: nothing is mounted.
        """
        if self.anatomy.contexts[backbone.VLM].port_values is None:
            raise SteeringError(
                "the policy was asked to compile outside of a steer(...) context",
                fix="Compile inside it: with steer(policy, steering): policy.compile()",
            )
        self.network.compile(**options)

    # -- anatomy -------------------------------------------------------------------------------------------------------
    def _anatomy(self) -> Anatomy:
        sizes, native = self.settings.checkpoint.sizes, self.network.native
        assert sizes.expert is not None
        # Only keys and values leave the VLM, and nothing behind its last FFN makes any.
        vlm = backbone.decoder_sites(
            backbone.VLM, "model.vlm.language_model", sizes.language, unread_layers=[sizes.language.depth - 1]
        )
        return Anatomy(
            model=native,
            sites=[*vlm, *backbone.decoder_sites(backbone.EXPERT, "model.dit", sizes.expert)],
            contexts=self.network.contexts,
            token_basis=backbone.token_basis(native.model.vlm, self.tokenizer),
            probe=self._probe,
        )

    def _probe(self) -> Tensor:
        """float32 [chunk, action_dim] actions after one Euler step from fixed noise, on a fixed short prefix."""
        flow = self.settings.flow
        pixels, ids, valid = backbone.probe_inputs(self.settings.checkpoint)
        state = torch.linspace(-1, 1, flow.state_dim)[None]
        noise = self._default_noise(0.0, (1, flow.chunk, flow.action_dim))
        return self.network.sample(Pi0Inputs(pixels, ids, valid, state), noise, [0], steps=1)[0]
