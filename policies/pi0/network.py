"""transformers' PI0 modules with a checkpoint's weights, and the sampler that runs them.

PaliGemma fills a cache with the keys and values of images and text; the action expert reads it in every denoising step.
Masks and positions are computed here and not by transformers, so that they are the reference's on any of its versions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import DynamicCache, PI0Config, PI0ForConditionalGeneration
from transformers.cache_utils import Cache

from vlasteer.checkpoints import TensorEntry, tensor_index
from vlasteer.errors import CheckpointError
from vlasteer.passes import PassContext
from vlasteer.policies.pi0.settings import Flow, Pi0Settings
from vlasteer.policies.pi_family import backbone
from vlasteer.policies.weights import assign_weights

_PROJECTIONS = ("state_proj", "action_in_proj", "action_time_mlp_in", "action_time_mlp_out")
_EXPERT = "paligemma_with_expert.gemma_expert."


class Pi0Inputs(NamedTuple):
    """A batch of observations as the model reads them.

    Attributes:
        pixels: float32 [batch, cameras, 3, size, size].
        ids: int64 [batch, text].
        valid: bool [batch, text], False for padding.
        state: float32 [batch, state_dim], normalised and padded.
    """

    pixels: Tensor
    ids: Tensor
    valid: Tensor
    state: Tensor


class Pi0Network:
    """The network.

    Args:
        settings: of the checkpoint.
        device, dtype: where and as what it computes. Projections of state, action and time, and the actions themselves,
            are float32 always, as in the reference; the vision tower is not, which the reference keeps in float32.

    Raises:
        CheckpointError: the tensors are not those of the network; the message names them.

    Attributes:
        native: `PI0ForConditionalGeneration`; sites are `model.vlm.language_model.layers.{i}.mlp` and
            `model.dit.layers.{i}.mlp` inside it.
        contexts: of the streams "vlm" (kinds text and image) and "expert" (kinds step0, step1, ...).
        entries: the checkpoint's tensors by the native key names.
    """

    def __init__(self, settings: Pi0Settings, *, device: torch.device, dtype: torch.dtype) -> None:
        checkpoint, self.flow = settings.checkpoint, settings.flow
        self._empty_cameras = checkpoint.empty_cameras
        self.device, self.dtype = device, dtype
        with backbone.without_weights():
            self.native = PI0ForConditionalGeneration(native_config(settings))
            self.native.model.dit.embed_tokens = None  # it never reads ids
        self.native.eval().requires_grad_(False)
        entries = tensor_index(checkpoint.folder)
        _refuse_pi05(entries)
        renamed = backbone.rename(entries, native_key)
        self.entries: dict[str, TensorEntry] = renamed.entries
        exact = ("embed_action_time.", "action_out_proj.")
        assign_weights(
            self.native,
            renamed.entries,
            device=device,
            dtype=dtype,
            stored_as=renamed.stored,
            exact=lambda key: key.startswith(exact),
        )
        projections: Any = self.native.embed_action_time
        projections.sinusoid_embeds = TimeEmbedding(projections.state_proj.out_features, self.flow).to(device)
        backbone.compute_buffers(self.native, device)
        self.contexts = {
            backbone.VLM: PassContext(backbone.KINDS).to(device),
            backbone.EXPERT: PassContext([f"step{i}" for i in range(self.flow.steps)]).to(device),
        }

    @torch.no_grad()
    def sample(self, inputs: Pi0Inputs, noise: Tensor, rows: Sequence[int], *, steps: int | None = None) -> Tensor:
        """Turn noise into normalised, padded actions.

        Args:
            inputs: the batch.
            noise: float32 [batch, chunk, action_dim], standard normal.
            rows: steering row of every observation.
            steps: stop after so many Euler steps (for probes); default all.

        Returns:
            float32 [batch, chunk, action_dim].
        """
        prefix = backbone.embed_prefix(
            self.native.model.vlm, inputs.pixels, self._empty_cameras, inputs.ids, inputs.valid
        )
        cache = self._read(prefix, rows)
        mask, position_ids = self._suffix(prefix.valid)
        state, actions = inputs.state.to(self.device), noise.to(self.device)
        read_from = mask.new_ones(len(actions), 1 + self.flow.chunk)
        read_from[:, 0] = False  # the state
        for step in range(self.flow.steps if steps is None else steps):
            kinds = torch.full((1 + self.flow.chunk,), step, dtype=torch.int64, device=self.device)
            self.contexts[backbone.EXPERT].begin_pass(kinds, rows, read_from)
            time = torch.full((len(actions),), 1 - step / self.flow.steps, device=self.device)
            embeddings = self.native.embed_action_time(state, actions, time).to(self.dtype)
            hidden = self.native.model.dit(
                inputs_embeds=embeddings, attention_mask=mask, position_ids=position_ids, past_key_values=cache
            ).last_hidden_state
            velocity = self.native.action_out_proj(hidden[:, 1:].float())
            actions = actions - velocity / self.flow.steps
        return actions

    def _read(self, prefix: backbone.Prefix, rows: Sequence[int]) -> PrefixCache:
        self.contexts[backbone.VLM].begin_pass(prefix.kinds, rows, prefix.valid)  # all that the expert attends to
        cache = DynamicCache()
        self.native.model.vlm.language_model(
            inputs_embeds=prefix.embeddings,
            attention_mask=prefix.attention_mask,
            position_ids=prefix.position_ids,
            past_key_values=cache,
            use_cache=True,
        )
        return PrefixCache(cache)

    def _suffix(self, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Mask and positions of state and actions: the state does not see the actions, which see everything."""
        length = 1 + self.flow.chunk
        own = valid.new_ones(length, length)
        own[0, 1:] = False
        seen = torch.cat([valid[:, None, :].expand(-1, length, -1), own.expand(len(valid), length, length)], dim=2)
        position_ids = valid.sum(dim=1, keepdim=True) + torch.arange(length, device=valid.device)
        return seen[:, None], position_ids

    def compile(self, **options: Any) -> None:
        """Compile the vision tower and both decoders; `options` go to `torch.compile`."""
        model = self.native.model
        for module in (model.vlm.vision_tower, model.vlm.language_model, model.dit):
            module.compile(**{"dynamic": False, **options})


