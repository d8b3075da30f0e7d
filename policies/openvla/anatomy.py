"""Where the neurons, the vocabulary and the self-test's probe of this policy are."""

from __future__ import annotations

import torch
from torch import Tensor

from vlasteer.anatomy import Anatomy, Site, SiteKey, TokenBasis
from vlasteer.passes import PassContext
from vlasteer.policies.openvla.actions import ActionBins
from vlasteer.policies.openvla.config import OpenVLAConfig
from vlasteer.policies.openvla.model import OpenVLAModel
from vlasteer.policies.openvla.prompt import PromptTokenizer

STREAM = "vlm"
_PROBE_KINDS = ("text", "image", "image", "text", "text", "text.last")


def build_anatomy(
    model: OpenVLAModel, config: OpenVLAConfig, tokenizer: PromptTokenizer, context: PassContext
) -> Anatomy:
    """The anatomy of a loaded model. Every layer's FFN reaches the action, the last one through the logits."""
    language = config.language
    sites = [
        Site(
            SiteKey(STREAM, i), language.intermediate_size, language.hidden_size, f"language_model.model.layers.{i}.mlp"
        )
        for i in range(language.num_hidden_layers)
    ]
    return Anatomy(
        model=model,
        sites=sites,
        contexts={STREAM: context},
        token_basis=_token_basis(model, config, tokenizer),
        probe=lambda: _probe(model, config, context),
    )


def _token_basis(model: OpenVLAModel, config: OpenVLAConfig, tokenizer: PromptTokenizer) -> TokenBasis:
    bins = ActionBins.of(config)
    actions = config.action_ids

    def label(token: int) -> str:
        return bins.label(token) if token in actions else tokenizer.piece(token)

    def ids_of(word: str) -> list[int]:
        # Training overwrote what the last 256 ids once meant.
        return [token for token in tokenizer.ids_of(word) if token not in actions]

    return TokenBasis(
        matrix=model.language_model.lm_head.weight.detach(),
        norm_gain=model.language_model.model.norm.weight.detach().float(),
        labels=label,
        pieces=tokenizer.piece,
        ids_of=ids_of,
        action_ids=actions,
        undefined_ids=range(config.vocabulary, config.language.vocab_size),
    )


@torch.no_grad()
def _probe(model: OpenVLAModel, config: OpenVLAConfig, context: PassContext) -> Tensor:
    """float [actions] logits of the action tokens behind six fixed positions of text and image.

    One pass without vision towers reads every language weight once: seconds for 7B on a CPU, not minutes.
    """
    ids = torch.arange(1, 1 + len(_PROBE_KINDS), device=model.device)
    kinds = torch.tensor([context.kind_names.index(kind) for kind in _PROBE_KINDS], device=model.device)
    context.begin_pass(kinds, [0])
    logits = model.prefill(model.language_model.model.embed_tokens(ids)[None])
    return logits[0, config.action_ids.start : config.action_ids.stop]
