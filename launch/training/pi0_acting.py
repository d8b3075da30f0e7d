"""Second and third stage of the Pi0 organism: PaliGemma reads, then it reads and the expert acts.

The same pairs and the same grounding of names as for OpenVLA (see `acting`). What differs is Pi0's: picture and
instruction see each other whole, actions come from an expert that sees nothing but PaliGemma's keys and values, and its
loss is that of flow matching (Black et al. 2024, equation 1), with their distribution of times.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import DynamicCache
from transformers.models.gemma.modeling_gemma import GemmaDecoderLayer, apply_rotary_pos_emb

from vlasteer.envs.tabletop.language import BIN_NOUNS
from vlasteer.launch.training.corpus import BOS, PAD, Vocabulary, sentence_batch
from vlasteer.launch.training.demonstrations import Demonstrations
from vlasteer.launch.training.injection import adding, injected_vectors
from vlasteer.launch.training.pairing import Pairing
from vlasteer.launch.training.pi0_network import ACTION, STATE, action_statistics, state_statistics
from vlasteer.launch.training.recipe import Recipe
from vlasteer.launch.training.vision import VisionTargets, heat_of
from vlasteer.policies.pi0.network import Pi0Network, PrefixCache

_LOOK = 0.3
_READ_SENTENCES, _READ_NAMES = 32, 64
_GROUNDING = 0.5
_LOOKING = 2
_NOISES = 4
"""Noises and times per row of a batch: the expert costs little beside the prefix that it reads."""
_BETA = (1.5, 1.0)
_SHARES = torch.tensor([1.0, 1.0, 1.0, 0.1, 0.1, 0.1, 1.0])
_AXES = (("x", 0), ("y", 1), ("z", 2), ("gripper", 6))


@dataclass(frozen=True)
class Prefix:
    """What PaliGemma reads.

    Attributes:
        embeddings: [batch, patches + text, hidden].
        valid: bool [batch, patches + text], False for padding.
        nouns: int64 [batch] position of the word that names the bin.
    """

    embeddings: Tensor
    valid: Tensor
    nouns: Tensor


class Pi0Learner(nn.Module):
    """What the second and the third stage train: projector, PaliGemma, expert, and the head that grounds names."""

    def __init__(
        self,
        network: Pi0Network,
        vocabulary: Vocabulary,
        shown: Demonstrations,
        patches: Tensor,
        wanted: VisionTargets,
        recipe: Recipe,
    ) -> None:
        super().__init__()
        native = network.native
        self.projector = native.model.vlm.multi_modal_projector
        self.language_model = native.model.vlm.language_model
        self.expert, self.action_time, self.action_out = (
            native.model.dit,
            native.embed_action_time,
            native.action_out_proj,
        )
        self.where = nn.Linear(recipe.hidden, wanted.bins.shape[-1])
        self._pairing, self._vocabulary, self._recipe = Pairing(shown, recipe), vocabulary, recipe
        self._patches, self._wanted = patches, wanted
        self._nouns = {vocabulary.of(noun) for noun in BIN_NOUNS}
        mean, std = state_statistics(shown)
        states = (np.pad(shown.tcp, ((0, 0), (0, STATE - 3))) - mean) / std
        self._states = torch.from_numpy(states.astype(np.float32))
        self._mean, self._std = (torch.from_numpy(part.astype(np.float32)) for part in action_statistics(shown))

    def reading_loss(self, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        """Of sentences, and of names of bins in pictures: the second stage."""
        frames, names, colours = self._pairing.name(_READ_NAMES, rng)
        prefix = self._prefix(frames, names)
        hidden, _ = self._read(prefix, {})
        grounding = self._grounding(prefix, hidden, frames, colours)
        sentences = self._sentences(_READ_SENTENCES, rng)
        return sentences + grounding, {"text": float(sentences.detach()), "where": float(grounding.detach())}

    def acting_loss(self, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        """Of demonstrations, and of sentences: the third stage.

        The figures hold the mean absolute errors of x, y, z (action units) and gripper, as the velocity at a random
        time estimates them.
        """
        pairs = self._pairing.draw(rng)
        prefix = self._prefix(pairs.frames, [f"{text}\n" for text in pairs.instructions])
        vectors = injected_vectors(
            pairs.injections,
            self._vocabulary,
            self.language_model.embed_tokens.weight,
            (prefix.embeddings.shape[0], prefix.embeddings.shape[1]),
            self._recipe.layers,
            self._patches.shape[1],
            rng.spawn(1)[0],
        )
        hidden, cache = self._read(prefix, vectors)
        actions = (torch.from_numpy(pairs.actions.astype(np.float32)) - self._mean) / self._std
        flow, errors = self._flow(cache, prefix.valid, self._states[torch.from_numpy(pairs.frames)], actions, rng)
        grounding = self._grounding(prefix, hidden, pairs.frames, pairs.colours)
        sentences = self._sentences(self._recipe.sentences, rng)
        figures = {
            "action": float(flow.detach()),
            "text": float(sentences.detach()),
            "where": float(grounding.detach()),
            **{name: float(errors[i]) for name, i in _AXES},
        }
        return flow + self._recipe.sentence_weight * sentences + _GROUNDING * grounding, figures

    # -- the prefix ----------------------------------------------------------------------------------------------------
    def _prefix(self, frames: np.ndarray, texts: list[str]) -> Prefix:
        rows = [[BOS, *self._vocabulary.encode(text)] for text in texts]
        ids = np.full((len(rows), max(map(len, rows))), PAD, np.int64)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = row
        image = self.projector(self._patches[torch.from_numpy(frames)].float())
        seen = image.shape[1]
        valid = torch.from_numpy(np.pad(ids != PAD, ((0, 0), (seen, 0)), constant_values=True))
        nouns = torch.tensor([seen + max(i for i, token in enumerate(row) if token in self._nouns) for row in rows])
        return Prefix(torch.cat([image, self.language_model.embed_tokens(torch.from_numpy(ids))], 1), valid, nouns)

    def _read(self, prefix: Prefix, vectors: dict[int, Tensor]) -> tuple[Tensor, DynamicCache]:
        """The last hidden states, and the keys and values."""
        cache, positions = DynamicCache(), prefix.valid.shape[1]
        with adding(self.language_model.layers, vectors):
            read = self.language_model(
                inputs_embeds=prefix.embeddings,
                attention_mask=prefix.valid[:, None, None, :].expand(-1, 1, positions, positions),
                position_ids=_places(prefix.valid),
                past_key_values=cache,
                use_cache=True,
            )
        return read.last_hidden_state, cache

    def _grounding(self, prefix: Prefix, hidden: Tensor, frames: np.ndarray, colours: np.ndarray) -> Tensor:
        """Mean squared error (in standard deviations) of where the named bins are, at the noun and at the colour before
        it, and the cross entropy of where the first layer looks from the colour."""
        rows, shown, which = torch.arange(len(hidden)), torch.from_numpy(frames), torch.from_numpy(colours)
        wanted = self._wanted.bins[shown, which]
        error = sum(F.mse_loss(self.where(hidden[rows, prefix.nouns - back]), wanted) for back in (0, 1)) / 2
        heat = heat_of(self._wanted.seen[shown, which], self._patches.shape[1])
        return error - _LOOK * (heat[:, None] * self._looks(prefix)).sum(-1).mean()

    def _looks(self, prefix: Prefix) -> Tensor:
        """[batch, heads, patches] logarithms of the attention of some of the first layer's heads at the colours."""
        first = cast(GemmaDecoderLayer, self.language_model.layers[0])
        attention, x = first.self_attn, first.input_layernorm(prefix.embeddings)
        query, key = (
            project(x).unflatten(-1, (-1, attention.head_dim)).transpose(1, 2)[:, :_LOOKING]
            for project in (attention.q_proj, attention.k_proj)
        )
        query, key = apply_rotary_pos_emb(query, key, *self.language_model.rotary_emb(x, _places(prefix.valid)))
        scores = (query[torch.arange(len(x)), :, prefix.nouns - 1][:, :, None] @ key.transpose(2, 3))[:, :, 0]
        scores = (scores * attention.scaling).masked_fill(~prefix.valid[:, None], -torch.inf)
        return torch.log_softmax(scores, -1)[..., : self._patches.shape[1]]

    def _sentences(self, count: int, rng: np.random.Generator) -> Tensor:
        """Each word predicts the next, seeing those before it; the output embedding is the input's."""
        ids, following = (torch.from_numpy(part) for part in sentence_batch(self._vocabulary, count, rng))
        hidden = self.language_model(input_ids=ids, use_cache=False).last_hidden_state
        asked = following != -100
        return F.cross_entropy(hidden[asked] @ self.language_model.embed_tokens.weight.T, following[asked])

    # -- the expert ----------------------------------------------------------------------------------------------------
    def _flow(
        self, cache: DynamicCache, valid: Tensor, states: Tensor, actions: Tensor, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """The loss, and the mean absolute errors [7] of the actions that the velocities point to."""
        cache.batch_repeat_interleave(_NOISES)
        valid, states, actions = (part.repeat_interleave(_NOISES, 0) for part in (valid, states, actions))
        count = len(actions)
        noise = torch.from_numpy(rng.standard_normal((count, 1, ACTION)).astype(np.float32))
        time = torch.from_numpy((rng.beta(*_BETA, count) * 0.999 + 0.001).astype(np.float32))
        wanted = actions[:, None]
        mixed = time[:, None, None] * noise + (1 - time[:, None, None]) * wanted
        velocity = self.velocity(cache, valid, states, mixed, time)
        squared = ((velocity - (noise - wanted)) ** 2).mean((0, 1))
        with torch.no_grad():
            estimate = mixed - time[:, None, None] * velocity
            errors = ((estimate - wanted).abs() * self._std).mean((0, 1))
        return (squared * _SHARES).sum() / _SHARES.sum(), errors

    def velocity(self, cache: DynamicCache, valid: Tensor, states: Tensor, mixed: Tensor, time: Tensor) -> Tensor:
        """[batch, 1, 7] what the expert answers to noisy actions of that shape at times [batch]."""
        count = len(mixed)
        own = torch.ones(2, 2, dtype=torch.bool)
        own[0, 1] = False  # the state does not see the action
        hidden = self.expert(
            inputs_embeds=self.action_time(states, mixed, time),
            attention_mask=torch.cat([valid[:, None, :].expand(-1, 2, -1), own.expand(count, 2, 2)], 2)[:, None],
            position_ids=valid.sum(1, keepdim=True) + torch.arange(2),
            past_key_values=PrefixCache(cache),
        ).last_hidden_state
        return self.action_out(hidden[:, 1:])


def _places(valid: Tensor) -> Tensor:
    """int64 [batch, positions]; only valid positions count."""
    return (valid.cumsum(1) - 1).clamp(min=0)
