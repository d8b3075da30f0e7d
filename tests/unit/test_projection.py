"""Projection: options, accessors, refusals, and the reference values of the original implementations."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_vocabulary import openvla_anatomy, pi0_anatomy, word_anatomy

from vlasteer.anatomy import Anatomy, Neuron, SiteKey
from vlasteer.errors import CheckpointError, ConfigError, UnknownNameError
from vlasteer.projection import ProjectionOptions, dropped_tokens, project

FAST = Neuron("vlm", 1, 7)
UP = Neuron("vlm", 3, 0)


@pytest.fixture(scope="module")
def anatomy() -> Anatomy:
    return word_anatomy({FAST: ("▁fast", "fast", "▁quick", "▁rapid"), UP: ("▁up", "▁lift")})


def pieces(anatomy: Anatomy, neuron: Neuron, n: int, options: ProjectionOptions | None = None) -> list[str]:
    return [anatomy.token_basis.piece(token) for token, _ in project(anatomy, options).top(neuron, n)]


@pytest.mark.parametrize("fold", [False, True])
@pytest.mark.parametrize("kind", ["openvla", "pi0"])
def test_values_of_the_original_implementations(shared: Path, kind: str, fold: bool) -> None:
    folder = shared / "fixtures" / f"{kind}-tiny"
    anatomy = openvla_anatomy(folder) if kind == "openvla" else pi0_anatomy(folder)
    reference = np.load(shared / "fixtures" / "refs" / f"{kind}.npz", allow_pickle=False)
    variant = "gamma" if fold else "raw"
    projection = project(anatomy, ProjectionOptions(top_k=30, fold_norm=fold))
    for i, (layer, index) in enumerate(reference["value_pairs"]):
        key = SiteKey("vlm", int(layer))
        np.testing.assert_array_equal(projection.ids[key][index], reference[f"value_{variant}_top30_ids"][i])
        np.testing.assert_allclose(
            projection.scores[key][index], reference[f"value_{variant}_top30_logits"][i], atol=1e-5, rtol=0
        )


def test_planted_value_vectors_list_their_words(shared: Path) -> None:
    folder = shared / "fixtures"
    anatomy = openvla_anatomy(folder / "openvla-tiny")
    projection = project(anatomy)
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    for planted in manifest["openvla"]["planted_value_vectors"]:
        neuron = Neuron("vlm", planted["layer"], planted["neuron"])
        listed = [anatomy.token_basis.piece(token) for token, _ in projection.top(neuron)]
        assert set(planted["tokens"]) <= set(listed)


def test_accessors_agree_with_the_arrays(anatomy: Anatomy) -> None:
    projection = project(anatomy, ProjectionOptions(top_k=12), checkpoint_hash="h")
    words = set(anatomy.token_basis.ids_of("fast"))
    assert len(projection) == 160
    assert projection.checkpoint_hash == "h"
    assert projection.weights == "float32"
    assert FAST in projection.listing(words)
    for neuron in projection.listing(words, 3):
        assert words & {token for token, _ in projection.top(neuron, 3)}
    key = SiteKey("vlm", 1)
    expected = [len(words & set(row[:5].tolist())) for row in projection.ids[key]]
    np.testing.assert_array_equal(projection.count(key, words, 5), expected)
    np.testing.assert_allclose(projection.share(key, words, 5), np.array(expected) / 5)
    stacked = projection.stacked_ids(4)
    for row in (0, 39, 40, 47, 159):
        neuron = projection.neuron(row)
        assert stacked[row].tolist() == [token for token, _ in projection.top(neuron, 4)]


def test_restricting_keeps_some_sites_only(anatomy: Anatomy) -> None:
    part = project(anatomy).restricted([SiteKey("vlm", 3)])
    assert part.keys == (SiteKey("vlm", 3),)
    assert part.neuron(0) == UP
    with pytest.raises(UnknownNameError):
        part.top(FAST)


def test_sites_can_be_chosen_and_progress_is_reported(anatomy: Anatomy) -> None:
    seen: list[tuple[int, int]] = []
    projection = project(anatomy, sites=[anatomy.site("vlm", 3)], progress=lambda done, of: seen.append((done, of)))
    assert projection.keys == (SiteKey("vlm", 3),)
    assert seen == [(40, 40)]


def test_storage_in_bfloat16_gives_the_exact_order_of_the_stored_numbers() -> None:
    stored = word_anatomy({}, dtype=torch.bfloat16)
    upcast = word_anatomy({}, dtype=torch.bfloat16)
    for site in upcast.sites:
        upcast.mlp(site).float()
    upcast.token_basis.matrix = upcast.token_basis.matrix.float()
    a, b = project(stored), project(upcast)
    for key in a.keys:
        np.testing.assert_array_equal(a.ids[key], b.ids[key])
        np.testing.assert_array_equal(a.scores[key], b.scores[key])


def test_folding_the_norm_changes_what_a_neuron_reads_as() -> None:
    anatomy = word_anatomy({})
    anatomy.token_basis.norm_gain = torch.rand(64) * 2
    vectors, matrix = anatomy.value_vectors(anatomy.site("vlm", 0)), anatomy.token_basis.matrix
    expected = ((vectors * anatomy.token_basis.norm_gain) @ matrix.T).topk(30, dim=1)
    folded = project(anatomy, ProjectionOptions(fold_norm=True))
    np.testing.assert_allclose(folded.scores[SiteKey("vlm", 0)], expected.values, rtol=1e-4)
    assert not np.array_equal(folded.ids[SiteKey("vlm", 0)], project(anatomy).ids[SiteKey("vlm", 0)])


def test_dropped_tokens_never_appear_and_action_tokens_always_count() -> None:
    anatomy = word_anatomy({FAST: ("▁fast", "▁quick")})
    basis = anatomy.token_basis
    basis.undefined_ids = (basis.ids_of("quick")[0], basis.action_ids[0])
    # Three hardly trained tokens: close to the mean of all.
    rare = [15, 16, 200]
    basis.matrix[rare] = basis.matrix.mean(0) + 0.01 * torch.randn(3, basis.matrix.shape[1])
    assert dropped_tokens(basis, "nothing") == ()
    assert dropped_tokens(basis, "undefined") == (basis.undefined_ids[0],)
    assert dropped_tokens(basis, "rare") == tuple(sorted([*rare, basis.undefined_ids[0]]))
    assert "▁quick" in pieces(anatomy, FAST, 2)
    assert "▁quick" not in pieces(anatomy, FAST, 30, ProjectionOptions(drop="undefined"))


def test_streams_without_vocabulary_are_refused_by_name(shared: Path) -> None:
    anatomy = pi0_anatomy(shared / "fixtures" / "pi0-tiny")
    with pytest.raises(ConfigError, match="stream 'expert' has no vocabulary"):
        project(anatomy, sites=anatomy.stream_sites("expert"))
    assert {key.stream for key in project(anatomy).keys} == {"vlm"}


def test_weights_that_are_not_finite_are_refused_with_the_site() -> None:
    anatomy = word_anatomy({})
    anatomy.value_vectors(anatomy.site("vlm", 2))[9, 1] = float("nan")
    with pytest.raises(CheckpointError, match="vector 9 of the value vectors of site vlm:2"):
        project(anatomy)


def test_a_basis_of_another_length_is_refused() -> None:
    anatomy = word_anatomy({})
    anatomy.token_basis.matrix = torch.randn(100, 32)
    with pytest.raises(CheckpointError, match="length 64"):
        project(anatomy)


def test_bad_options_are_refused(anatomy: Anatomy) -> None:
    with pytest.raises(ConfigError):
        ProjectionOptions(top_k=0)
    with pytest.raises(UnknownNameError, match="rare"):
        ProjectionOptions(drop="rar")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match="top-k of 5000"):
        project(anatomy, ProjectionOptions(top_k=5000))
    with pytest.raises(ConfigError, match="1 to 10"):
        project(anatomy, ProjectionOptions(top_k=10)).top(FAST, 11)
