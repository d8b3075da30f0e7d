"""Shares by layer, the four-of-thirty rule, and its false alarms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from toy_vocabulary import make_anatomy, word_anatomy

from vlasteer.anatomy import Anatomy, Neuron, SiteKey
from vlasteer.errors import ConfigError, OutputError
from vlasteer.finding import Lexicon
from vlasteer.inspection import action_shares, interpretable_shares, plot
from vlasteer.patterns import AT_LEAST, OF, Patterns, needed_count
from vlasteer.projection import ProjectionOptions, project

PIECES = [f"▁w{chr(97 + i)}{chr(97 + j)}{chr(97 + k)}" for i in range(20) for j in range(20) for k in range(5)]
CLASSES = {
    "concept": ["▁fast", "▁quick", "▁schnell", "▁rapide"],
    "word": ["▁cup", "cup", "Cup", "CUP"],
    "stem": ["▁internal", "▁interest", "▁interval", "▁interior"],
    "script": ["быть", "ива", "море", "гора"],
    "symbol": ["17", "4", "99", "2001"],
    "action": ["action0", "action1", "action2", "action3"],
}
SPECIAL = [piece for pieces in CLASSES.values() for piece in pieces]
FIRST = len(PIECES)
ACTIONS = tuple(range(FIRST + 20, FIRST + 24))


@pytest.fixture(scope="module")
def patterns() -> Patterns:
    pieces = PIECES + SPECIAL
    anatomy = make_anatomy({}, torch.zeros(len(pieces), 2), pieces=pieces, action_ids=ACTIONS)
    return Patterns(anatomy.token_basis, Lexicon.load())


def listing(special: list[int], seed: int = 0) -> np.ndarray:
    """Thirty tokens, of which the first are special and the others have nothing in common."""
    others = np.random.default_rng(seed).permutation(len(PIECES))
    return np.array([*(FIRST + i for i in special), *others[: OF - len(special)]], np.int32)


@pytest.mark.parametrize("kind", CLASSES)
def test_four_of_a_class_are_a_pattern_and_three_are_not(patterns: Patterns, kind: str) -> None:
    first = 4 * list(CLASSES).index(kind)
    four = patterns.shares(listing([first, first + 1, first + 2, first + 3])[None])
    three = patterns.shares(listing([first, first + 1, first + 2])[None])
    assert four[kind] == 1.0
    assert four["any"] == 1.0
    assert set(three.values()) == {0.0}


def test_four_of_different_classes_are_no_pattern(patterns: Patterns) -> None:
    assert patterns.shares(listing([0, 4, 8, 12, 16, 20])[None])["any"] == 0.0


def test_shares_are_of_the_lists(patterns: Patterns) -> None:
    lists = np.stack([listing([0, 1, 2, 3]), listing([]), listing([16, 17, 18, 19]), listing([0])])
    shares = patterns.shares(lists)
    assert (shares["any"], shares["concept"], shares["symbol"]) == (0.5, 0.25, 0.25)


def test_lists_drawn_at_random_rarely_count(patterns: Patterns) -> None:
    random = np.random.default_rng(1)
    lists = np.stack([random.choice(FIRST + len(SPECIAL), OF, replace=False) for _ in range(3000)]).astype(np.int32)
    assert patterns.shares(lists)["any"] < 0.02


@pytest.mark.parametrize(("share", "needed"), [(0.0, 4), (0.001, 4), (0.1, 10), (0.5, 24), (1.0, 31)])
def test_frequent_classes_need_more(share: float, needed: int) -> None:
    assert needed_count(share, 1e-3) == needed
    draws = np.random.default_rng(0).binomial(OF, share, 200_000)
    assert (draws >= needed).mean() < 2e-3
    if needed > AT_LEAST:
        assert (draws >= needed - 1).mean() > 1e-3


def test_action_shares_by_layer() -> None:
    planted = {Neuron("vlm", 1, i): ("action0", "action1", "action2", "action3", "action4") for i in range(40)}
    anatomy = word_anatomy(planted, hidden=512, fillers=4000)
    projection = project(anatomy, ProjectionOptions(top_k=20))
    result = action_shares(projection, anatomy.token_basis, (5, 10, 20))
    assert result.layers == (0, 1, 2, 3)
    assert result.shares[1, 0] == 1.0
    assert np.all(result.shares[1] >= [1.0, 0.5, 0.25])
    assert result.shares[[0, 2, 3]].max() < 0.03
    assert result.in_vocabulary == pytest.approx(16 / anatomy.token_basis.size)
    for i, key in enumerate(projection.keys):
        assert result.shares[i, 1] == pytest.approx(
            np.isin(projection.ids[key][:, :10], anatomy.token_basis.action_ids).mean()
        )
    header, rows = result.table()
    assert header == ["layer", "top_5", "top_10", "top_20"]
    assert rows[1][:2] == [1, 1.0]
    with pytest.raises(ConfigError, match="1 to 20"):
        action_shares(projection, anatomy.token_basis)


@pytest.fixture(scope="module")
def readable() -> Anatomy:
    """Layer 2 means speed in every second neuron; all else is random."""
    words = ("▁fast", "▁quick", "▁rapid", "▁speed", "▁faster")
    return word_anatomy({Neuron("vlm", 2, i): words for i in range(0, 40, 2)}, hidden=256, fillers=4000)


def test_interpretable_shares_by_layer_beside_the_null(readable: Anatomy) -> None:
    steps: list[tuple[int, int]] = []
    result = interpretable_shares(
        readable, project(readable), null_vectors=100, progress=lambda done, of: steps.append((done, of))
    )
    np.testing.assert_allclose(result.by_kind["concept"], [0, 0, 0.5, 0], atol=0.03)
    assert result.shares[2] >= 0.5
    assert result.null_by_kind["concept"].max() < 0.05
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]
    again = interpretable_shares(readable, project(readable), null_vectors=100)
    np.testing.assert_array_equal(result.null, again.null)
    header, rows = result.table()
    assert header[:3] == ["layer", "any", "any_null"]
    assert [row[0] for row in rows] == [0, 1, 2, 3]
    assert all(len(row) == len(header) for row in rows)


def test_too_few_tokens_are_refused(readable: Anatomy) -> None:
    with pytest.raises(ConfigError, match="4-of-30"):
        interpretable_shares(readable, project(readable, ProjectionOptions(top_k=29)))


def test_plot(readable: Anatomy, tmp_path: Path) -> None:
    from PIL import Image

    projection = project(readable)
    actions = action_shares(projection, readable.token_basis, (10, 30))
    shares = interpretable_shares(readable, projection, null_vectors=20)
    plot(actions, shares, tmp_path / "plot.png", "title")
    with Image.open(tmp_path / "plot.png") as image:
        pixels = np.asarray(image.convert("RGB"))
    assert min(pixels.shape[:2]) > 400
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20
    with pytest.raises(OutputError):
        plot(actions, shares, tmp_path / "absent" / "plot.png")


def test_restricted_sites_keep_their_layer_numbers(readable: Anatomy) -> None:
    part = project(readable).restricted([SiteKey("vlm", 2), SiteKey("vlm", 3)])
    assert action_shares(part, readable.token_basis, (10,)).layers == (2, 3)
    assert interpretable_shares(readable, part, null_vectors=5).layers == (2, 3)
