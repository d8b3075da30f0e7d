"""A steering as numbers: per site, an affine map for every (row, position kind, neuron) that it touches.

All operators are affine in the activation, f := gain * f + bias, and so is any sequence of them; where nothing acts the
entry is inactive and the activation is passed through bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlasteer.anatomy import Anatomy, Site, SiteKey
from vlasteer.errors import SteeringError
from vlasteer.steering.features import Operator
from vlasteer.steering.scopes import scope_kinds
from vlasteer.steering.value import Steering


@dataclass(frozen=True)
class _Touch:
    """What one term touches at one site: columns of the site's table, and where it acts, by kind of position, the
    numbers for a factor of 1."""

    knob: int
    columns: NDArray[np.int64]
    targets: Mapping[int, NDArray[np.float32]]
    operator: Operator


@dataclass(frozen=True)
class SitePlan:
    """The part of a steering that lies at one site.

    Attributes:
        site: where.
        neurons: int64 [n], ascending; the columns of the tables.
        kinds: number of position kinds of the stream.
        touches: in the order of the steering's terms.
    """

    site: Site
    neurons: NDArray[np.int64]
    kinds: int
    touches: tuple[_Touch, ...]

    def fill(
        self,
        factors: Sequence[float | None],
        active: NDArray[np.bool_],
        gain: NDArray[np.float32],
        bias: NDArray[np.float32],
    ) -> None:
        """Write one row: `factors[knob]` is the coefficient of every knob (None: off); arrays are [kinds, n]."""
        active[:] = False
        gain[:] = 1.0
        bias[:] = 0.0
        for touch in self.touches:
            factor = factors[touch.knob]
            if factor is None:
                continue
            for kind, targets in touch.targets.items():
                g, b = _affine(touch.operator, factor, targets)
                active[kind, touch.columns] = True
                gain[kind, touch.columns] *= g
                bias[kind, touch.columns] = bias[kind, touch.columns] * g + b

    def depends_on(self, knob: int) -> bool:
        """Whether the knob touches this site."""
        return any(t.knob == knob for t in self.touches)


def _affine(
    operator: Operator, factor: float, targets: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    zeros = np.zeros_like(targets)
    match operator:
        case Operator.SET:
            return zeros, np.float32(factor) * targets
        case Operator.ADD:
            return zeros + 1, np.float32(factor) * targets
        case Operator.SCALE:
            return 1 + np.float32(factor - 1) * targets, zeros
        case Operator.ABLATE:
            return zeros, zeros


def plan(anatomy: Anatomy, steering: Steering, *, negative_control: bool = False) -> dict[SiteKey, SitePlan]:
    """Lay a steering out over the sites that it touches.

    Args:
        anatomy: of the policy.
        steering: what to lay out; its coefficients only matter where they are quantiles.
        negative_control: allow sites that cannot reach an action.

    Raises:
        SteeringError: a neuron that does not exist, one at a site that cannot reach an action, or a scope that covers
            no position of any of a feature's neurons.
        UnknownNameError: a scope or stream that the policy does not have.
    """
    sites: dict[SiteKey, Site] = {}
    chosen: dict[SiteKey, set[int]] = {}
    for term in steering:
        for item in term.feature.neurons:
            site = anatomy.check(item.neuron)
            if not site.reaches_action and not negative_control:
                raise SteeringError(
                    f"neuron {item.neuron} of feature '{term.name}' cannot reach an action: nothing reads what layer "
                    f"{site.key.layer} of stream '{site.key.stream}' writes",
                    fix="Drop it, or ask for it as a negative control (--negative-control)",
                )
            sites[site.key] = site
            chosen.setdefault(site.key, set()).add(item.neuron.index)
    plans = {key: _site_plan(anatomy, steering, sites[key], sorted(chosen[key])) for key in sorted(sites)}
    for knob, term in enumerate(steering):
        if not any(touch.targets for p in plans.values() for touch in p.touches if touch.knob == knob):
            raise SteeringError(
                f"scope '{term.scope}' covers no position that feature '{term.name}' acts at",
                fix="Choose another with --scope, e.g. all",
            )
    return plans


def _site_plan(anatomy: Anatomy, steering: Steering, site: Site, neurons: list[int]) -> SitePlan:
    column = {neuron: i for i, neuron in enumerate(neurons)}
    kind_names = anatomy.contexts[site.key.stream].kind_names
    others = [context.kind_names for name, context in anatomy.contexts.items() if name != site.key.stream]
    touches = []
    for knob, term in enumerate(steering):
        neurons_of = term.feature.neurons
        here = [i for i, n in enumerate(neurons_of) if (n.neuron.stream, n.neuron.layer) == site.key]
        if here:
            targets = {
                kind: np.array(term.targets(kind_names[kind]), np.float32)[here]
                for kind in scope_kinds(term.scope, kind_names, others)
            }
            columns = np.array([column[neurons_of[i].neuron.index] for i in here], np.int64)
            touches.append(_Touch(knob, columns, targets, term.operator))
    return SitePlan(site, np.array(neurons, np.int64), len(kind_names), tuple(touches))
