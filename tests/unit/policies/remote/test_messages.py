"""Server information and chunks survive the wire; what is none is refused."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from serving import FEATURES, info
from toys import SPEC

from vlasteer.errors import VlasteerError
from vlasteer.policies.remote.codec import pack, unpack
from vlasteer.policies.remote.messages import ServerInfo, chunk_document, read_chunk
from vlasteer.steering import Quantile, Steering
from vlasteer.steering.features import WeightedNeuron
from vlasteer.types import ActionChunk


def test_server_information_survives_the_wire() -> None:
    told = info(action_spec=replace(SPEC, rate_hz=math.inf), world="libero_goal")
    assert ServerInfo.read(unpack(pack(told.document()))) == told


def test_a_feature_in_quantiles_keeps_its_unit() -> None:
    neurons = tuple(
        WeightedNeuron(item.neuron, 1.0, {0.5: 0.0, 0.99: float(i)}) for i, item in enumerate(FEATURES["up"].neurons)
    )
    steering = Steering.of(replace(FEATURES["up"], neurons=neurons), Quantile(0.99, -2.0))
    term = ServerInfo.read(unpack(pack(info(steering).document()))).steering.term("up")
    assert term.coefficient == Quantile(0.99, -2.0)
    assert term.targets() == (0.0, 1.0)


@pytest.mark.parametrize("change", [{"vlasteer": 2}, {"features": [1]}, {"cameras": 3}, {"action_spec": {}}], ids=str)
def test_other_metadata_is_refused(change) -> None:
    with pytest.raises(VlasteerError):
        ServerInfo.read(info().document() | change)


def test_an_openpi_servers_metadata_is_named() -> None:
    with pytest.raises(VlasteerError, match=r"no vlasteer server.*reset_pose"):
        ServerInfo.read({"reset_pose": [0, 1]})


def test_a_chunk_survives_the_wire() -> None:
    actions = np.random.default_rng(0).normal(size=(5, 7))
    chunk = ActionChunk(actions, SPEC, actions / 2, np.array([4, 5]), 1, 2.5, 0.1, {"fast": 8.0, "up": None})
    read = read_chunk(unpack(pack(chunk_document(chunk))), inference_s=0.3)
    np.testing.assert_array_equal(read.actions, chunk.actions)
    np.testing.assert_array_equal(read.normalized, chunk.normalized)
    np.testing.assert_array_equal(read.token_ids, chunk.token_ids)
    assert (read.spec, read.applied, read.non_action_tokens) == (chunk.spec, chunk.applied, 1)
    assert (read.observed_at_s, read.inference_s) == (2.5, 0.3)


def test_an_answer_without_actions_is_refused() -> None:
    with pytest.raises(VlasteerError, match="answer cannot be read"):
        read_chunk({"error": 1}, inference_s=0.0)
