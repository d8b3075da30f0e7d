"""Anatomies without a policy: FFNs whose value vectors are known, over a vocabulary of real words."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn

from vlasteer.anatomy import Anatomy, Neuron, Site, SiteKey, TokenBasis
from vlasteer.finding.words import forms
from vlasteer.passes import PassContext

SPEED = ("fast", "faster", "quick", "quickly", "rapid", "speed", "slow", "slower", "slowly", "gentle", "careful")
PLACES = ("up", "upward", "lift", "above", "high", "down", "lower", "below", "low", "left", "right")
SPELLINGS = ("breakfast", "steadfast", "follow", "yellow")
OTHERS = ("red", "blue", "cup", "bowl", "the", "a", "of", "table", "drawer", "schnell", "langsam", "rapide")
WORDS = SPEED + PLACES + SPELLINGS + OTHERS
ACTIONS = 16


class Layer(nn.Module):
    """Holds a `down_proj` of given value vectors [width, hidden]."""

    def __init__(self, vectors: Tensor) -> None:
        super().__init__()
        width, hidden = vectors.shape
        self.mlp = nn.Module()
        self.mlp.down_proj = nn.Linear(width, hidden, bias=False, dtype=vectors.dtype)
        self.mlp.down_proj.weight = nn.Parameter(vectors.T.contiguous(), requires_grad=False)


def make_anatomy(
    vectors: Mapping[str, Sequence[Tensor]],
    matrix: Tensor,
    *,
    pieces: Sequence[str],
    action_ids: Sequence[int] = (),
    undefined_ids: Sequence[int] = (),
    norm_gain: Tensor | None = None,
    unreachable: Sequence[SiteKey] = (),
) -> Anatomy:
    """An anatomy of value vectors, stream -> one [width, hidden] tensor per layer; nothing in it can run."""
    streams = {name: nn.ModuleList(Layer(v) for v in layers) for name, layers in vectors.items()}
    sites = [
        Site(key, len(v), v.shape[1], f"{name}.{i}.mlp", key not in unreachable)
        for name, layers in vectors.items()
        for i, v in enumerate(layers)
        for key in [SiteKey(name, i)]
    ]
    ids = {piece: i for i, piece in enumerate(pieces)}

    def label(token: int) -> str:
        if token in action_ids:
            return f"<a {token}>"
        return pieces[token] if token < len(pieces) else f"<pad {token}>"

    basis = TokenBasis(
        matrix=matrix,
        norm_gain=torch.ones(matrix.shape[1]) if norm_gain is None else norm_gain,
        labels=label,
        pieces=lambda token: pieces[token] if token < len(pieces) else f"<pad {token}>",
        ids_of=lambda word: [ids[form] for form in forms(word) if form in ids],
        action_ids=action_ids,
        undefined_ids=undefined_ids,
    )
    return Anatomy(
        model=nn.ModuleDict(streams),
        sites=sites,
        contexts={name: PassContext(("text", "image", "decode")) for name in vectors},
        token_basis=basis,
        probe=lambda: torch.zeros(1),
    )


def word_anatomy(
    planted: Mapping[Neuron, Sequence[str]],
    *,
    layers: int = 4,
    width: int = 40,
    hidden: int = 64,
    fillers: int = 400,
    dtype: torch.dtype = torch.float32,
    unreachable: Sequence[SiteKey] = (),
    seed: int = 0,
) -> Anatomy:
    """Random value vectors over `WORDS` in three forms, fillers and action tokens; planted ones read as pieces."""
    generator = torch.Generator().manual_seed(seed)
    pieces = [form for word in WORDS for form in (f"▁{word}", word, f"▁{word.capitalize()}")]
    pieces += [f"▁filler{i}" for i in range(fillers)]
    action_ids = range(len(pieces), len(pieces) + ACTIONS)
    pieces += [f"action{i}" for i in range(ACTIONS)]
    matrix = torch.randn(len(pieces), hidden, generator=generator) / hidden**0.5
    vectors = [torch.randn(width, hidden, generator=generator) for _ in range(layers)]
    index = {piece: i for i, piece in enumerate(pieces)}
    for neuron, wanted in planted.items():
        directions = [matrix[index[piece]] for piece in wanted]
        vectors[neuron.layer][neuron.index] = torch.stack(directions).mean(0) * 3
    return make_anatomy(
        {"vlm": [v.to(dtype) for v in vectors]},
        matrix.to(dtype),
        pieces=pieces,
        action_ids=tuple(action_ids),
        unreachable=unreachable,
    )


def openvla_anatomy(folder: Path) -> Anatomy:
    """Value vectors, output head and vocabulary of a checkpoint in OpenVLA's format, read straight from its files."""
    tensors = _tensors(folder)
    layers = sum(name.endswith("mlp.down_proj.weight") for name in tensors)
    prefix = "language_model.model."
    vocabulary = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    pieces = sorted(vocabulary, key=vocabulary.__getitem__)
    return make_anatomy(
        {"vlm": [tensors[f"{prefix}layers.{i}.mlp.down_proj.weight"].T for i in range(layers)]},
        tensors["language_model.lm_head.weight"],
        pieces=pieces,
        action_ids=tuple(range(len(pieces) - 256, len(pieces))),
        undefined_ids=tuple(range(len(pieces), len(tensors["language_model.lm_head.weight"]))),
        norm_gain=tensors[f"{prefix}norm.weight"].float(),
    )


def pi0_anatomy(folder: Path) -> Anatomy:
    """The same of one in Pi0's format: a Gemma with tied embedding, and an action expert without vocabulary."""
    tensors = {name.removeprefix("model."): tensor for name, tensor in _tensors(folder).items()}
    language = "paligemma_with_expert.paligemma.model.language_model."
    expert = "paligemma_with_expert.gemma_expert.model."
    matrix = tensors["paligemma_with_expert.paligemma.lm_head.weight"]
    vectors = {}
    for stream, prefix in (("vlm", language), ("expert", expert)):
        names = sorted(name for name in tensors if name.startswith(prefix) and name.endswith("mlp.down_proj.weight"))
        vectors[stream] = [tensors[name].T for name in names]
    last = SiteKey("vlm", len(vectors["vlm"]) - 1)
    gain = 1 + tensors[f"{language}norm.weight"].float()
    pieces = [f"<{i}>" for i in range(len(matrix))]
    return make_anatomy(vectors, matrix, pieces=pieces, norm_gain=gain, unreachable=[last])


def _tensors(folder: Path) -> dict[str, Tensor]:
    tensors = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as opened:
            tensors |= {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    return tensors
