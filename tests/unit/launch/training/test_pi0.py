"""The Pi0 organism: what is trained is what the adapter runs, and its folder is one that the adapter reads."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from vlasteer.envs.tabletop.language import instruction
from vlasteer.envs.tabletop.manner import MANNERS
from vlasteer.envs.tabletop.simulation import ACTION_SPEC
from vlasteer.envs.tabletop.splits import HELD_OUT, TRAIN
from vlasteer.envs.tabletop.tasks import TaskKind, tasks_of
from vlasteer.launch.training import pi0_network
from vlasteer.launch.training.corpus import Vocabulary
from vlasteer.launch.training.demonstrations import Demonstrations, shrink
from vlasteer.launch.training.pi0_acting import Pi0Learner
from vlasteer.launch.training.recipe import Recipe
from vlasteer.launch.training.vision import VisionTargets
from vlasteer.policies.pi0.network import native_key
from vlasteer.policies.pi0.policy import Pi0Policy
from vlasteer.policies.pi_family.checkpoint import Resize
from vlasteer.policies.pi_family.images import pixel_values
from vlasteer.types import Observation

RECIPE = replace(
    Recipe(), kind="pi0", image_size=48, towers=(16, 16), hidden=32, ffn=64, expert=16, expert_ffn=32, batch=4
)
VOCABULARY = Vocabulary.paligemma()


@pytest.fixture
def shown() -> Demonstrations:
    rng, count = np.random.default_rng(0), 12
    return Demonstrations(
        images=rng.integers(0, 256, (count, 48, 48, 3), dtype=np.uint8),
        tcp=rng.normal(scale=0.05, size=(count, 3)).astype(np.float32),
        cubes=np.zeros(count, np.int8),
        bins=np.tile(np.array([1, 2, 3], np.int8), (count, 1)),
        places=rng.normal(scale=0.05, size=(count, 3, 2)).astype(np.float32),
        actions=rng.uniform(-1, 1, (count, 3, 9, 7)).astype(np.float32),
        usable=np.ones((count, 3), bool),
    )


@pytest.fixture
def learner(tmp_path: Path, shown: Demonstrations) -> Pi0Learner:
    pi0_network.write_documents(tmp_path, RECIPE, VOCABULARY, shown)
    network = pi0_network.build(tmp_path, 0)
    with torch.no_grad():
        patches = pi0_network.SiglipPatches(network.native.model.vlm.vision_tower)(pi0_network.pixels_of(shown.images))
    made = Pi0Learner(network, VOCABULARY, shown, patches, VisionTargets.of(shown), RECIPE)
    made.network = network  # pyright: ignore[reportAttributeAccessIssue]
    return made


def test_the_tokenizer_reads_prompts_as_training_does() -> None:
    tokenizer = Tokenizer.from_str(json.dumps(VOCABULARY.tokenizer()))
    assert tokenizer.get_vocab_size() == len(VOCABULARY)
    rng, longest = np.random.default_rng(0), 0
    for split in (TRAIN, HELD_OUT):
        tasks = tasks_of(TaskKind.TRANSPORT, split)
        for i in range(300):
            text = instruction(tasks[i % len(tasks)], rng, split, MANNERS[i % 9]) + "\n"
            ids = tokenizer.encode(text, add_special_tokens=False).ids
            assert ids == VOCABULARY.encode(text)
            assert ids[-1] == VOCABULARY.of("\n")
            assert all(token in VOCABULARY.words for token in ids), text
            longest = max(longest, len(ids) + 1)
    assert longest <= pi0_network.TOKENS


def test_the_folder_is_read_by_the_adapter(tmp_path: Path, learner: Pi0Learner) -> None:
    pi0_network.save_weights(learner.network, tmp_path)  # pyright: ignore[reportArgumentType]
    policy = Pi0Policy(tmp_path, "nano", device="cpu")
    assert policy.action_spec == ACTION_SPEC
    assert (policy.cameras, policy.state_size) == (("image",), 8)
    kept = policy.network.native.state_dict()
    for key, trained in learner.network.native.state_dict().items():  # pyright: ignore[reportAttributeAccessIssue]
        name = pi0_network.lerobot_key(key)
        assert name is not None
        assert native_key(name.removeprefix("model.")) == key
        torch.testing.assert_close(kept[key], trained.half().to(kept[key].dtype), rtol=0, atol=0)


def test_what_is_trained_is_what_runs(tmp_path: Path, learner: Pi0Learner, shown: Demonstrations) -> None:
    policy = Pi0Policy(tmp_path, "nano", device="cpu")  # the first, random weights in full precision
    frames, texts = (
        np.array([3, 7]),
        ["put the red cube in the blue bin", "robot , please carry the red cube to the red tray"],
    )
    noise = np.random.default_rng(1).standard_normal((2, 1, 7)).astype(np.float32)
    seen = [
        Observation({"image": shown.images[f]}, text, np.append(shown.tcp[f], np.zeros(5)))
        for f, text in zip(frames, texts, strict=True)
    ]
    with torch.no_grad():
        after = policy.network.sample(policy.inputs(seen), torch.from_numpy(noise), [0, 1], steps=1)
        prefix = learner._prefix(frames, [f"{text}\n" for text in texts])
        _, cache = learner._read(prefix, {})
        velocity = learner.velocity(
            cache, prefix.valid, learner._states[torch.from_numpy(frames)], torch.from_numpy(noise), torch.ones(2)
        )
    torch.testing.assert_close(torch.from_numpy(noise) - velocity / 10, after, rtol=1e-5, atol=1e-5)


def test_losses_reach_every_part(learner: Pi0Learner) -> None:
    loss, figures = learner.acting_loss(np.random.default_rng(0))
    loss.backward()
    assert np.isfinite(list(figures.values())).all()
    without = [
        name
        for name, weight in learner.named_parameters()
        if weight.requires_grad and (weight.grad is None or not weight.grad.abs().sum() > 0)
    ]
    # Nothing reads what the action expert makes of the state's own position in its last layer.
    assert not [name for name in without if not name.startswith("expert.embed")], without


def test_pictures_become_small_as_the_adapter_makes_them() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    small = shrink(picture, 96, "bilinear")
    assert small.shape == (96, 96, 3)
    pixels = pixel_values(picture, 96, Resize.PLAIN).permute(1, 2, 0)
    np.testing.assert_allclose(small / 127.5 - 1, pixels, atol=0.51 / 127.5)
