"""Feature packs: round trips, hand-written ones, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys import LAYERS, WIDTH, ToyPolicy

from vlasteer.anatomy import Neuron
from vlasteer.errors import FeaturePackError, OutputError, SteeringError, UnknownNameError
from vlasteer.steering import Feature, FeaturePack, Operator, WeightedNeuron
from vlasteer.steering.packs import parse_neuron

POLICY = ToyPolicy()
ANATOMY = POLICY.anatomy


def load(path: Path, document: object) -> FeaturePack:
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return FeaturePack.load(path, ANATOMY, "toy-hash")


def pack(**checkpoint: str) -> dict:
    return {"format": "vlasteer-feature-pack/1", "checkpoint": checkpoint, "features": {"fast": [[1, 3]]}}


def test_a_pack_survives_its_file(tmp_path: Path) -> None:
    feature = Feature(
        "fast",
        (WeightedNeuron(Neuron("vlm", 0, 1), 0.5, {0.0: -1.0, 0.99: 3.25}), WeightedNeuron(Neuron("vlm", 2, 31))),
        Operator.ADD,
        "decode",
        {"method": "keywords", "words": ["fast", "快"]},
    )
    FeaturePack({"fast": feature}, "toy-hash", "toy").save(tmp_path / "deep" / "pack.json")
    again = FeaturePack.load(tmp_path / "deep" / "pack.json", ANATOMY, "toy-hash")
    assert again["fast"] == feature
    assert again["fast"].evidence == feature.evidence
    assert (again.checkpoint_hash, again.checkpoint_name) == ("toy-hash", "toy")


def test_every_way_of_writing_a_neuron_means_the_same(tmp_path: Path) -> None:
    flat = 1 * WIDTH + 3
    for written in ("vlm:1:3", "1:3", [1, 3], ["vlm", 1, 3], flat, str(flat), {"neuron": "1:3"}):
        document = pack() | {"features": {"fast": {"neurons": [written]}}}
        assert load(tmp_path / "p.json", document)["fast"] == Feature.of("fast", [Neuron("vlm", 1, 3)])


@given(st.integers(0, LAYERS * WIDTH - 1))
def test_flat_ids_and_neurons_are_one_to_one(flat: int) -> None:
    assert ANATOMY.flat(ANATOMY.unflat(flat)) == flat


@pytest.mark.parametrize(
    "bad", [-1, LAYERS * WIDTH, "9:0", f"0:{WIDTH}", "expert:0:0", "a:b", "1:2:3:4", True, None, [], 1.5]
)
def test_neurons_that_do_not_exist_are_refused(bad: object) -> None:
    with pytest.raises((SteeringError, UnknownNameError)):
        parse_neuron(bad, ANATOMY)


def test_a_foreign_pack_is_refused_and_an_unbound_one_is_not(tmp_path: Path) -> None:
    assert "fast" in load(tmp_path / "p.json", pack())
    assert "fast" in load(tmp_path / "p.json", pack(hash="toy-hash"))
    with pytest.raises(FeaturePackError, match="another checkpoint"):
        load(tmp_path / "p.json", pack(hash="other", name="openvla"))


@pytest.mark.parametrize(
    "document",
    ["{", "[]", {"format": "other"}, pack() | {"features": {}}, pack() | {"features": {"f": {"neurons": "all"}}}],
)
def test_malformed_packs_are_refused(tmp_path: Path, document: object) -> None:
    with pytest.raises(FeaturePackError):
        load(tmp_path / "p.json", document)


def test_missing_files_and_unwritable_places(tmp_path: Path) -> None:
    with pytest.raises(FeaturePackError, match="vlasteer find"):
        FeaturePack.load(tmp_path / "none.json", ANATOMY, "toy-hash")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        FeaturePack({}, "", "").save(tmp_path / "file" / "pack.json")


def test_an_unknown_feature_names_the_closest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'fast'"):
        FeaturePack({"fast": Feature.of("fast", [Neuron("vlm", 0, 0)])})["fats"]
