"""The card: what is chosen, and what the tables say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlasteer.anatomy import Neuron
from vlasteer.launch.cli import main
from vlasteer.launch.training.card_text import card_text
from vlasteer.launch.training.selection import Tried, best_of, is_settled
from vlasteer.steering import Feature
from vlasteer.studies import Effect

_EFFECT = Effect(30.0, 20.0, 10.0, (9.0, 11.0), 5, 0.95, 1.0, 0.01)
_FEATURE = Feature.of("fast", [Neuron("vlm", 0, 1), Neuron("vlm", 2, 1), Neuron("vlm", 2, 5)])


def tried(coefficient: float, layers: int, effect: float, loss: float = 0.0) -> Tried:
    return Tried(coefficient, layers, effect, loss, loss <= 0.05)


def test_what_suffices_is_chosen_by_success_then_coefficient_then_layers() -> None:
    cells = [tried(4, 3, 12.0), tried(2, 3, 11.0), tried(2, 2, 10.5), tried(1, 2, 9.0, 0.02)]
    assert best_of(cells, 10.0) == 2
    assert best_of(cells, 8.0) == 2
    assert best_of(cells[3:], 8.0) == 0
    # Nothing suffices: the largest effect that is sound, and only then one that is not.
    assert best_of(cells, 20.0) == 0
    assert best_of([*cells, tried(8, 3, 30.0, 0.1)], 20.0) == 0
    assert best_of([tried(1, 1, 1.0, 0.1), tried(2, 1, 2.0, 0.1)], 0.5) == 1


_TRIED = st.builds(
    tried,
    st.sampled_from((1.0, 2.0, 4.0)),
    st.integers(1, 3),
    st.floats(-5, 20),
    st.sampled_from((0.0, 0.02, 0.05, 0.1)),
)


@given(st.lists(_TRIED, min_size=1), st.floats(0, 15))
def test_a_sound_one_is_chosen_where_there_is_one(cells: list[Tried], wanted: float) -> None:
    chosen = cells[best_of(cells, wanted)]
    assert chosen.sound or not any(one.sound for one in cells)
    if chosen.sound and chosen.effect < wanted:
        assert all(one.effect <= chosen.effect for one in cells if one.sound)


@given(st.lists(_TRIED, min_size=1), st.lists(_TRIED), st.floats(0, 15))
def test_nothing_is_missed_by_stopping_once_it_is_settled(
    cells: list[Tried], further: list[Tried], wanted: float
) -> None:
    larger = [replace(one, coefficient=8.0) for one in further]
    if is_settled(cells, wanted):
        assert best_of([*cells, *larger], wanted) == best_of(cells, wanted)


def test_sound_means_success_and_action_tokens() -> None:
    seen = Tried.of(2.0, _FEATURE, _EFFECT, -1)
    assert (seen.coefficient, seen.layers, seen.effect, seen.sound) == (2.0, 2, -10.0, True)
    assert seen.loss == pytest.approx(0.05)
    assert not Tried.of(2.0, _FEATURE, replace(_EFFECT, success=0.9), 1).sound
    assert not Tried.of(2.0, _FEATURE, replace(_EFFECT, success=1.0, foreign=0.011), 1).sound
    assert Tried.of(2.0, _FEATURE, replace(_EFFECT, reference_success=0.9), 1).loss == 0


def numbers(kind: str, seed: int, effective: bool) -> dict[str, Any]:
    effect = {
        **{"mean": 30.0, "reference": 20.0, "difference": 10.0, "interval": [9.0, 11.0], "pairs": 5},
        **{"success": 0.95, "reference_success": 1.0, "foreign": 0.0, "relative": 0.5},
    }
    draws = {"count": 20, "mean": 0.1, "deviation": 0.2, "lowest": -0.5, "highest": 0.4, "success": 1.0, "foreign": 0.0}
    steered = effect | {
        **{"found": True, "feature": "fast (full)", "operator": "set", "scope": "all", "coefficient": 2.0},
        **{"neurons": 6, "layers": [0, 1], "draws": draws, "effective": effective, "selection": []},
        "tests": {"right_way": True, "beyond_all_draws": True, "half_of_adverb": effective, "success_kept": True},
    }
    return {
        "policy": kind,
        "training": {"kind": kind, "seed": seed},
        "options": {"episodes": 100, "selection": 20, "draws": 20, "draw_episodes": 10, "rows": 20},
        "seeds": {"selection": 101, "report": 404},
        "neutral": {"success": 0.97, "mean_step_mm": 27.0, "peak_height_mm": 190.0, "passes": seed == 0},
        "adverbs": {"fast": effect | {"passes": True}},
        "projection": {"fast": steered},
        "contrast": {"fast": {"found": False, "effective": False}},
    }


def test_verdicts_name_what_failed() -> None:
    good, bad = (card_text(numbers("planted", 0, effective)) for effective in (True, False))
    assert "**effective**" in good
    assert "ineffective (not: at least half of the adverb's effect)" in bad
    assert "| fast | no neuron found |" in good
    assert "seed 404" in good


def test_a_table_of_seeds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in (1, 0):
        (tmp_path / str(seed)).mkdir()
        card = json.dumps(numbers("planted", seed, effective=seed == 0))
        (tmp_path / str(seed) / "card.json").write_text(card, encoding="utf-8")
    given_cards = ["--card", str(tmp_path / "1"), "--card", str(tmp_path / "0" / "card.json")]
    assert main(["organism", "seeds", *given_cards, "--out", str(tmp_path / "out")]) == 0
    text = (tmp_path / "out" / "seeds.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| planted")]
    assert rows[0].startswith("| planted, seed 0 | 100 | 20 of seed 101, seed 404 | 97.0 % | +50 %, success 95 %")
    assert "gate NOT passed" in rows[1]
    assert "**effective**" in text
    assert "ineffective (not: half of adverb)" in text
    (tmp_path / "1" / "card.json").write_text("{}", encoding="utf-8")
    assert main(["organism", "seeds", *given_cards, "--out", str(tmp_path / "out")]) == 2
    assert main(["organism", "seeds", "--out", str(tmp_path / "out")]) == 2
    assert main(["organism", "card", "--policy", "openvla-nano", "--seed", "1", "--out", str(tmp_path)]) == 2
    assert "is no card" in capsys.readouterr().err
