"""A steering in JSON types, as runs record it, and back: the numbers, independent of any feature pack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vlasteer.anatomy import Anatomy
from vlasteer.errors import InputError
from vlasteer.steering.features import Feature, Operator, WeightedNeuron
from vlasteer.steering.packs import parse_neuron
from vlasteer.steering.value import Steering, Term


def describe(steering: Steering) -> list[dict[str, Any]]:
    """One dictionary per term: feature, coefficient, operator, scope, neurons, targets (see `Term.targets`)."""
    described = []
    for term in steering:
        document: dict[str, Any] = {
            "feature": term.name,
            "coefficient": str(term.coefficient),
            "operator": term.operator.value,
            "scope": term.scope,
            "neurons": [str(item.neuron) for item in term.feature.neurons],
            "targets": list(term.targets()),
        }
        if term.feature.weights_at:
            document["targets_at"] = {kind: list(term.targets(kind)) for kind in term.feature.weights_at}
        described.append(document)
    return described


def restore(description: Sequence[Mapping[str, Any]], anatomy: Anatomy) -> Steering:
    """The steering that `describe` was given, all of it off: coefficient c of a knob does what c did then.

    A quantile has become the numbers that it stood for.

    Raises:
        InputError: no description.
        SteeringError: a neuron that this policy does not have.
    """
    terms = []
    try:
        for document in description:
            neurons = [parse_neuron(str(neuron), anatomy) for neuron in document["neurons"]]
            weighted = tuple(WeightedNeuron(n, float(w)) for n, w in zip(neurons, document["targets"], strict=True))
            at = {kind: tuple(map(float, weights)) for kind, weights in document.get("targets_at", {}).items()}
            operator = Operator.parse(str(document["operator"]))
            feature = Feature(str(document["feature"]), weighted, weights_at=at)
            terms.append(Term(feature, None, operator, str(document["scope"])))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"the description of a steering cannot be read: {error!r}") from error
    return Steering(terms)
