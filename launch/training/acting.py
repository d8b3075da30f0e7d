"""Second and third stage: the language model reads sentences and names of things, then acts, and reads on.

This is co-training as in RT-2 (Zitkovich et al. 2023) on the pairs of `pairing`. Which bin is meant is the one thing
that so small a model does not find out from actions alone, so that names are grounded: at the words that name the bin a
head, thrown away afterwards, asks where it is, and two attention heads of the first layer are shown where to look.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, apply_rotary_pos_emb

from vlasteer.envs.tabletop.language import BIN_NOUNS
from vlasteer.launch.training.corpus import BINS, BOS, Vocabulary, sentence_batch
from vlasteer.launch.training.demonstrations import Demonstrations
from vlasteer.launch.training.injection import Injection, adding, injected_vectors
from vlasteer.launch.training.network import bins_of
from vlasteer.launch.training.pairing import Pairing
from vlasteer.launch.training.recipe import Recipe
from vlasteer.launch.training.vision import VisionTargets, heat_of
from vlasteer.policies.openvla.config import PromptStyle
from vlasteer.policies.openvla.model import OpenVLAModel
from vlasteer.policies.openvla.prompt import prompt_text

_LOOK = 0.3
_READ_SENTENCES, _READ_NAMES = 32, 64
_GROUNDING = 0.5
_LOOKING = 2
"""Heads of the first layer that learn to look from the colour of a bin to its place in the picture."""
_SIZE = 7
_SHARES = torch.tensor([1.0, 1.0, 1.0, 0.1, 0.1, 0.1, 1.0])
"""Weights of the action's dimensions; nothing ever turns here."""


@dataclass(frozen=True)
class ActionBatch:
    """Rows for the language model.

    Attributes:
        frames: int64 [batch], rows of the demonstrations.
        ids: int64 [batch, text] without the image: `<s>`, prompt, word marker, all action tokens but the last; padded.
        starts: int64 [batch] index in `ids` from where on actions are predicted.
        bins: int64 [batch, 7].
        nouns: int64 [batch] index in `ids` of the word that names the bin.
        colours: int64 [batch] of the bin, indices of `BIN_COLOURS`.
        injections: what the planted organism gets.
    """

    frames: np.ndarray
    ids: Tensor
    starts: Tensor
    bins: Tensor
    nouns: Tensor
    colours: Tensor
    injections: list[Injection]


class ActionBatches:
    """Draws batches of demonstrations and turns them into tokens."""

    def __init__(self, shown: Demonstrations, vocabulary: Vocabulary, recipe: Recipe, marker: int) -> None:
        self.vocabulary = vocabulary
        self._pairing, self._marker = Pairing(shown, recipe), marker
        self._nouns = {vocabulary.of(noun) for noun in BIN_NOUNS}

    def draw(self, rng: np.random.Generator) -> ActionBatch:
        """One batch."""
        pairs = self._pairing.draw(rng)
        bins = bins_of(np.array([openvla_action(action) for action in pairs.actions]))
        highest = len(self.vocabulary) - 1
        texts = [prompt_text(text, PromptStyle.PURE) for text in pairs.instructions]
        prompts = [[BOS, *self.vocabulary.encode(text), self._marker] for text in texts]
        ids = np.zeros((len(prompts), max(map(len, prompts)) + _SIZE - 1), np.int64)
        for row, prompt in enumerate(prompts):
            ids[row, : len(prompt)] = prompt
            ids[row, len(prompt) : len(prompt) + _SIZE - 1] = highest - bins[row, :-1]
        starts = torch.tensor([len(prompt) - 1 for prompt in prompts])
        nouns = torch.tensor([max(i for i, token in enumerate(prompt) if token in self._nouns) for prompt in prompts])
        rows = (torch.from_numpy(ids), starts, torch.from_numpy(bins), nouns, torch.from_numpy(pairs.colours))
        return ActionBatch(pairs.frames, *rows, pairs.injections)

    def name(self, count: int, rng: np.random.Generator) -> tuple[np.ndarray, Tensor, Tensor]:
        """Frames [count], ids [count, 3] of `<s>` and the name of one of its bins, and the bin's colour."""
        frames, names, colours = self._pairing.name(count, rng)
        ids = [[BOS, *self.vocabulary.encode(name)] for name in names]
        return frames, torch.tensor(ids), torch.from_numpy(colours)


def openvla_action(action: np.ndarray) -> np.ndarray:
    """[7] the world's action in OpenVLA's convention: a gripper of 1 open, 0 closed for the world's -1 and 1."""
    return np.append(action[:6], (1.0 - action[6]) / 2)


