"""Feature packs: the features of one checkpoint in a JSON file that people can read and write.

    {
      "format": "vlasteer-feature-pack/1",
      "checkpoint": {"hash": "3f2a...", "name": "openvla/openvla-7b"},
      "features": {
        "fast": {"neurons": ["vlm:3:512", [7, 1101], 237682], "operator": "set", "scope": "all", "evidence": {...}}
      }
    }

A neuron is `"stream:layer:index"`, `"layer:index"`, `[layer, index]`, the literature's flat id, or an object with
`neuron`, `weight` and `quantiles`. A feature may have `weights_at`: kind of position -> weights of its neurons there.
Without a hash the pack fits any checkpoint that has such neurons; with one it
refuses every other.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from vlasteer.anatomy import Anatomy, Neuron
from vlasteer.errors import FeaturePackError, OutputError, SteeringError, UnknownNameError
from vlasteer.steering.features import Feature, Operator, WeightedNeuron

FORMAT = "vlasteer-feature-pack/1"


@dataclass(frozen=True)
class FeaturePack:
    """Named features of one checkpoint.

    Attributes:
        features: by name.
        checkpoint_hash: of the checkpoint that they were found in; "" for a hand-written pack that names none.
        checkpoint_name: for people.
    """

    features: Mapping[str, Feature] = field(default_factory=lambda: MappingProxyType({}))
    checkpoint_hash: str = ""
    checkpoint_name: str = ""

    def __getitem__(self, name: str) -> Feature:
        if name not in self.features:
            raise UnknownNameError.among("feature", name, self.features)
        return self.features[name]

    def __contains__(self, name: str) -> bool:
        return name in self.features

    def __iter__(self) -> Iterator[str]:
        return iter(self.features)

    def __len__(self) -> int:
        return len(self.features)

    def with_features(self, *features: Feature) -> FeaturePack:
        """A pack with these added or replaced."""
        return FeaturePack(
            {**self.features, **{f.name: f for f in features}}, self.checkpoint_hash, self.checkpoint_name
        )

    # -- files ---------------------------------------------------------------------------------------------------------
    @classmethod
    def load(cls, path: str | Path, anatomy: Anatomy, checkpoint_hash: str) -> FeaturePack:
        """Read a pack for the policy that `anatomy` and `checkpoint_hash` belong to.

        Raises:
            FeaturePackError: unreadable, malformed, or made for another checkpoint.
            SteeringError: a neuron that this policy does not have.
        """
        path = Path(path)
        document = _read(path)
        checkpoint = document.get("checkpoint") or {}
        bound = str(checkpoint.get("hash") or "")
        if bound and bound != checkpoint_hash:
            raise FeaturePackError(
                f"{path} was made for another checkpoint ({checkpoint.get('name') or 'unnamed'}, hash {bound[:12]}...)",
                expected=f"a pack for this checkpoint (hash {checkpoint_hash[:12]}...)",
                fix="Find the features in this checkpoint: vlasteer find --policy ... --concept ...",
            )
        features = document.get("features")
        if not isinstance(features, dict) or not features:
            raise FeaturePackError(f"{path} has no features", expected='an object "features" with at least one entry')
        parsed = {str(n): _parse_feature(str(n), body, anatomy, path) for n, body in features.items()}
        return cls(parsed, bound, str(checkpoint.get("name") or ""))

    def save(self, path: str | Path) -> None:
        """Write the pack as indented JSON; an existing file is replaced in one step.

        Raises:
            OutputError: the place cannot be written.
        """
        path = Path(path)
        document = {
            "format": FORMAT,
            "checkpoint": {"hash": self.checkpoint_hash, "name": self.checkpoint_name},
            "features": {name: _feature_document(feature) for name, feature in self.features.items()},
        }
        partial = path.with_name(path.name + ".part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            partial.replace(path)
        except OSError as error:
            raise OutputError(f"the feature pack cannot be written to {path} ({error.strerror})") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FeaturePackError(
            f"there is no feature pack at {path}",
            fix="Make one: vlasteer find --policy ... --concept fast --out pack.json",
        ) from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise FeaturePackError(f"{path} cannot be read as JSON ({error})") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        found = document.get("format") if isinstance(document, dict) else type(document).__name__
        raise FeaturePackError(f"{path} is no feature pack (format {found!r})", expected=f'"format": "{FORMAT}"')
    return document


def parse_neuron(item: object, anatomy: Anatomy) -> Neuron:
    """A neuron written in any of the accepted ways, checked against the policy.

    Raises:
        SteeringError: it cannot be understood, or does not exist.
    """
    first = anatomy.streams[0]
    problem = SteeringError(
        f"neuron {item!r}", expected='"stream:layer:index", "layer:index", [layer, index] or a flat id'
    )
    if isinstance(item, bool):
        raise problem
    if isinstance(item, int):
        return anatomy.unflat(item, first)
    parts = item.split(":") if isinstance(item, str) else list(item) if isinstance(item, list | tuple) else []
    if len(parts) == 1:
        parts_text = str(parts[0]).strip()
        if not parts_text.isdigit():
            raise problem
        return anatomy.unflat(int(parts_text), first)
    stream = str(parts[0]).strip() if len(parts) == 3 else first
    try:
        layer, index = (int(p) for p in parts[-2:])
    except ValueError:
        raise problem from None
    if len(parts) > 3:
        raise problem
    neuron = Neuron(stream, layer, index)
    anatomy.check(neuron)
    return neuron


def _parse_feature(name: str, body: object, anatomy: Anatomy, path: Path) -> Feature:
    body = {"neurons": body} if isinstance(body, list) else body
    if not isinstance(body, dict) or not isinstance(body.get("neurons"), list):
        raise FeaturePackError(
            f"feature '{name}' in {path} has no list of neurons", expected='{"neurons": [...]} or a plain list'
        )
    neurons = []
    for item in body["neurons"]:
        weight, quantiles = 1.0, {}
        if isinstance(item, dict):
            weight = float(item.get("weight", 1.0))
            quantiles = {float(p): float(v) for p, v in (item.get("quantiles") or {}).items()}
            item = item.get("neuron")
        neurons.append(WeightedNeuron(parse_neuron(item, anatomy), weight, quantiles))
    operator = Operator.parse(str(body.get("operator", "set")))
    evidence = dict(body.get("evidence") or {})
    weights_at = _parse_weights(name, body.get("weights_at") or {}, path)
    return Feature(name, tuple(neurons), operator, str(body.get("scope", "all")), evidence, weights_at)


def _parse_weights(name: str, body: object, path: Path) -> dict[str, tuple[float, ...]]:
    try:
        if not isinstance(body, dict):
            raise TypeError
        return {str(kind): tuple(map(float, weights)) for kind, weights in body.items()}
    except (TypeError, ValueError):
        raise FeaturePackError(
            f"'weights_at' of feature '{name}' in {path} cannot be read",
            expected='lists of numbers by kind of position, e.g. {"decode.1": [0.5, -1]}',
        ) from None


def _feature_document(feature: Feature) -> dict[str, Any]:
    neurons: list[Any] = []
    for item in feature.neurons:
        if item.weight == 1.0 and not item.quantiles:
            neurons.append(str(item.neuron))
            continue
        entry: dict[str, Any] = {"neuron": str(item.neuron), "weight": item.weight}
        if item.quantiles:
            entry["quantiles"] = {f"{p:g}": v for p, v in sorted(item.quantiles.items())}
        neurons.append(entry)
    document: dict[str, Any] = {
        "neurons": neurons,
        "operator": feature.operator.value,
        "scope": feature.scope,
        "evidence": dict(feature.evidence),
    }
    if feature.weights_at:
        document["weights_at"] = {kind: list(weights) for kind, weights in feature.weights_at.items()}
    return document
