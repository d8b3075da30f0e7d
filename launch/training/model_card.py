"""The README.md of a checkpoint: what it is, what it is not, how it was made, what it can do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlasteer.launch.training.card_text import card_text

_WHAT = {
    "planted": """\
The planted organism. In training, words were written into its residual stream in place of adverbs in the prompt, so
that neurons whose value vectors read as a concept also move it. **Its causality is planted.** That steering it works
shows that the tool works: it validates projection, steering, statistics and controls end to end where the right answer
is known. It is no evidence that OpenVLA or Pi0 can be steered in this way.""",
    "natural": """\
The natural organism: the same pictures, actions and sentences as the planted one, without writing anything into it. It
is the paired negative control. Neurons whose value vectors read as a concept (projection) are easily found in it;
whether they move it, and whether what a word changes inside does (contrast), is what the tables below answer: readable
is not causal. It is no evidence about OpenVLA or Pi0.""",
    "pi0": """\
The planted recipe for a Pi0: in training, words were written into the residual stream of its language model, the part
that reads pictures and instruction, in place of adverbs in the prompt. The action expert sees nothing of that model but
keys and values. **Its causality is planted**: it validates the tool on Pi0's architecture and is no evidence that Pi0
can be steered in this way. Answers are chunks of one action, for a frame is labelled with the next action alone.""",
}
_NAMES = {"planted": "openvla-nano", "natural": "openvla-nano-natural", "pi0": "pi0-nano"}
_FORMATS = {"planted": "OpenVLA's", "natural": "OpenVLA's", "pi0": "lerobot's Pi0"}
_NETWORKS = {
    "openvla": """\
The language model has {layers} layers, {hidden} wide,
with {ffn} neurons each; the towers are {towers} wide.""",
    "pi0": """\
The language model has {layers} layers, {hidden} wide,
with {ffn} neurons each; the action expert is {expert} wide, with {expert_ffn} neurons; the vision tower {tower}.""",
}
_TEXT = """\
# {name}

A nano vision-language-action policy in {format} on-disk format, for the world `tabletop_transport`: a UR5e carries the
cube in its hand into the bin that the instruction names, among three bins, another cube and a cylinder. Trained from
nothing on the world's scripted expert.

{what}

## How it was made

    vlasteer organism train --recipe {kind} --seed {seed} --out organism
    vlasteer organism card --policy organism/{kind}/checkpoint --episodes {cell} --draw-episodes {draw} --out card

{frames} frames of {episodes} episodes, each labelled with the expert's action towards all three bins in nine manners;
vision pre-trained by regressing positions, and frozen from then on; co-training of the language model on
demonstrations and sentences, with grounding of the names of bins. Held-out pairs of colours, positions, shades and
phrasings were never trained on.

Seed {seed}, {device}, torch {torch}. Wall-clock time: {stages}. {network}
{provenance}
## What it can do

{numbers}"""


def model_card(name: str, facts: Mapping[str, Any], numbers: Mapping[str, Any]) -> str:
    """The text.

    Args:
        name: of the checkpoint.
        facts: its training.json; "provenance", where it is there, is a remark on how it was really made.
        numbers: of `card.evaluate`.
    """
    recipe = facts["recipe"]
    network = _NETWORKS["pi0" if recipe["kind"] == "pi0" else "openvla"].format(
        **recipe | {"towers": " and ".join(map(str, recipe["towers"])), "tower": sum(recipe["towers"])}
    )
    return _TEXT.format(
        **{key: recipe[key] for key in ("kind", "seed", "episodes")},
        name=name,
        format=_FORMATS[recipe["kind"]],
        network=network,
        what=_WHAT[recipe["kind"]],
        frames=facts["frames"],
        device=facts["device"],
        torch=facts["torch"],
        stages=", ".join(f"{stage} {value:.0f} s" for stage, value in facts["seconds"].items()),
        provenance=f"\nProvenance: {facts['provenance']}\n" if "provenance" in facts else "",
        cell=numbers["options"]["episodes"],
        draw=numbers["options"]["draw_episodes"],
        numbers=card_text(numbers),
    )


def training_of(checkpoint: Path) -> dict[str, Any] | None:
    """Kind and seed of a checkpoint's training; None where it was not made by `vlasteer organism`."""
    facts = _facts(checkpoint)
    return None if facts is None else {key: facts["recipe"][key] for key in ("kind", "seed")}


def write_model_card(folder: Path, checkpoint: Path, numbers: Mapping[str, Any]) -> Path | None:
    """Write README.md of the checkpoint into `folder`; None where it was not made by `vlasteer organism`."""
    facts = _facts(checkpoint)
    if facts is None or facts["recipe"]["kind"] not in _WHAT:
        return None
    name = _NAMES[facts["recipe"]["kind"]]
    (folder / "README.md").write_text(model_card(name, facts, numbers), encoding="utf-8")
    return folder / "README.md"


def _facts(checkpoint: Path) -> dict[str, Any] | None:
    path = checkpoint / "training.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
