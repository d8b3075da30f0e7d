"""Pi0-FAST as a policy: observations in, chunks of actions out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlasteer.anatomy import Anatomy
from vlasteer.checkpoints import checkpoint_hash
from vlasteer.errors import ConfigError, SteeringError, VlasteerError
from vlasteer.policies.pi0_fast.codec import FILES, FastCodec
from vlasteer.policies.pi0_fast.network import FastInputs, Pi0FastNetwork
from vlasteer.policies.pi0_fast.settings import read_settings
from vlasteer.policies.pi0_fast.wording import ActionTokens, prompt_text
from vlasteer.policies.pi_family import backbone
from vlasteer.policies.pi_family.observations import ObservationReader
from vlasteer.policies.pi_family.tokenizer import PaliGemmaTokenizer, find_files
from vlasteer.policies.weights import choose_device, choose_dtype
from vlasteer.types import ActionChunk, ActionSpec, Observation


class Pi0FastPolicy:
    """A loaded Pi0-FAST checkpoint; fits `vlasteer.protocols.Policy`.

    Row i of a batch has the ids and actions of `act`; its logits agree to rounding (matrix products of another shape
    may add in another order), so a row whose two best ids are that close may differ.

    A chunk is decoded with the length that it was trained with. (lerobot decodes it with `n_action_steps`, and garbles
    the actions wherever the two differ.) An answer that does not begin as in training is decoded all the same, where
    lerobot refuses; `non_action_tokens` counts what does not belong into it.

    Args:
        folder: the checkpoint, as lerobot writes it.
        name: what people call it.
        device, dtype: where and as what it computes; see `vlasteer.registry.load_policy`.
        convention: what the actions mean ("libero", "ur5", "droid"), where the checkpoint does not tell.
        tokenizer: folder with PaliGemma's tokenizer.json, or a hub name; default: the checkpoint's, then the hub's.
        fast_tokenizer: folder with the FAST codec, or a hub name; default: the checkpoint's fast_tokenizer/, then the
            hub's.

    Raises:
        CheckpointError: the checkpoint cannot be used; the message says why.
        UnknownNameError, ConfigError: an option that it does not have.
    """

    kind = "pi0_fast"

    def __init__(
        self,
        folder: Path,
        name: str,
        *,
        device: str | None = None,
        dtype: str | None = None,
        convention: str | None = None,
        tokenizer: str | None = None,
        fast_tokenizer: str | None = None,
    ) -> None:
        self.name = name
        self.settings = settings = read_settings(folder, convention)
        checkpoint = settings.checkpoint
        self.cameras: tuple[str, ...] = checkpoint.cameras
        self.state_size: int = checkpoint.state_size
        self.action_spec: ActionSpec = checkpoint.spec
        self._reader = ObservationReader(checkpoint)
        codec = find_files(
            fast_tokenizer,
            beside=folder / "fast_tokenizer",
            hub_name=settings.codec,
            names=FILES,
            option="--fast-tokenizer",
        )
        self.codec = FastCodec.read(codec)
        words = find_files(
            tokenizer, beside=folder, hub_name=checkpoint.tokenizer, names=("tokenizer.json",), option="--tokenizer"
        )
        self.tokenizer = PaliGemmaTokenizer(words / "tokenizer.json", checkpoint.sizes.vocabulary)
        self.action_tokens = ActionTokens(self.tokenizer, self.codec.size, settings.skipped_tokens)
        where = choose_device(device)
        self.network = Pi0FastNetwork(settings, device=where, dtype=choose_dtype(dtype, where))
        self.anatomy: Anatomy = self._anatomy()

    @cached_property
    def checkpoint_hash(self) -> str:
        """Digest of what features depend on; the same whichever key style the file has."""
        return checkpoint_hash(self.network.entries, backbone.features_depend_on)

    # -- acting --------------------------------------------------------------------------------------------------------
    def act(self, observation: Observation, noise: NDArray[np.float32] | None = None) -> ActionChunk:
        """Answer one observation.

        Raises:
            ObservationError: an image or the state is missing, or the instruction is too long.
            ConfigError: noise was given.
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
            raise ConfigError("noise was given to a Pi0-FAST policy", expected="none: it decodes greedily")
        started = time.perf_counter()
        rows = range(len(observations)) if rows is None else rows
        if len(rows) != len(observations):
            raise ConfigError(
                f"{len(rows)} steering rows for {len(observations)} observations", expected="one for each"
            )
        self.network.context.begin_step()
        decoded = self.network.generate(self.inputs(observations), rows, end=self.action_tokens.end)
        if not torch.isfinite(decoded.top).all():
            raise VlasteerError(
                "the policy's logits are not finite",
                expected="numbers",
                fix="Use smaller coefficients, or another dtype than float16; unsteered, the weights are damaged",
            )
        generated = decoded.ids.cpu().numpy()
        chunks = [self._chunk(ids, seen, row) for ids, seen, row in zip(generated, observations, rows, strict=True)]
        seconds = time.perf_counter() - started
        return [replace(chunk, inference_s=seconds) for chunk in chunks]

    def _chunk(self, generated: NDArray[np.int64], observation: Observation, row: int) -> ActionChunk:
        ends = np.flatnonzero(generated == self.action_tokens.end)
        ids = generated[: ends[0] + 1] if len(ends) else generated
        answer = self.action_tokens.read(ids.tolist())
        normalized = self.codec.decode(answer.fast_ids, self.settings.checkpoint.chunk, self.action_spec.size)
        return ActionChunk(
            actions=self._reader.actions(normalized, observation),
            spec=self.action_spec,
            normalized=normalized,
            token_ids=ids.copy(),
            non_action_tokens=answer.foreign,
            observed_at_s=observation.time_s,
            applied=self.network.context.applied(row),
        )

    def inputs(self, observations: Sequence[Observation]) -> FastInputs:
        """The observations as the network reads them, on the CPU.

        Raises:
            ObservationError: see `act`.
        """
        length = self.settings.checkpoint.token_length
        states = self._reader.states(observations)
        prompts = [prompt_text(seen.instruction, state) for seen, state in zip(observations, states, strict=True)]
        encoded = [self.tokenizer.encode(prompt, length) for prompt in prompts]
        ids, valid = (torch.from_numpy(np.stack(part)) for part in zip(*encoded, strict=True))
        bos = torch.full((len(ids), 1), self.tokenizer.bos)
        return FastInputs(
            self._reader.pixels(observations), torch.cat([ids, bos], dim=1), torch.cat([valid, bos > 0], dim=1)
        )

    def example(self, seed: int = 0) -> Observation:
        """A valid observation with random pixels and a plausible state."""
        return self._reader.example(seed)

    def compile(self, **options: Any) -> None:
        """Compile the decoding passes; `options` go to `torch.compile`. Only inside `with steer(...)`, which ends it.

        A graph that was made before mounting would ignore the steering. Mount an empty `Steering()` to compile the
        unsteered policy.

        Raises:
            SteeringError: nothing is mounted.
        """
        if self.network.context.port_values is None:
            raise SteeringError(
                "the policy was asked to compile outside of a steer(...) context",
                fix="Compile inside it: with steer(policy, steering): policy.compile()",
            )
        self.network.compile_decoding(**options)

    # -- anatomy -------------------------------------------------------------------------------------------------------
    def _anatomy(self) -> Anatomy:
        native, tokens = self.network.native, self.action_tokens
        pixels, ids, valid = backbone.probe_inputs(self.settings.checkpoint)
        return Anatomy(
            model=native,
            sites=backbone.decoder_sites(backbone.VLM, "model.language_model", self.settings.checkpoint.sizes.language),
            contexts={backbone.VLM: self.network.context},
            token_basis=backbone.token_basis(
                native.model,
                self.tokenizer,
                action_ids=tokens.ids,
                action_label=lambda token: self.codec.label(tokens.fast_id(token)),
            ),
            probe=lambda: self._probe(FastInputs(pixels, ids, valid)),
        )

    def _probe(self, inputs: FastInputs) -> Tensor:
        logits = self.network.probe(inputs)
        return logits[:, self.action_tokens.ids.start : self.action_tokens.ids.stop]
