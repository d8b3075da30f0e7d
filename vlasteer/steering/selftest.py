"""Proof at load that steering is live: hooks that never fire are the classic silent failure here."""

from __future__ import annotations

import torch

from vlasteer.anatomy import Neuron, Site, record_activations
from vlasteer.errors import CheckpointError, SteeringNotLiveError
from vlasteer.protocols import Policy
from vlasteer.steering.features import Feature
from vlasteer.steering.mount import steer
from vlasteer.steering.value import Steering

CLAMP = 50.0
"""Far above natural activations, so that a single clamped layer shows even in bfloat16."""


def self_test(policy: Policy) -> None:
    """Check on the real modules: every site fires, an empty steering changes nothing, a clamp reaches the action.

    Runs the probe five times.

    Raises:
        SteeringNotLiveError: naming what failed.
        CheckpointError: the unsteered policy computes NaN or infinity.
    """
    anatomy = policy.anatomy
    with record_activations(anatomy, last_position_only=True) as seen, torch.no_grad():
        plain = anatomy.probe().clone()
    if not torch.isfinite(plain).all():
        raise CheckpointError(
            "the policy computes NaN or infinity", expected="finite weights", fix="Download the checkpoint again"
        )
    for site in anatomy.sites:
        _check_site(site, seen.passes.get(site.key, []))
    reaching = [s for s in anatomy.sites if s.reaches_action]
    first, last = reaching[0], reaching[-1]
    off = Steering.of(_block(first, "first"), None) + Steering.of(_block(last, "last"), None)
    with torch.no_grad(), steer(policy, off) as port:
        if not torch.equal(anatomy.probe(), plain):
            raise SteeringNotLiveError(
                "an empty steering changes the action logits", expected="bitwise equality with the unsteered model"
            )
        for name in ("first", "last"):
            port.set_all({"first": None, "last": None} | {name: CLAMP})
            port.commit()
            if torch.equal(anatomy.probe(), plain):
                site = first if name == "first" else last
                raise SteeringNotLiveError(f"clamping neurons of site {site.key} does not change the action logits")
    with torch.no_grad():
        if not torch.equal(anatomy.probe(), plain):
            raise SteeringNotLiveError(
                "the model differs after the steering was taken out", expected="bitwise equality"
            )


def _check_site(site: Site, passes: list[torch.Tensor]) -> None:
    if not passes:
        raise SteeringNotLiveError(f"the FFN at {site.path} never ran during the probe")
    if passes[0].shape[-1] != site.width:
        raise SteeringNotLiveError(
            f"the FFN at {site.path} has {passes[0].shape[-1]} neurons", expected=str(site.width)
        )


def _block(site: Site, name: str) -> Feature:
    count = min(8, site.width)
    return Feature.of(name, [Neuron(site.key.stream, site.key.layer, i) for i in range(count)])
