"""From a concept's word to a feature with its evidence."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vlasteer.anatomy import Anatomy, Neuron, TokenBasis
from vlasteer.errors import CheckpointError, ConceptError, ConfigError
from vlasteer.finding.keywords import Keywords, by_keywords
from vlasteer.finding.lexicon import Concept, Lexicon
from vlasteer.finding.options import FindOptions
from vlasteer.finding.pool import Pool, listed, make_pool
from vlasteer.finding.semantic import concept_direction, nearest_cluster
from vlasteer.finding.words import Words, containing, look_up, look_up_concept
from vlasteer.projection import Projection
from vlasteer.steering import Feature

_SHOWN_TOKENS = 10


def find_feature(
    anatomy: Anatomy,
    concept: str,
    projection: Projection,
    options: FindOptions | None = None,
    *,
    minus: str | None = None,
    name: str | None = None,
    lexicon: Lexicon | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Feature:
    """Find the neurons that mean a concept.

    Args:
        anatomy: of the policy.
        concept: its name in the lexicon, or any word.
        projection: of that policy, with at least as many tokens per neuron as the method looks at.
        options: method and filters; default keywords.
        minus: a second concept; neurons are then ranked by their score for the first minus their score for the second.
        name: of the feature; default the concept's, with "-" and the second one's.
        lexicon: default the built-in one.
        progress: of the semantic method: seeds tried and to try.

    Returns:
        A feature of equally weighted neurons, best first. Its evidence holds method, options, the projection's options,
        words found and missing, and of every neuron its score, top tokens, hits, antonyms and share of action tokens.

    Raises:
        ConceptError: no word of the concept is a single token, or no neuron has any.
        ConfigError: the projection has too few tokens per neuron.
    """
    options = (options or FindOptions()).resolved()
    assert options.top_n is not None
    if options.top_n > projection.options.top_k:
        raise ConfigError(
            f"the method looks at {options.top_n} tokens per neuron",
            expected=f"at most {projection.options.top_k}, as many as the projection has",
            fix="Project with a larger top_k, or lower --top-n",
        )
    basis = anatomy.token_basis
    if projection.vocabulary != basis.size:
        raise CheckpointError(
            f"the projection is on a vocabulary of {projection.vocabulary}", expected=f"this policy's {basis.size}"
        )
    lexicon = Lexicon.load() if lexicon is None else lexicon
    if not concept.strip() or (minus is not None and not minus.strip()):
        raise ConceptError("an empty concept", expected="a word")
    plus = lexicon.concept(concept)
    less = None if minus is None else lexicon.concept(minus)
    words = _words(basis, plus, options)
    less_words = None if less is None else _words(basis, less, options)
    antonyms = look_up(basis, plus.antonyms)
    pool = make_pool(anatomy, projection, options, basis.action_ids, antonyms.ids)
    if options.method == "keywords":
        found = _by_keywords(basis, pool, options, plus, words, less_words)
    else:
        found = _by_clusters(basis, pool, options, words, less_words, progress)
    neurons = [pool.projection.neuron(row) for row in found.rows]
    entries = [
        {"neuron": str(neuron)} | score | _neuron_evidence(projection, basis, neuron, words, antonyms)
        for neuron, score in zip(neurons, found.scores, strict=True)
    ]
    evidence = {
        "method": options.method,
        "concept": plus.name,
        "minus": None if less is None else less.name,
        "options": options.document(),
        "projection": projection.options.document(),
        "words": _word_evidence(basis, words),
        "minus_words": None if less_words is None else _word_evidence(basis, less_words),
        "antonyms": _word_evidence(basis, antonyms),
        **found.how,
        "left_out": dict(pool.left_out),
        **_summary(pool, basis, entries),
        "neurons": entries,
    }
    default_name = plus.name if less is None else f"{plus.name}-{less.name}"
    return Feature.of(name or default_name, neurons, evidence=evidence)


@dataclass(frozen=True)
class _Found:
    """What a method found: rows of the pool's projection, best first, their scores, and facts about the search."""

    rows: list[int]
    scores: list[dict[str, float]]
    how: dict[str, Any]


def _by_keywords(
    basis: TokenBasis, pool: Pool, options: FindOptions, concept: Concept, words: Words, less: Words | None
) -> _Found:
    stop = look_up(basis, concept.stop_words)
    keywords = Keywords(words.ids, less.ids if less else (), stop.ids)
    hits = by_keywords(pool, keywords, options.k, options.top_n or 1)
    return _Found([h.row for h in hits], [{"score": h.hits, "strength": h.strength} for h in hits], {})


def _by_clusters(
    basis: TokenBasis,
    pool: Pool,
    options: FindOptions,
    words: Words,
    less: Words | None,
    progress: Callable[[int, int], None] | None,
) -> _Found:
    token = _concept_token(words)
    minus = None if less is None else _concept_token(less)
    cluster = nearest_cluster(
        pool,
        basis,
        concept_direction(basis, token, minus),
        k=options.k,
        top_n=options.top_n or 1,
        seeds=options.seeds,
        progress=progress,
    )
    how = {
        "concept_tokens": [basis.piece(t) for t in (token, minus) if t is not None],
        "centroid_cosine": cluster.centroid_cosine,
        "seed": str(pool.projection.neuron(cluster.seed)),
        "seed_place": cluster.seed_place,
        "seeds_tried": cluster.seeds_tried,
        "exhaustive": cluster.exhaustive,
    }
    return _Found(list(cluster.rows), [{"score": cosine} for cosine in cluster.cosines], how)


def _words(basis: TokenBasis, concept: Concept, options: FindOptions) -> Words:
    """The concept's words as the method matches them."""
    words = look_up_concept(basis, concept)
    if options.method == "keywords" and options.match == "substring":
        return containing(basis, concept.words, except_words=concept.stop_words)
    return words


def _concept_token(words: Words) -> int:
    """The token whose output embedding stands for the concept: its own word, else the first synonym that is a token."""
    return next(iter(words.found.values()))[0]


def _word_evidence(basis: TokenBasis, words: Words) -> dict[str, Any]:
    found = {word: [basis.piece(token) for token in tokens] for word, tokens in words.found.items()}
    return {"found": found, "missing": list(words.missing)}


def _neuron_evidence(
    projection: Projection, basis: TokenBasis, neuron: Neuron, words: Words, antonyms: Words
) -> dict[str, Any]:
    top = projection.top(neuron, listed(projection))
    return {
        "tokens": [[basis.label(token), round(score, 6)] for token, score in top[:_SHOWN_TOKENS]],
        "hits": _among(basis, top, words.ids),
        "antonyms": _among(basis, top, antonyms.ids),
        "action_share": sum(basis.is_action(token) for token, _ in top) / len(top),
    }


def _among(basis: TokenBasis, top: Sequence[tuple[int, float]], wanted: Collection[int]) -> list[str]:
    return [basis.label(token) for token, _ in top if token in wanted]


def _summary(pool: Pool, basis: TokenBasis, entries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of the feature as a whole, beside the same figure over all neurons that were looked at."""
    projection, n = pool.projection, listed(pool.projection)
    shares = np.concatenate([projection.share(key, basis.action_ids, n) for key in projection.keys])
    return {
        "listed_tokens": n,
        "action_share": float(np.mean([entry["action_share"] for entry in entries])),
        "action_share_of_all": float(shares.mean()),
        "neurons_with_action_tokens": sum(entry["action_share"] > 0 for entry in entries),
        "neurons_with_antonyms": sum(bool(entry["antonyms"]) for entry in entries),
    }
