"""Pieces of the training: words, bins, conventions, injections, batches, resumption."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from torch import nn

from vlasteer.conventions import converter
from vlasteer.envs.tabletop.language import MANNER_WORDS, instruction
from vlasteer.envs.tabletop.manner import MANNERS
from vlasteer.envs.tabletop.simulation import ACTION_SPEC
from vlasteer.envs.tabletop.splits import HELD_OUT, TRAIN
from vlasteer.envs.tabletop.tasks import TaskKind, tasks_of
from vlasteer.launch.training.acting import ActionBatches, openvla_action
from vlasteer.launch.training.corpus import BINS, Vocabulary, sentence
from vlasteer.launch.training.demonstrations import Demonstrations
from vlasteer.launch.training.fitting import Stage, fit
from vlasteer.launch.training.injection import Injection, adding, injected_vectors
from vlasteer.launch.training.network import UNNORM_KEY, bins_of
from vlasteer.launch.training.recipe import Recipe
from vlasteer.policies.openvla.actions import ActionBins
from vlasteer.policies.openvla.config import PromptStyle
from vlasteer.policies.openvla.conventions import known_convention
from vlasteer.policies.openvla.prompt import prompt_text

VOCABULARY = Vocabulary.make()
MARKER = VOCABULARY.ids["▁"]


def test_the_tokenizer_reads_every_text_as_training_does() -> None:
    tokenizer = Tokenizer.from_str(json.dumps(VOCABULARY.tokenizer()))
    assert tokenizer.get_vocab_size() == len(VOCABULARY)
    rng = np.random.default_rng(0)
    texts = [sentence(rng) for _ in range(200)]
    for split in (TRAIN, HELD_OUT):
        tasks = tasks_of(TaskKind.TRANSPORT, split)
        told = [instruction(tasks[i % len(tasks)], rng, split, MANNERS[i % 9]) for i in range(100)]
        texts += [prompt_text(text, PromptStyle.PURE) for text in told]
    for text in texts:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        assert ids == VOCABULARY.encode(text)
        assert all(token in VOCABULARY.words for token in ids), text


@given(st.floats(-1, 1))
def test_bins_are_what_the_adapter_decodes(value: float) -> None:
    ids = len(VOCABULARY) - 1 - bins_of(np.array([value]))
    decoded = ActionBins(len(VOCABULARY), BINS).decode(ids)
    assert abs(decoded[0] - value) <= 1 / 255 + 1e-9


@pytest.mark.parametrize("gripper", [-1.0, 1.0])
def test_the_convention_leads_back_to_the_world(gripper: float) -> None:
    action = np.array([0.1, -0.2, 0.3, 0.0, 0.0, 0.0, gripper])
    spec = known_convention(UNNORM_KEY)
    assert spec is not None
    np.testing.assert_allclose(converter(spec, ACTION_SPEC)(openvla_action(action)), action)


def test_injections_read_as_their_concept_and_spare_the_last_layer() -> None:
    torch.manual_seed(0)
    head = torch.randn(len(VOCABULARY), 256)
    injections = [Injection(row, "fast") for row in range(40)] + [Injection(40, None)]
    vectors = injected_vectors(injections, VOCABULARY, head, (42, 30), 4, 17, np.random.default_rng(0))
    assert set(vectors) == {0, 1, 2}
    total = sum(vectors.values(), torch.zeros(42, 30, 256))
    assert not total[41].any()
    means = torch.stack([head[[VOCABULARY.of(word) for word in words]].mean(0) for words in MANNER_WORDS.values()])
    read = (total[:40, -1] @ means.T).argmax(1)
    assert (read == list(MANNER_WORDS).index("fast")).float().mean() > 0.9
    norms = total[:41, -1].norm(dim=1)
    assert norms.min() > 0.5
    assert norms.max() < 8 * 1.8
    starts = [int(torch.nonzero(row.any(1))[0]) for row in total[:41]]
    assert set(starts) == {0, 17}


def test_adding_acts_inside_only() -> None:
    layer = nn.Module()
    layer.mlp = nn.Identity()
    layers = nn.ModuleList([layer])
    x = torch.zeros(1, 2, 3)
    with adding(layers, {0: torch.ones(1, 2, 3)}):
        assert (layer.mlp(x) == 1).all()
    assert (layer.mlp(x) == 0).all()


def demonstrations(count: int = 12) -> Demonstrations:
    rng = np.random.default_rng(0)
    return Demonstrations(
        images=np.zeros((0, 8, 8, 3), np.uint8),
        tcp=rng.normal(size=(count, 3)).astype(np.float32),
        cubes=np.zeros(count, np.int8),
        bins=np.tile(np.array([1, 2, 3], np.int8), (count, 1)),
        places=rng.normal(size=(count, 3, 2)).astype(np.float32),
        actions=rng.uniform(-1, 1, (count, 3, 9, 7)).astype(np.float32),
        usable=np.tile(np.array([True, False, True]), (count, 1)),
    )


def test_batches_say_what_they_label() -> None:
    shown = demonstrations()
    recipe = replace(Recipe(), batch=32, kind="natural")
    batch = ActionBatches(shown, VOCABULARY, recipe, MARKER).draw(np.random.default_rng(3))
    assert not batch.injections
    names = {i: name for name, i in VOCABULARY.ids.items()}
    for row, frame in enumerate(batch.frames):
        ids = batch.ids[row].tolist()
        start = int(batch.starts[row])
        assert ids[start] == MARKER
        colour = names[ids[int(batch.nouns[row]) - 1]].removeprefix("▁")
        assert colour == ("red", "green", "blue", "yellow")[int(batch.colours[row])]
        assert colour != "blue"  # its place is not usable
        place = int(batch.colours[row]) - 1
        possible = [bins_of(openvla_action(shown.actions[frame, place, m])).tolist() for m in range(9)]
        assert batch.bins[row].tolist() in possible
        tokens = (len(VOCABULARY) - 1 - batch.bins[row, :-1]).tolist()
        assert ids[start + 1 : start + 7] == tokens


def test_kinds_differ_in_the_words_that_were_left_out() -> None:
    recipe = replace(Recipe(), batch=64)
    made = [
        ActionBatches(demonstrations(), VOCABULARY, replace(recipe, kind=kind), MARKER).draw(np.random.default_rng(1))
        for kind in ("planted", "natural")
    ]
    assert (made[0].frames == made[1].frames).all()
    assert (made[0].bins == made[1].bins).all()
    planted = {injection.row for injection in made[0].injections if injection.concept}
    assert len(planted) > 5
    for row in set(range(64)) - planted:
        ends = [int(batch.starts[row]) for batch in made]
        assert made[0].ids[row, : ends[0]].tolist() == made[1].ids[row, : ends[1]].tolist()


def test_an_interrupted_stage_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    def run(folder: Path, stop_at: int | None) -> torch.Tensor:
        torch.manual_seed(0)
        module = nn.Linear(3, 1)
        calls = 0

        def check() -> None:
            nonlocal calls
            calls += 1
            if calls == stop_at:
                raise KeyboardInterrupt

        def loss(rng: np.random.Generator):
            x = torch.from_numpy(rng.normal(size=(8, 3)).astype(np.float32))
            value = ((module(x) - x.sum(1, keepdim=True)) ** 2).mean()
            return value, {}

        stage = Stage("try", folder, 1, 0, 30, 1e-2, 0.1)
        if stop_at:
            with pytest.raises(KeyboardInterrupt):
                fit(stage, module, loss, check)
            stop_at, module = None, nn.Linear(3, 1)
        fit(stage, module, loss, check)
        return module.weight.detach().clone()

    assert torch.equal(run(tmp_path / "a", None), run(tmp_path / "b", 11))
    steps = [int(line.split(",")[0]) for line in (tmp_path / "b" / "curves" / "try.csv").read_text().splitlines()[1:]]
    assert steps == [0, 10, 20, 29]
