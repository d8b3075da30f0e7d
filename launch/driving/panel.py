"""The knobs of a session: one for every mounted feature, and those of the loop.

Which features are mounted: those of --steer, at their coefficients; those of --knob, off; without either all of the
feature pack, off; and for a shipped organism without a pack, whose concepts are known, fast, slow, high and low. To
these come all features of every --other-pack, off: the page shows one pack at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vlasteer.errors import ConfigError
from vlasteer.launch.options import SteeringOptions, load_pack

if TYPE_CHECKING:
    from vlasteer.knobs import Knob
    from vlasteer.protocols import Policy
    from vlasteer.steering import FeaturePack, Steering

ORGANISM_CONCEPTS = ("fast", "slow", "high", "low")
_USUAL = 4.0  # coefficient that a knob is made around when nobody said one
_LARGEST_REPLAN = 50


@dataclass(frozen=True)
class Panel:
    """What can be turned.

    Attributes:
        steering: to be mounted; terms that are off have no coefficient.
        pack: that the features are from, those of other packs included; None when nothing is mounted.
        knobs: of the features, then speed and replanning.
        packs: name of each pack, and of the features that it brings.
    """

    steering: Steering
    pack: FeaturePack | None
    knobs: tuple[Knob, ...]
    packs: Mapping[str, tuple[str, ...]]


def make_panel(
    policy: Policy,
    options: SteeringOptions,
    wanted: Sequence[str],
    others: Sequence[str] = (),
    *,
    speed: float,
    replan: int,
    replanning: bool,
) -> Panel:
    """The panel of a policy.

    Args:
        policy: whose features they are.
        options: --steer, --pack, --operator, --scope.
        wanted: names of --knob.
        others: files of --other-pack.
        speed: where the knob of speed begins.
        replan: where the knob of replanning begins.
        replanning: whether there is one; policies whose chunks have one action need none.

    Raises:
        VlasteerError: a feature or coefficient that cannot be.
    """
    from vlasteer.knobs import Knob
    from vlasteer.steering import Operator, Steering
    from vlasteer.steering.value import parse_coefficient

    at_work = {}
    for expression in options.steer:
        name, _, coefficient = expression.partition("=")
        at_work[name.strip()] = parse_coefficient(coefficient)
    names: list[str] = [*at_work, *(name for name in wanted if name not in at_work)]
    if not names and options.pack is None and not _has_pack(policy):
        names = list(ORGANISM_CONCEPTS) if _is_organism(policy) else []
    pack = load_pack(policy, options.pack, names) if names or options.pack is not None or _has_pack(policy) else None
    steering = Steering()
    for name in names or list(pack or ()):
        assert pack is not None
        steering += Steering.of(pack[name], at_work.get(name), operator=options.operator, scope=options.scope)
    packs = {} if pack is None else {_label(options.pack): steering.names}
    for path in others:
        other, label = load_pack(policy, path, []), _label(path)
        if label in packs:
            raise ConfigError(f"two feature packs are named '{label}'", expected="files of different names")
        own = [f.renamed(f"{f.name}@{label}") if f.name in steering.names else f for f in other.features.values()]
        for feature in own:
            steering += Steering.of(feature, None, operator=options.operator, scope=options.scope)
        packs[label] = tuple(feature.name for feature in own)
        pack = other if pack is None else pack.with_features(*own)
    knobs = [
        Knob.feature(
            term.name,
            _USUAL if term.factor is None else term.factor,
            default=term.factor,
            neutral=1.0 if term.operator is Operator.SCALE else 0.0,
        )
        for term in steering
    ]
    knobs.append(Knob.speed(speed))
    if replanning:
        knobs.append(Knob.replan(replan, _LARGEST_REPLAN))
    return Panel(steering, pack, tuple(knobs), packs)


def _label(path: str | None) -> str:
    """What the page calls a pack."""
    return "the policy's own" if path is None else Path(path).stem


def _has_pack(policy: Policy) -> bool:
    """Whether the policy brings one: beside its checkpoint, or mounted on its server."""
    from vlasteer.steering import FeaturePack

    if isinstance(getattr(policy, "pack", None), FeaturePack):
        return True
    return (Path(policy.name).expanduser() / "features.json").is_file()


def _is_organism(policy: Policy) -> bool:
    from vlasteer.checkpoints import shipped_checkpoints

    shipped = shipped_checkpoints()
    return policy.name in shipped or Path(policy.name) in shipped.values()
