"""The network: vision towers, projector and Llama, with the checkpoint's key names; greedy decoding with a KV cache.

The checkpoints' own code cannot be used: it needs transformers 4.40 and silently ignores the image on newer ones
(openvla issue 346).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM
from transformers.cache_utils import Cache, StaticCache
from transformers.initialization import no_init_weights
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from vlasteer.checkpoints import TensorEntry
from vlasteer.passes import PassContext
from vlasteer.policies.openvla.config import LanguageConfig, OpenVLAConfig
from vlasteer.policies.openvla.vision import Projector, VisionBackbone, is_unused_key
from vlasteer.policies.weights import assign_weights

_TEXT, _LAST, _IMAGE, _DECODE = range(4)
_CACHE_BLOCK = 256
"""Static caches have a multiple of this many positions, so that prompts of any length share a compiled graph."""

_MOST_GRAPHS = 64
"""Batch sizes that one compiled model serves; torch gives up after eight, counted over all that was ever mounted."""


def position_kinds(actions: int) -> tuple[str, ...]:
    """Kinds of position: text, its last one, image, and each pass that generates a further one of `actions` tokens.

    What the network does at the position that action token i comes from is about dimension i of the action, so that
    these positions are told apart: "text.last" for the first token, "decode.1" for the second, and so on.
    """
    return ("text", "text.last", "image", *(f"decode.{i}" for i in range(1, actions)))


class Decoded(NamedTuple):
    """What greedy decoding gives.

    Attributes:
        ids: int64 [batch, steps] generated ids.
        top: float32 [batch, steps] logit of each of them.
        logits: float32 [batch, steps, vocabulary], or None when they were not asked for.
    """

    ids: Tensor
    top: Tensor
    logits: Tensor | None


class OpenVLAModel(nn.Module):
    """The policy's network. Sites of the anatomy are `language_model.model.layers.{i}.mlp`."""

    def __init__(self, config: OpenVLAConfig) -> None:
        super().__init__()
        vision_dim = sum(tower.embed_dim for tower in config.towers)
        self.vision_backbone = VisionBackbone(config.towers)
        self.projector = Projector(vision_dim, config.language.hidden_size, fused=len(config.towers) > 1)
        self.language_model = LlamaForCausalLM(llama_config(config.language))
        self.patches = config.towers[0].patches
        self._static: tuple[tuple[int, int], StaticCache] | None = None

    @classmethod
    def from_entries(
        cls, config: OpenVLAConfig, entries: Mapping[str, TensorEntry], *, device: torch.device, dtype: torch.dtype
    ) -> OpenVLAModel:
        """The network with the checkpoint's weights.

        Raises:
            CheckpointError: the tensors are not those of the network.
        """
        with torch.device("meta"), no_init_weights():
            model = cls(config)
        model.eval().requires_grad_(False)
        assign_weights(model, entries, device=device, dtype=dtype, unused=lambda key: is_unused_key(key, config.towers))
        # The rotary frequencies are no weights: they are computed, and always in float32.
        model.language_model.model.rotary_emb = LlamaRotaryEmbedding(model.language_model.config).to(device)
        return model

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.language_model.lm_head.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """What the weights are."""
        return self.language_model.lm_head.weight.dtype

    def embed(self, pixels: Tensor, ids: Tensor) -> Tensor:
        """[batch, 3 * towers, size, size] pixels and [batch, text] ids -> [batch, patches + text, hidden].

        The image goes in right behind the first token, which is BOS.
        """
        image = self.projector(self.vision_backbone(pixels.to(self.device, self.dtype)))
        text = self.language_model.model.embed_tokens(ids)
        return torch.cat([text[:, :1], image, text[:, 1:]], dim=1)

    def prefill_kinds(self, text: int) -> Tensor:
        """int64 [patches + text] position kinds of a prompt with `text` ids."""
        kinds = torch.full((self.patches + text,), _TEXT, dtype=torch.int64)
        kinds[1 : 1 + self.patches] = _IMAGE
        kinds[-1] = _LAST
        return kinds.to(self.device)

    @torch.no_grad()
    def generate(
        self,
        pixels: Tensor,
        ids: Tensor,
        *,
        steps: int,
        context: PassContext,
        rows: Sequence[int],
        keep_logits: bool = False,
    ) -> Decoded:
        """Exactly `steps` greedy ids for every row of a batch of prompts of one length.

        The first id comes from the prefill pass, each further one from a pass over the id before it.

        Args:
            pixels: [batch, 3 * towers, size, size] normalised pixels.
            ids: int64 [batch, text] prompt ids.
            steps: ids to generate.
            context: told of every pass; of `position_kinds`.
            rows: steering row of every sequence.
            keep_logits: also return the logits.
        """
        prompt = self.embed(pixels, ids.to(self.device))
        cache = self._cache(len(prompt), prompt.shape[1] + steps)
        # Of more tokens than there are kinds the last ones share theirs.
        kinds = torch.arange(_DECODE - 1, _DECODE - 1 + steps, device=self.device).clamp(
            max=len(context.kind_names) - 1
        )
        chosen: list[Tensor] = []
        kept: list[Tensor] = []
        top: list[Tensor] = []
        for step in range(steps):
            if step == 0:
                context.begin_pass(self.prefill_kinds(ids.shape[1]), rows)
                logits = self.prefill(prompt, cache)
            else:
                context.begin_pass(kinds[step : step + 1], rows)
                logits = self._decode(chosen[-1], cache)
            chosen.append(logits.argmax(dim=-1))
            top.append(logits.gather(-1, chosen[-1][:, None])[:, 0].float())
            if keep_logits:
                kept.append(logits.to(torch.float32, copy=True))
        return Decoded(
            torch.stack(chosen, dim=1), torch.stack(top, dim=1), torch.stack(kept, dim=1) if keep_logits else None
        )

    def prefill(self, embeddings: Tensor, cache: Cache | None = None) -> Tensor:
        """[batch, positions, hidden] prompt embeddings -> [batch, vocabulary] logits at the last position."""
        # Only decoding, bound by launches, is worth compiling: `forward` goes round a compiled `__call__`.
        output = self.language_model.forward(
            inputs_embeds=embeddings, past_key_values=cache, use_cache=cache is not None, logits_to_keep=1
        )
        return _last_logits(output)

    def _decode(self, ids: Tensor, cache: Cache) -> Tensor:
        output = self.language_model(input_ids=ids[:, None], past_key_values=cache, use_cache=True, logits_to_keep=1)
        return _last_logits(output)

    # -- compilation ---------------------------------------------------------------------------------------------------
    @property
    def is_compiled(self) -> bool:
        """Whether decoding passes run compiled. Leaving a `steer` context ends it."""
        return self.language_model._compiled_call_impl is not None

    def compile_decoding(self, **options: Any) -> None:
        """Compile the decoding pass; `options` go to `torch.compile`. One graph is made for every batch size."""
        limits = {"recompile_limit": _MOST_GRAPHS, "isolate_recompiles": True}
        self.language_model.compile(**{"fullgraph": True, "dynamic": False, **limits, **options})

    def _cache(self, batch: int, positions: int) -> Cache:
        if not self.is_compiled:
            self._static = None
            return DynamicCache()
        # The newest one is kept: a captured graph would be captured anew for a cache at another address.
        size = (batch, -(-positions // _CACHE_BLOCK) * _CACHE_BLOCK)
        if self._static is None or self._static[0] != size:
            self._static = (size, StaticCache(config=self.language_model.config, max_cache_len=size[1]))
        self._static[1].reset()
        return self._static[1]


def _last_logits(output: CausalLMOutputWithPast) -> Tensor:
    assert output.logits is not None
    return output.logits[:, -1]


def llama_config(config: LanguageConfig) -> LlamaConfig:
    """The same as transformers has it."""
    return LlamaConfig(
        vocab_size=config.vocab_size,
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        num_hidden_layers=config.num_hidden_layers,
        num_attention_heads=config.num_attention_heads,
        num_key_value_heads=config.num_key_value_heads,
        max_position_embeddings=config.max_position_embeddings,
        rms_norm_eps=config.rms_norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": config.rope_theta},
        tie_word_embeddings=False,
    )