class PrefixCache(Cache):
    """Keys and values of the prefix. Those of a suffix are put behind them and forgotten: every step has its own."""

    def __init__(self, filled: DynamicCache) -> None:
        super().__init__(layers=filled.layers)
        layers: Any = filled.layers
        self._filled: list[tuple[Tensor, Tensor]] = [(layer.keys, layer.values) for layer in layers]

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Keys and values that a layer attends to."""
        keys, values = self._filled[layer_idx]
        return torch.cat([keys, key_states], dim=-2), torch.cat([values, value_states], dim=-2)


class TimeEmbedding(nn.Module):
    """Sinusoids of time with geometric periods, in float64.

    The phase reaches 1,600 rad: in float32 (transformers' PI0) the fourth digit is wrong. The reference uses float64.
    """

    frequencies: Tensor

    def __init__(self, width: int, flow: Flow) -> None:
        super().__init__()
        fraction = torch.linspace(0.0, 1.0, width // 2, dtype=torch.float64)
        period = flow.min_period * (flow.max_period / flow.min_period) ** fraction
        self.register_buffer("frequencies", 2 * math.pi / period, persistent=False)

    def forward(self, time: Tensor) -> Tensor:
        """float32 [batch] in [0, 1] -> float32 [batch, width]."""
        phase = time.double()[:, None] * self.frequencies
        return torch.cat([phase.sin(), phase.cos()], dim=1).float()


def native_key(key: str) -> str | None:
    """Where transformers has a tensor of lerobot or openpi, given without a leading `model.`; None: nowhere needed.

    The expert reads no ids and predicts none, so its embedding and output embedding are dropped. A key that fits no
    rule is returned as it is, and found to be extra.
    """
    if inner := backbone.paligemma_key(key):
        return f"model.vlm.{inner}"
    if key.startswith((f"{_EXPERT}lm_head.", f"{_EXPERT}model.embed_tokens.")):
        return None
    if key.startswith(f"{_EXPERT}model."):
        return key.replace(f"{_EXPERT}model.", "model.dit.", 1)
    if key.split(".")[0] in _PROJECTIONS:
        return f"embed_action_time.{key}"
    return key


def _refuse_pi05(entries: Mapping[str, TensorEntry]) -> None:
    if any(key.removeprefix("model.").startswith("time_mlp_in.") for key in entries):
        raise CheckpointError(
            "the checkpoint is a pi0.5 (its expert is told the time by adaptive norms)", expected="a pi0 or pi0_fast"
        )


def native_config(settings: Pi0Settings) -> PI0Config:
    """The network for transformers."""
    sizes, flow = settings.checkpoint.sizes, settings.flow
    assert sizes.expert is not None
    return PI0Config(
        vlm_config=backbone.paligemma_config(sizes),
        dit_config=backbone.gemma_config(sizes.expert, sizes.vocabulary),
        chunk_size=flow.chunk,
        max_state_dim=flow.state_dim,
        max_action_dim=flow.action_dim,
        num_inference_steps=flow.steps,
    )
