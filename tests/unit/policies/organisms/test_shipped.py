"""The shipped organisms: there, small, honest about themselves, and loaded by the ordinary adapter."""

from __future__ import annotations

import json

import pytest

from vlasteer.checkpoints import shipped_checkpoints
from vlasteer.policies.organisms import folders
from vlasteer.registry import load_policy, make_world
from vlasteer.types import ActionKind, EpisodeKey

KINDS = {"openvla-nano": "openvla", "openvla-nano-natural": "openvla", "pi0-nano": "pi0"}


@pytest.mark.parametrize("name", KINDS)
def test_there_small_and_with_a_card(name: str) -> None:
    folder = folders()[name]
    assert sum(file.stat().st_size for file in folder.iterdir()) < 10e6
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "no evidence" in card
    assert "vlasteer organism train" in card
    assert ("causality is planted" in card) == (name != "openvla-nano-natural")
    numbers = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    assert f"{100 * numbers['neutral']['success']:.0f}" in card


@pytest.mark.parametrize("name", KINDS)
def test_the_ordinary_adapter_loads_it(name: str) -> None:
    policy = load_policy(folders()[name], world="tabletop_transport")
    assert policy.kind == KINDS[name]
    assert policy.action_spec.kind is ActionKind.EE_DELTA
    world = make_world("tabletop_transport", cameras=policy.cameras)
    try:
        world.reset(EpisodeKey(0, 0, 7))
        chunk = policy.act(world.observe())
    finally:
        world.close()
    assert chunk.actions.shape == (1, 7)
    assert chunk.non_action_tokens == 0


def test_they_are_known_by_name() -> None:
    assert {name: shipped_checkpoints().get(name) for name in KINDS} == {name: folders()[name] for name in KINDS}