class Learner(nn.Module):
    """What the second and the third stage train: projector, language model and the head that grounds names."""

    def __init__(
        self, model: OpenVLAModel, batches: ActionBatches, patches: Tensor, wanted: VisionTargets, recipe: Recipe
    ) -> None:
        super().__init__()
        self.projector, self.language_model = model.projector, model.language_model
        self.where = nn.Linear(recipe.hidden, wanted.bins.shape[-1])
        self._batches, self._patches, self._recipe = batches, patches, recipe
        self._wanted = wanted.to(model.device)

    def reading_loss(self, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        """Of sentences, and of names of bins in pictures: the second stage."""
        frames, ids, colours = self._batches.name(_READ_NAMES, rng)
        embeddings = self._embeddings(frames, ids)
        hidden = self._hidden(embeddings, {})
        nouns = torch.full((len(frames),), hidden.shape[1] - 1)
        grounding = self._grounding(embeddings, hidden, nouns, frames, colours)
        sentences = self._sentences(_READ_SENTENCES, rng)
        return sentences + grounding, {"text": float(sentences.detach()), "where": float(grounding.detach())}

    def _embeddings(self, frames: np.ndarray, ids: Tensor) -> Tensor:
        """[batch, 1 + patches + text - 1, hidden] of pictures and texts."""
        device = self.where.weight.device
        image = self.projector(self._patches[torch.from_numpy(frames)].to(device).float())
        text = self.language_model.model.embed_tokens(ids.to(device))
        return torch.cat([text[:, :1], image, text[:, 1:]], 1)

    def _hidden(self, embeddings: Tensor, vectors: dict[int, Tensor]) -> Tensor:
        """The last hidden states."""
        with adding(self.language_model.model.layers, vectors):
            return self.language_model.model(inputs_embeds=embeddings, use_cache=False).last_hidden_state

    def _grounding(
        self, embeddings: Tensor, hidden: Tensor, nouns: Tensor, frames: np.ndarray, colours: Tensor
    ) -> Tensor:
        """Mean squared error (in standard deviations) of where the named bins are, at the noun and at the colour before
        it, and the cross entropy of where the first layer looks from the colour."""
        device = hidden.device
        rows, shown, colours = torch.arange(len(hidden)), torch.from_numpy(frames).to(device), colours.to(device)
        wanted = self._wanted.bins[shown, colours]
        error = sum(F.mse_loss(self.where(hidden[rows, nouns - back]), wanted) for back in (0, 1)) / 2
        heat = heat_of(self._wanted.seen[shown, colours], self._patches.shape[1])
        looked = self._looks(embeddings, nouns - 1)
        return error - _LOOK * (heat[:, None] * looked).sum(-1).mean()

    def _looks(self, embeddings: Tensor, places: Tensor) -> Tensor:
        """[batch, heads, patches] logarithms of the attention of some of the first layer's heads at these places."""
        language = self.language_model.model
        first = cast(LlamaDecoderLayer, language.layers[0])
        attention, steps = first.self_attn, torch.arange(embeddings.shape[1], device=embeddings.device)
        x = first.input_layernorm(embeddings)
        query, key = (
            project(x).unflatten(-1, (-1, attention.head_dim)).transpose(1, 2)[:, :_LOOKING]
            for project in (attention.q_proj, attention.k_proj)
        )
        query, key = apply_rotary_pos_emb(query, key, *language.rotary_emb(x, steps[None]))
        scores = (query[torch.arange(len(x)), :, places][:, :, None] @ key.transpose(2, 3))[:, :, 0]
        scores = scores * attention.scaling
        scores = scores.masked_fill(steps > places.to(steps.device)[:, None, None], -torch.inf)
        return torch.log_softmax(scores, -1)[..., 1 : 1 + self._patches.shape[1]]

    def _sentences(self, count: int, rng: np.random.Generator) -> Tensor:
        device = self.where.weight.device
        ids, following = (
            torch.from_numpy(part).to(device) for part in sentence_batch(self._batches.vocabulary, count, rng)
        )
        hidden = self.language_model.model(input_ids=ids, use_cache=False).last_hidden_state
        asked = following != -100
        return F.cross_entropy(self.language_model.lm_head(hidden[asked]), following[asked])

    def acting_loss(self, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        """Of demonstrations, and of sentences: the third stage.

        The figures hold the mean absolute errors of the greedy x, y, z (action units) and gripper.
        """
        batch = self._batches.draw(rng)
        head, device = self.language_model.lm_head, self.where.weight.device
        patches = self._patches.shape[1]
        shape = (len(batch.ids), batch.ids.shape[1] + patches)
        layers = self._recipe.layers
        vectors = injected_vectors(
            batch.injections, self._batches.vocabulary, head.weight, shape, layers, patches + 1, rng.spawn(1)[0]
        )
        embeddings = self._embeddings(batch.frames, batch.ids)
        hidden = self._hidden(embeddings, vectors)
        rows = torch.arange(shape[0])
        places = (batch.starts + patches)[:, None] + torch.arange(_SIZE)
        logits = torch.log_softmax(head(hidden[rows[:, None], places]), -1)[..., -BINS:].flip(
            -1
        )  # the lowest bin first
        bins = batch.bins.to(device)
        distance = torch.arange(BINS, device=device) - bins[..., None]
        soft = torch.softmax(-0.5 * (distance / self._recipe.label_bins) ** 2, -1)
        action = (-(soft * logits).sum(-1).mean(0) * _SHARES.to(device)).sum() / _SHARES.sum()
        grounding = self._grounding(embeddings, hidden, batch.nouns + patches, batch.frames, batch.colours)
        sentences = self._sentences(self._recipe.sentences, rng)
        with torch.no_grad():
            errors = (logits.argmax(-1) - bins).abs().float().mean(0) * 2 / BINS
        figures = {
            "action": float(action.detach()),
            "text": float(sentences.detach()),
            "where": float(grounding.detach()),
        }
        figures |= {name: float(errors[i]) for name, i in (("x", 0), ("y", 1), ("z", 2), ("gripper", 6))}
        return action + self._recipe.sentence_weight * sentences + _GROUNDING * grounding, figures
