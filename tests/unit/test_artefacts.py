"""Kept projections: reused only when everything matches, made anew when damaged."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_vocabulary import word_anatomy

from vlasteer import artefacts
from vlasteer.anatomy import Anatomy
from vlasteer.artefacts import ArtefactWarning, load_or_project
from vlasteer.projection import Projection, ProjectionOptions, project

OPTIONS = ProjectionOptions(top_k=7)


@pytest.fixture
def anatomy() -> Anatomy:
    return word_anatomy({})


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[ProjectionOptions]:
    """Options of every projection that is really computed."""
    computed: list[ProjectionOptions] = []

    def watched(anatomy: Anatomy, options: ProjectionOptions, **further: object) -> Projection:
        computed.append(options)
        return project(anatomy, options, **further)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(artefacts, "project", watched)
    warnings.simplefilter("error", ArtefactWarning)
    return computed


def files(folder: Path) -> list[str]:
    return sorted(path.suffix for path in folder.iterdir())


def test_the_second_time_it_is_read(anatomy: Anatomy, made: list[ProjectionOptions], tmp_path: Path) -> None:
    first = load_or_project(anatomy, OPTIONS, checkpoint_hash="abc", folder=tmp_path)
    second = load_or_project(anatomy, OPTIONS, checkpoint_hash="abc", folder=tmp_path)
    assert made == [OPTIONS]
    assert files(tmp_path) == [".json", ".safetensors"]
    assert (second.options, second.vocabulary, second.weights) == (OPTIONS, first.vocabulary, "float32")
    assert second.checkpoint_hash == "abc"
    assert second.keys == first.keys
    for key in first.keys:
        np.testing.assert_array_equal(first.ids[key], second.ids[key])
        np.testing.assert_array_equal(first.scores[key], second.scores[key])
        assert second.ids[key].dtype == np.int32
        assert second.scores[key].dtype == np.float32


def test_anything_else_is_made_anew(
    anatomy: Anatomy, made: list[ProjectionOptions], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_or_project(anatomy, OPTIONS, checkpoint_hash="abc", folder=tmp_path)
    load_or_project(anatomy, OPTIONS, checkpoint_hash="abd", folder=tmp_path)
    for changed in (
        ProjectionOptions(top_k=8),
        ProjectionOptions(top_k=7, fold_norm=True),
        ProjectionOptions(top_k=7, centre=True),
        ProjectionOptions(top_k=7, drop="rare"),
    ):
        load_or_project(anatomy, changed, checkpoint_hash="abc", folder=tmp_path)
    load_or_project(anatomy, OPTIONS, checkpoint_hash="abc", sites=anatomy.sites[:1], folder=tmp_path)
    half = word_anatomy({}, dtype=torch.bfloat16)
    load_or_project(half, OPTIONS, checkpoint_hash="abc", folder=tmp_path)
    assert len(made) == 8
    monkeypatch.setattr(artefacts, "FORMAT", "vlasteer-projection/2")
    load_or_project(anatomy, OPTIONS, checkpoint_hash="abc", folder=tmp_path)
    assert len(made) == 9


@pytest.mark.parametrize("damage", ["truncated", "flipped", "absent", "no json", "other options"])
def test_a_damaged_one_is_made_anew_with_a_warning(
    anatomy: Anatomy, made: list[ProjectionOptions], tmp_path: Path, damage: str
) -> None:
    first = load_or_project(anatomy, OPTIONS, checkpoint_hash="abc", folder=tmp_path)
    data, description = next(tmp_path.glob("*.safetensors")), next(tmp_path.glob("*.json"))
    content = bytearray(data.read_bytes())
    if damage == "truncated":
        data.write_bytes(content[:-100])
    elif damage == "flipped":
        content[-5] ^= 1
        data.write_bytes(content)
    elif damage == "absent":
        data.unlink()
    elif damage == "no json":
        description.write_text('{"format": ')
    else:
        document = json.loads(description.read_text())
        document["options"]["fold_norm"] = True
        description.write_text(json.dumps(document))
    with pytest.warns(ArtefactWarning, match="made anew"):
        second = load_or_project(anatomy, OPTIONS, checkpoint_hash="abc", folder=tmp_path)
    assert len(made) == 2
    for key in first.keys:
        np.testing.assert_array_equal(first.ids[key], second.ids[key])
    load_or_project(anatomy, OPTIONS, checkpoint_hash="abc", folder=tmp_path)
    assert len(made) == 2
    assert files(tmp_path) == [".json", ".safetensors"]


def test_a_place_that_cannot_be_written_only_warns(
    anatomy: Anatomy, made: list[ProjectionOptions], tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.warns(ArtefactWarning, match="VLASTEER_CACHE"):
        projection = load_or_project(anatomy, OPTIONS, checkpoint_hash="abc", folder=blocked / "projections")
    assert len(projection) == 160


def test_without_a_checkpoint_hash_nothing_is_kept(
    anatomy: Anatomy, made: list[ProjectionOptions], tmp_path: Path
) -> None:
    load_or_project(anatomy, OPTIONS, checkpoint_hash="", folder=tmp_path)
    load_or_project(anatomy, OPTIONS, checkpoint_hash="", folder=tmp_path)
    assert len(made) == 2
    assert files(tmp_path) == []


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VLASTEER_CACHE", str(tmp_path / "c"))
    load_or_project(word_anatomy({}), OPTIONS, checkpoint_hash="abc")
    assert files(tmp_path / "c" / "projections") == [".json", ".safetensors"]
