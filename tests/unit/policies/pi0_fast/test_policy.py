"""What Pi0-FAST does with a checkpoint: length of answers, offsets, batches, unusable observations."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from altered import edit_json
from tiny_pi import ACTION, CHUNK, write_pi0_fast

from vlasteer.errors import ObservationError
from vlasteer.policies.pi0_fast import load
from vlasteer.policies.pi0_fast.network import FastInputs, Pi0FastNetwork
from vlasteer.policies.pi0_fast.policy import Pi0FastPolicy


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pi0_fast(tmp_path_factory.mktemp("pi0_fast") / "lerobot")


@pytest.fixture(scope="module")
def policy(checkpoint: Path) -> Pi0FastPolicy:
    return load(checkpoint, "tiny", device="cpu")


def saying(policy: Pi0FastPolicy, monkeypatch: pytest.MonkeyPatch, answers: list[list[int]]) -> None:
    """Let the network say these ids, whatever it sees; all of one length."""

    def generate(self: Pi0FastNetwork, inputs: FastInputs, rows: Any, **_: Any) -> Any:
        from vlasteer.policies.pi0_fast.network import Decoded

        ids = torch.tensor(answers[: len(inputs.ids)])
        return Decoded(ids, torch.zeros(ids.shape))

    monkeypatch.setattr(Pi0FastNetwork, "generate", generate)


def framed(policy: Pi0FastPolicy, actions: np.ndarray) -> list[int]:
    tokens = policy.action_tokens
    return [*policy.tokenizer.ids("Action: "), *tokens.language_ids(policy.codec.encode(actions)), tokens.end]


def test_an_answer_becomes_a_chunk_of_the_trained_length(
    policy: Pi0FastPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    # n_action_steps is 2 in this checkpoint; decoded with it, coefficients would land in other places.
    wanted = np.random.default_rng(0).uniform(-1, 1, (CHUNK, ACTION))
    ids = framed(policy, wanted)
    saying(policy, monkeypatch, [[*ids, 5, 5]])
    chunk = policy.act(policy.example())
    assert chunk.token_ids.tolist() == ids
    assert (chunk.normalized.shape, chunk.non_action_tokens) == ((CHUNK, ACTION), 0)
    assert np.abs(chunk.normalized - wanted).max() < 0.5
    assert np.array_equal(chunk.normalized, policy.codec.decode(policy.codec.encode(wanted), CHUNK, ACTION))
    statistics = policy.settings.checkpoint.action
    np.testing.assert_allclose(chunk.actions, statistics.unnormalize(chunk.normalized), atol=1e-12)


def test_an_answer_without_action_tokens_is_at_rest_and_counted(
    policy: Pi0FastPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    nonsense = policy.tokenizer.ids("hello")
    segment = policy.tokenizer.rows - 1  # a negative codec id
    saying(policy, monkeypatch, [[*nonsense, segment]])
    chunk = policy.act(policy.example())
    assert chunk.non_action_tokens == len(nonsense) + 1
    assert not chunk.normalized.any()


def test_generation_ends_with_the_end_or_the_limit(policy: Pi0FastPolicy) -> None:
    inputs = policy.inputs([policy.example(i) for i in range(3)])
    free = policy.network.generate(inputs, [0, 0, 0], end=-1)
    assert free.ids.shape == (3, policy.settings.decoding_steps)
    # Whatever the first row says third ends its answer; the others go on until they have said it too.
    end = int(free.ids[0, 2])
    first = free.ids[0].tolist().index(end)
    alone = policy.network.generate(FastInputs(*(part[:1] for part in inputs)), [0], end=end)
    assert alone.ids.shape == (1, first + 1)
    together = policy.network.generate(inputs, [0, 0, 0], end=end)
    assert torch.equal(together.ids, free.ids[:, : together.ids.shape[1]])


def test_relative_joints_get_the_state_of_the_observation(tmp_path: Path) -> None:
    folder = write_pi0_fast(tmp_path / "copy")
    edit_json(folder / "policy_postprocessor.json", {"steps.1.config.enabled": True})
    policy = load(folder, "copy", device="cpu")
    observation = policy.example()
    assert observation.state is not None
    chunk = policy.act(observation)
    offsets = chunk.actions - policy.settings.checkpoint.action.unnormalize(chunk.normalized)
    np.testing.assert_allclose(offsets, np.tile(observation.state[:ACTION], (CHUNK, 1)), atol=1e-12)


def test_the_state_is_part_of_the_prompt(policy: Pi0FastPolicy) -> None:
    plain = policy.example()
    assert plain.state is not None
    moved = replace(plain, state=plain.state + 0.5)
    assert not torch.equal(policy.inputs([plain]).ids, policy.inputs([moved]).ids)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": {}}, "no image from camera 'image'"),
        ({"state": None}, "has no state.*--state"),
        ({"instruction": "very " * 40}, "tokens. Expected at most 100"),
    ],
)
def test_unusable_observations(policy: Pi0FastPolicy, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ObservationError, match=message):
        policy.act(replace(policy.example(), **change))


def test_token_basis(policy: Pi0FastPolicy) -> None:
    basis = policy.anatomy.token_basis
    action = policy.action_tokens.language_ids([7])[0]
    assert basis.is_action(action)
    assert basis.label(action).startswith("<fast 7: ")
    assert basis.piece(action) == "<loc1016>"
    assert [basis.piece(token) for token in basis.ids_of("fast")] == ["▁fast", "fast", "Fast"]
    assert basis.ids_of("nowhere") == ()
    assert basis.matrix.data_ptr() == policy.network.native.lm_head.weight.data_ptr()
    norm = policy.network.native.model.language_model.norm.weight
    assert torch.equal(basis.norm_gain, 1 + norm)
