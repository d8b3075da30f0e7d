"""Verdicts, cautions and suggestions follow from the numbers."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from itertools import pairwise

import pytest
from analysed_runs import AnalysedMaker
from recorded_runs import rollout_config, straight

from vlasteer.analysis import AnalysedRun, Finding, Verdict, findings_of, next_steps, warnings_of
from vlasteer.analysis.findings import expectation
from vlasteer.types import Outcome


def made(
    *,
    feature: str = "fast",
    steered: Sequence[float] = (12, 13, 14),
    draws: Sequence[float] = (),
    success: Sequence[bool] = (True, True, True),
    foreign: int = 0,
    up_mm: float = 0.0,
) -> AnalysedRun:
    """Three pairs: unsteered steps of 10 mm, steered ones as given, in every start one episode of each draw."""
    config = rollout_config(2, feature, random=len(draws), starts=[0, 1, 2])
    run = AnalysedMaker(config)
    for start in range(3):
        run.episode("unsteered", start, straight(10, 6))
        outcome = Outcome.SUCCESS if success[start] else Outcome.HORIZON
        moved = straight(steered[start], 6, up_mm=up_mm)
        run.episode("steered", start, moved, outcome, knobs={feature: 2}, foreign=foreign)
        for i, step_mm in enumerate(draws):
            run.episode("random", start, straight(step_mm, 6), knobs={f"{feature}~{i}": 2})
    return run.run()


def only(run: AnalysedRun) -> Finding:
    (finding,) = findings_of(run)
    return finding


class TestVerdicts:
    @pytest.mark.parametrize(
        ("options", "verdict"),
        [
            ({"draws": (10, 10.5)}, Verdict.AS_NAMED),
            ({}, Verdict.NO_NULL),
            ({"draws": (10, 13.5)}, Verdict.LIKE_RANDOM),
            ({"success": (True, False, True)}, Verdict.COSTLY),
            ({"feature": "slow"}, Verdict.OPPOSITE),
            ({"feature": "slow", "steered": (8, 7, 6)}, Verdict.NO_NULL),
            ({"steered": (9, 11, 10)}, Verdict.NONE_SEEN),
            ({"feature": "high"}, Verdict.NONE_SEEN),
            ({"feature": "up_10", "up_mm": 5}, Verdict.NO_NULL),
            ({"feature": "low", "up_mm": 5}, Verdict.OPPOSITE),
            ({"feature": "blue"}, Verdict.CHANGED),
            ({"feature": "blue", "steered": (9, 11, 10)}, Verdict.NONE_SEEN),
            ({"foreign": 1}, Verdict.OVER_STEERED),  # 1 of 42 tokens
        ],
    )
    def test_each(self, options, verdict):
        assert only(made(**options)).verdict is verdict

    def test_words_and_numbers(self):
        finding = only(made(draws=(10, 10.5)))
        told = " ".join(finding.sentences)
        assert finding.headline == "steps 30 % longer"
        assert "Step length 13.0 mm, unsteered 10.0: +3.0 mm" in told
        assert "(3 pairs, equal length)" in told
        assert "Beyond both random draws (+0.0 to +0.5 mm)." in told
        assert "Success in 3 of 3 finished episodes (100 %), unsteered 100 %" in told

    def test_nothing_is_claimed_of_an_over_steered_condition(self):
        finding = only(made(foreign=1))
        assert finding.headline == "no effect can be claimed"
        assert "longer" not in " ".join((finding.headline, *finding.sentences))
        assert "2.4 %" in finding.sentences[0]

    def test_a_run_without_comparison(self):
        alone = AnalysedMaker(rollout_config(paired=False))
        alone.episode("steered", 0, straight(10, 6), knobs={"fast": 2})
        finding = only(alone.run())
        assert finding.verdict is Verdict.UNPAIRED
        assert "Step length 10.0 mm on average." in finding.sentences

    def test_other_words_are_a_condition_beside_the_plain_run(self):
        plain, told = (
            AnalysedMaker(rollout_config(paired=False, steering=[], instruction=i)) for i in (None, "go fast")
        )
        for start in range(3):
            plain.episode("unsteered", start, straight(10 + start, 6))
            told.episode("unsteered", start, straight(12 + start, 6))
        runs = [plain.run(), told.run()]
        assert findings_of(runs[0], runs) == []
        (finding,) = findings_of(runs[1], runs)
        assert (finding.condition, finding.headline) == ('unsteered, told "go fast"', "steps 18 % longer")
        assert finding.verdict is Verdict.CHANGED

    def test_words_for_both_arms_are_no_condition(self):
        run = AnalysedMaker(rollout_config(instruction="go fast"))
        for start in range(3):
            run.episode("unsteered", start, straight(10, 6))
            run.episode("steered", start, straight(12, 6), knobs={"fast": 2})
        assert only(run.run()).condition == 'fast = 2, told "go fast"'

    @pytest.mark.parametrize(
        ("condition", "coefficients", "expected"),
        [
            ("fast = 2", {"fast": 2.0}, ("step_length_mm", 1)),
            ("slow_early = 2", {"slow_early": 2.0}, ("step_length_mm", -1)),
            ("fast = 0", {"fast": 0.0}, None),
            ("fast = -2", {"fast": -2.0}, None),
            ("fast = 2, high = 1", {"fast": 2.0, "high": 1.0}, None),
            ("breakfast = 2", {"breakfast": 2.0}, None),
        ],
    )
    def test_what_a_name_promises(self, condition, coefficients, expected):
        assert expectation(condition, coefficients) == expected


class TestAdvice:
    def test_what_to_be_careful_about(self):
        run = AnalysedMaker(rollout_config(starts=[0, 1, 2]))
        run.episode("unsteered", 0, straight(10, 10))
        run.episode("steered", 0, straight(10, 5), knobs={"fast": 2}, foreign=7)
        run.episode("unsteered", 1, straight(10, 10), Outcome.FAILED)
        run.episode("steered", 1, straight(10, 10), Outcome.RUNNING, knobs={"fast": 2})
        told = {caution.text: caution.detail for caution in warnings_of(run.run())}
        by_start = {text.split(":")[0].split(" ")[0]: detail for text, detail in told.items()}
        assert by_start == {
            "Episodes": "1",  # interrupted; the broken one has the same first word
            "Not": "2 of 6",
            "Over-steered,": "fast = 2: 20.0 %",
            "Few": "1 pairs",
            "No": "",
            "Steered": "fast = 2: -50 %",
        }
        assert sum(text.startswith("Episodes ") for text in told) == 2

    def test_nothing_to_be_careful_about(self):
        run = made(draws=[10.0] * 20)
        assert [caution.text.split(":")[0] for caution in warnings_of(run)] == ["Few episodes"]

    def test_commands_lead_on(self):
        run = made(foreign=1)
        (step,) = next_steps([run], findings_of(run), "prog")
        reason, _, command = step.partition(": ")
        assert reason == "fast = 2 is over-steered; half the coefficient"
        words = shlex.split(command)
        assert words[:2] == ["prog", "rollout"]
        options = dict(pairwise(words))
        assert options["--steer"] == "fast=1"
        assert options["--episodes"] == "3"
        assert options["--policy"] == "toy"
        assert options["--out"] == "/nowhere/fast1"

    def test_few_draws_come_first_when_all_is_well(self):
        run = made(draws=(10, 10.5))
        steps = next_steps([run], findings_of(run))
        assert "2 random draws are no fair null" in steps[0]
        assert "--random 20" in steps[0]
        assert "--steer fast=8" in steps[1]
