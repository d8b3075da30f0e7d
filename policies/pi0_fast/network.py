"""PaliGemma as a prefix language model: images and text see all of each other, the answer sees what is before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import DynamicCache, PaliGemmaConfig, PaliGemmaForConditionalGeneration
from transformers.cache_utils import Cache, StaticCache

from vlasteer.checkpoints import TensorEntry, tensor_index
from vlasteer.passes import PassContext
from vlasteer.policies.pi0_fast.settings import Pi0FastSettings
from vlasteer.policies.pi_family import backbone
from vlasteer.policies.weights import assign_weights

KINDS = (*backbone.KINDS, "decode")
_DECODE = KINDS.index("decode")


class FastInputs(NamedTuple):
    """A batch of observations as the model reads them.

    Attributes:
        pixels: float32 [batch, cameras, 3, size, size].
        ids: int64 [batch, text + 1] prompt, padding, and once more BOS, which the answer follows.
        valid: bool [batch, text + 1], False for padding.
    """

    pixels: Tensor
    ids: Tensor
    valid: Tensor


class Decoded(NamedTuple):
    """What greedy decoding gives.

    Attributes:
        ids: int64 [batch, steps] generated ids; what follows a row's first end means nothing.
        top: float32 [batch, steps] logit of each of them.
    """

    ids: Tensor
    top: Tensor


class Pi0FastNetwork:
    """The network.

    Args:
        settings: of the checkpoint.
        device, dtype: where and as what it computes.

    Raises:
        CheckpointError: the tensors are not those of the network; the message names them.

    Attributes:
        native: `PaliGemmaForConditionalGeneration`; sites are `model.language_model.layers.{i}.mlp` inside it.
        context: of the only stream.
        entries: the checkpoint's tensors by the native key names, without a leading `model.`.
    """

    def __init__(self, settings: Pi0FastSettings, *, device: torch.device, dtype: torch.dtype) -> None:
        checkpoint = settings.checkpoint
        self._empty_cameras = checkpoint.empty_cameras
        self._positions = checkpoint.image_positions + checkpoint.token_length + 1
        self._steps = settings.decoding_steps
        self.device = device
        with backbone.without_weights():
            self.native = PaliGemmaForConditionalGeneration(
                PaliGemmaConfig(**backbone.paligemma_config(checkpoint.sizes))
            )
        self.native.eval().requires_grad_(False)
        renamed = backbone.rename(tensor_index(checkpoint.folder), lambda key: backbone.paligemma_key(key) or key)
        self.entries: dict[str, TensorEntry] = renamed.entries
        assign_weights(self.native.model, renamed.entries, device=device, dtype=dtype, stored_as=renamed.stored)
        self.native.lm_head.weight = self.native.model.language_model.embed_tokens.weight
        backbone.compute_buffers(self.native, device)
        self.context = PassContext(KINDS).to(device)
        self._caches: dict[int, StaticCache] = {}

    @torch.no_grad()
    def generate(self, inputs: FastInputs, rows: Sequence[int], *, end: int, steps: int | None = None) -> Decoded:
        """Greedy ids until every row has said `end`.

        The first id comes from the pass over the prefix, each further one from a pass over the id before it.

        Args:
            inputs: the batch.
            rows: steering row of every observation.
            end: id that ends an answer.
            steps: most ids to generate; default as the checkpoint says.
        """
        steps = self._steps if steps is None else steps
        prefix = backbone.embed_prefix(self.native.model, inputs.pixels, self._empty_cameras, inputs.ids, inputs.valid)
        batch, positions = prefix.valid.shape
        cache = self._cache(batch)
        seen = torch.cat([prefix.valid, prefix.valid.new_zeros(batch, self._room - positions)], dim=1)
        place = prefix.valid.sum(dim=1, keepdim=True)
        self.context.begin_pass(prefix.kinds, rows)
        logits = self._prefill(prefix, seen, cache)
        decode_kinds = torch.tensor([_DECODE], device=self.device)
        ids, top = [], []
        finished = torch.zeros(batch, dtype=torch.bool, device=self.device)
        for step in range(steps):
            ids.append(logits.argmax(dim=-1))
            top.append(logits.gather(-1, ids[-1][:, None])[:, 0].float())
            finished |= ids[-1] == end
            if step + 1 == steps or bool(finished.all()):
                break
            seen[:, positions + step] = True
            self.context.begin_pass(decode_kinds, rows)
            logits = self._decode(ids[-1], seen, place + step, positions + step + 1, cache)
        return Decoded(torch.stack(ids, dim=1), torch.stack(top, dim=1))

    @torch.no_grad()
    def probe(self, inputs: FastInputs) -> Tensor:
        """[2, vocabulary] logits of the first two answer positions, the second one behind a fixed id."""
        prefix = backbone.embed_prefix(self.native.model, inputs.pixels, 0, inputs.ids, inputs.valid)
        positions = prefix.valid.shape[1]
        cache = DynamicCache()
        self.context.begin_pass(prefix.kinds, [0])
        first = self._prefill(prefix, prefix.valid, cache)
        self.context.begin_pass(torch.tensor([_DECODE], device=self.device), [0])
        seen = prefix.valid.new_ones(1, positions + 1)
        place = torch.tensor([[positions]], device=self.device)
        second = self._decode(inputs.ids[0, -1:].to(self.device), seen, place, positions + 1, cache)
        return torch.cat([first, second])

    def _prefill(self, prefix: backbone.Prefix, seen: Tensor, cache: Cache) -> Tensor:
        length = seen.shape[1] if isinstance(cache, StaticCache) else prefix.valid.shape[1]
        # Only decoding passes are compiled, they are bound by launches: `forward` goes round a compiled `__call__`.
        hidden = self.native.model.language_model.forward(
            inputs_embeds=prefix.embeddings,
            attention_mask=seen[:, None, None, :length].expand(-1, 1, prefix.valid.shape[1], length),
            position_ids=prefix.position_ids,
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state
        return self.native.lm_head(hidden[:, -1])

    def _decode(self, ids: Tensor, seen: Tensor, place: Tensor, length: int, cache: Cache) -> Tensor:
        length = seen.shape[1] if isinstance(cache, StaticCache) else length
        language = self.native.model.language_model
        hidden = language(
            inputs_embeds=language.embed_tokens(ids[:, None]),
            attention_mask=seen[:, None, None, :length],
            position_ids=place,
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state
        return self.native.lm_head(hidden[:, -1])

    # -- compilation ---------------------------------------------------------------------------------------------------
    def compile_decoding(self, **options: Any) -> None:
        """Compile the decoding pass; `options` go to `torch.compile`. One graph is made for every batch size."""
        self._caches.clear()
        self.native.model.language_model.compile(**{"dynamic": False, **options})

    @property
    def _room(self) -> int:
        """Positions of a full cache."""
        return self._positions + self._steps

    def _cache(self, batch: int) -> Cache:
        if self.native.model.language_model._compiled_call_impl is None:
            self._caches.clear()
            return DynamicCache()
        # A graph reads the cache at fixed addresses, so a cache lives as long as its graph.
        if batch not in self._caches:
            config = self.native.config.get_text_config()
            self._caches[batch] = StaticCache(config=config, max_cache_len=self._room)
        self._caches[batch].reset()
        return self._caches[batch]
