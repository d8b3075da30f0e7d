"""Finding planted neurons by both methods, the filters, and the evidence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from toy_vocabulary import openvla_anatomy, word_anatomy

from vlasteer.anatomy import Anatomy, Neuron, SiteKey
from vlasteer.errors import CheckpointError, ConceptError, ConfigError, UnknownNameError
from vlasteer.finding import FindOptions, Lexicon, find_feature
from vlasteer.projection import Projection, ProjectionOptions, project
from vlasteer.steering import Feature


def wide_anatomy(planted: dict[Neuron, tuple[str, ...]], **options: Any) -> Anatomy:
    """So many directions and tokens that random neurons rarely list a word."""
    return word_anatomy(planted, hidden=512, fillers=8000, **options)


def neuron(layer: int, index: int) -> Neuron:
    return Neuron("vlm", layer, index)


FAST = {
    neuron(0, 3): ("▁fast", "fast", "▁quick", "▁rapid"),
    neuron(1, 5): ("▁fast", "▁Fast", "▁quickly", "▁faster"),
    neuron(2, 7): ("▁fast", "▁speed", "▁faster"),
}
SLOW = {neuron(1, 30): ("▁slow", "▁slowly", "▁slower", "slow"), neuron(3, 1): ("▁slow", "▁gentle", "▁slowly")}
MIXED = {neuron(2, 20): ("▁fast", "▁quick", "▁rapid", "▁speed", "▁slow")}
SPELLING = {neuron(0, 11): ("▁fast", "▁breakfast", "▁steadfast")}
ACTING = {neuron(3, 9): ("▁fast", "▁quick", "▁rapid", "▁faster", "action3")}
ALL = FAST | SLOW | MIXED | SPELLING | ACTING


@pytest.fixture(scope="module")
def anatomy() -> Anatomy:
    return wide_anatomy(ALL)


@pytest.fixture(scope="module")
def projection(anatomy: Anatomy) -> Projection:
    return project(anatomy, ProjectionOptions(top_k=30), checkpoint_hash="h")


def found(feature: Feature) -> set[Neuron]:
    return {item.neuron for item in feature.neurons}


def entry(feature: Feature, which: Neuron) -> dict[str, Any]:
    return next(e for e in feature.evidence["neurons"] if e["neuron"] == str(which))


@pytest.mark.parametrize("concept", ["fast", "slow", "up"])
@pytest.mark.parametrize("method", ["keywords", "semantic"])
def test_planted_neurons_of_the_reference_checkpoint(shared: Path, method: Any, concept: str) -> None:
    anatomy = openvla_anatomy(shared / "fixtures" / "openvla-tiny")
    manifest = json.loads((shared / "fixtures" / "manifest.json").read_text(encoding="utf-8"))
    planted = {
        neuron(item["layer"], item["neuron"])
        for item in manifest["openvla"]["planted_value_vectors"]
        if item["concept"] == concept
    }
    # By chance, layer 0 has neurons that mean nearly the same, so the planted ones are not all of a cluster.
    k = len(planted) if method == "keywords" else 10
    feature = find_feature(anatomy, concept, project(anatomy), FindOptions(method=method, k=k))
    assert planted <= found(feature)


@pytest.mark.parametrize("method", ["keywords", "semantic"])
def test_a_concept_without_tokens_is_refused(anatomy: Anatomy, projection: Projection, method: Any) -> None:
    with pytest.raises(ConceptError, match="tried ▁hastily, hastily"):
        find_feature(anatomy, "hastily", projection, FindOptions(method=method))


def test_keywords_count_words_in_any_form_and_leave_out_antonyms_and_spellings(
    anatomy: Anatomy, projection: Projection
) -> None:
    feature = find_feature(anatomy, "fast", projection, FindOptions(k=4))
    assert found(feature) == FAST.keys() | ACTING.keys()
    scores = [item["score"] for item in feature.evidence["neurons"]]
    assert scores == sorted(scores, reverse=True)
    assert {"▁fast", "▁Fast", "▁quickly", "▁faster"} <= set(entry(feature, neuron(1, 5))["hits"])
    assert feature.evidence["left_out"]["antonyms"] >= 1


def test_antonyms_can_be_allowed_and_are_reported(anatomy: Anatomy, projection: Projection) -> None:
    feature = find_feature(anatomy, "fast", projection, FindOptions(k=5, exclude_antonyms=False))
    assert MIXED.keys() <= found(feature)
    assert entry(feature, neuron(2, 20))["antonyms"] == ["▁slow"]
    assert feature.evidence["neurons_with_antonyms"] == 1


def test_neurons_that_share_a_spelling_are_left_out_whatever_k(anatomy: Anatomy, projection: Projection) -> None:
    feature = find_feature(anatomy, "fast", projection, FindOptions(k=160, top_n=5, exclude_antonyms=False))
    assert not SPELLING.keys() & found(feature)
    words = Lexicon.load()
    assert "breakfast" in words.concept("fast").stop_words


def test_neurons_that_list_action_tokens_can_be_left_out(anatomy: Anatomy, projection: Projection) -> None:
    with_them = find_feature(anatomy, "fast", projection, FindOptions(k=4))
    assert entry(with_them, neuron(3, 9))["action_share"] > 0
    without = find_feature(anatomy, "fast", projection, FindOptions(k=4, exclude_action_tokens=True))
    assert not ACTING.keys() & found(without)
    assert all(item["action_share"] == 0 for item in without.evidence["neurons"])


def test_substrings_match_inflections_that_the_lexicon_does_not_list(tmp_path: Path) -> None:
    anatomy = wide_anatomy({neuron(0, 0): ("▁upward", "upward", "▁Upward")})
    lexicon = tmp_path / "lexicon.json"
    lexicon.write_text(json.dumps({"format": "vlasteer-lexicon/1", "concepts": {"upwa": {"words": ["upwa", "the"]}}}))
    projection = project(anatomy)
    options = FindOptions(k=1, match="substring")
    feature = find_feature(anatomy, "upwa", projection, options, lexicon=Lexicon.load(lexicon))
    assert found(feature) == {neuron(0, 0)}


def test_semantic_clusters_are_the_neurons_that_mean_alike(anatomy: Anatomy, projection: Projection) -> None:
    feature = find_feature(anatomy, "slow", projection, FindOptions(method="semantic", k=2))
    assert found(feature) == SLOW.keys()
    evidence = feature.evidence
    assert evidence["concept_tokens"] == ["▁slow"]
    assert evidence["centroid_cosine"] > 0.5
    assert evidence["exhaustive"] is True
    assert [item["score"] for item in evidence["neurons"]] == sorted(
        (item["score"] for item in evidence["neurons"]), reverse=True
    )


def test_a_contrast_of_keywords_prefers_what_only_the_first_concept_has(
    anatomy: Anatomy, projection: Projection
) -> None:
    options = FindOptions(k=3, exclude_antonyms=False, exclude_action_tokens=True)
    feature = find_feature(anatomy, "fast", projection, options, minus="slow")
    assert feature.name == "fast-slow"
    assert feature.evidence["minus"] == "slow"
    assert "slow" in feature.evidence["minus_words"]["found"]
    assert found(feature) == FAST.keys()
    assert entry(feature, neuron(0, 3))["score"] == len(entry(feature, neuron(0, 3))["hits"])


def test_a_contrast_of_meanings_puts_what_has_both_between_what_has_one(
    anatomy: Anatomy, projection: Projection
) -> None:
    everything = FindOptions(method="semantic", k=len(projection))
    feature = find_feature(anatomy, "fast", projection, everything, minus="slow", name="pace")
    assert feature.name == "pace"
    assert feature.evidence["concept_tokens"] == ["▁fast", "▁slow"]
    scores = {which: entry(feature, which)["score"] for which in FAST | MIXED | SLOW}
    assert min(scores[which] for which in FAST) > scores[neuron(2, 20)] + 0.1
    assert max(scores[which] for which in SLOW) < scores[neuron(2, 20)] - 0.1


@pytest.mark.parametrize(("depth", "layers"), [("early", {0, 1}), ("late", {2, 3}), ("full", {0, 1, 2, 3})])
@pytest.mark.parametrize("method", ["keywords", "semantic"])
def test_depth(anatomy: Anatomy, projection: Projection, method: Any, depth: Any, layers: set[int]) -> None:
    options = FindOptions(method=method, k=40, depth=depth, exclude_antonyms=False)
    assert {n.layer for n in found(find_feature(anatomy, "fast", projection, options))} == layers


@pytest.mark.parametrize("method", ["keywords", "semantic"])
def test_layers_that_reach_no_action_are_left_out_unless_asked_for(method: Any) -> None:
    anatomy = wide_anatomy(FAST, unreachable=[SiteKey("vlm", 2)])
    projection = project(anatomy)
    options = FindOptions(method=method, k=2)
    assert found(find_feature(anatomy, "fast", projection, options)) <= FAST.keys() - {neuron(2, 7)}
    options = FindOptions(method=method, k=3, unreachable=True)
    assert found(find_feature(anatomy, "fast", projection, options)) == FAST.keys()


@pytest.mark.parametrize("method", ["keywords", "semantic"])
def test_equal_neurons_come_by_layer_and_index(method: Any) -> None:
    twins = [neuron(2, 9), neuron(0, 31), neuron(0, 4), neuron(1, 0)]
    anatomy = wide_anatomy(dict.fromkeys(twins, ("▁fast", "▁quick", "▁rapid")))
    feature = find_feature(anatomy, "fast", project(anatomy), FindOptions(method=method, k=4, top_n=3))
    assert [item.neuron for item in feature.neurons] == sorted(twins)
    two = find_feature(anatomy, "fast", project(anatomy), FindOptions(method=method, k=2, top_n=3))
    assert [item.neuron for item in two.neurons] == sorted(twins)[:2]


def test_the_evidence_is_json_and_complete(anatomy: Anatomy, projection: Projection) -> None:
    for method in ("keywords", "semantic"):
        feature = find_feature(anatomy, "fast", projection, FindOptions(method=method, k=3), minus="slow")
        evidence = json.loads(json.dumps(dict(feature.evidence), allow_nan=False))
        assert evidence == dict(feature.evidence)
        assert evidence["method"] == method
        assert evidence["options"]["k"] == 3
        assert evidence["projection"] == {"top_k": 30, "fold_norm": False, "centre": False, "drop": "nothing"}
        assert evidence["words"]["found"]["fast"] == ["▁fast", "fast", "▁Fast"]
        assert "hurry" in evidence["words"]["missing"]
        assert 0 <= evidence["action_share"] <= 1
        for item in evidence["neurons"]:
            assert len(item["tokens"]) == 10
            assert {"neuron", "score", "tokens", "hits", "antonyms", "action_share"} <= item.keys()


def test_what_cannot_be_found_is_said(anatomy: Anatomy, projection: Projection) -> None:
    with pytest.raises(ConceptError, match="top 1 tokens"):
        find_feature(anatomy, "yellow", projection, FindOptions(top_n=1, exclude_antonyms=False, depth="early"))
    with pytest.raises(ConfigError, match="at most 30"):
        find_feature(anatomy, "fast", projection, FindOptions(top_n=31))
    with pytest.raises(ConfigError, match="cluster of 1000"):
        find_feature(anatomy, "fast", projection, FindOptions(method="semantic", k=1000))
    with pytest.raises(CheckpointError, match="vocabulary"):
        find_feature(anatomy, "fast", project(openvla_like()))


def openvla_like() -> Anatomy:
    anatomy = word_anatomy({})
    anatomy.token_basis.matrix = torch.randn(999, 64)
    return anatomy


@pytest.mark.parametrize(
    "options", [{"method": "keyword"}, {"depth": "deep"}, {"match": "exact"}, {"k": 0}, {"top_n": 0}, {"seeds": 0}]
)
def test_bad_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises((UnknownNameError, ConfigError)):
        FindOptions(**options)
