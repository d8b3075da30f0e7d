"""What client and server tell each other, as documents of the codec; docs/serving.md lists the keys.

The server's first message is a `ServerInfo`. Then every message of the client is a request, and every one of the server
an answer: a document, or a text that says why there is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlasteer.anatomy import Neuron
from vlasteer.errors import VlasteerError
from vlasteer.steering import Feature, Operator, Quantile, Steering, Term, WeightedNeuron
from vlasteer.types import ActionChunk, ActionKind, ActionSpec, Gripper, Observation

PROTOCOL = 1
"""Number of what this file adds to openpi's protocol; another one is refused."""
BAD_REQUEST = "bad request: "
"""Begins the text that answers a request which cannot be answered; the connection stays open."""
SERVER_ERROR = "server error: "
"""Begins the text that answers a request at which the policy failed."""

Knobs = Mapping[str, float | None]
"""Feature -> coefficient, None: off."""


@dataclass(frozen=True)
class ServerInfo:
    """What a server says of itself to every client that connects.

    Attributes:
        name: the checkpoint's, for people.
        kind, cameras, state_size, action_spec, checkpoint_hash: of the policy.
        world: name of the world that the policy was prepared for, or None.
        steering: the mounted features; the coefficients are for requests that name none.
        max_coefficient: bound on the magnitude of a request's coefficients.
        max_batch: requests that are answered together.
        max_message_bytes: of a request.
        version: of vlasteer.
    """

    name: str
    kind: str
    cameras: tuple[str, ...]
    state_size: int
    action_spec: ActionSpec
    checkpoint_hash: str
    world: str | None
    steering: Steering
    max_coefficient: float
    max_batch: int
    max_message_bytes: int
    version: str = field(default="", compare=False)

    def document(self) -> dict[str, Any]:
        """As the first message."""
        return {
            "vlasteer": PROTOCOL,
            "version": self.version,
            "policy": self.name,
            "kind": self.kind,
            "cameras": list(self.cameras),
            "state_size": self.state_size,
            "action_spec": spec_document(self.action_spec),
            "checkpoint_hash": self.checkpoint_hash,
            "world": self.world,
            "features": {term.name: _term_document(term) for term in self.steering},
            "max_coefficient": self.max_coefficient,
            "max_batch": self.max_batch,
            "max_message_bytes": self.max_message_bytes,
        }

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> ServerInfo:
        """From the first message.

        Raises:
            VlasteerError: another server's, or another version's.
        """
        if document.get("vlasteer") != PROTOCOL:
            raise VlasteerError(
                f"it is no vlasteer server of protocol {PROTOCOL} (its metadata: {', '.join(document)[:80] or 'none'})",
                expected="vlasteer serve of the same version: other servers do not say what their actions mean",
            )
        try:
            return cls(
                name=str(document["policy"]),
                kind=str(document["kind"]),
                cameras=tuple(map(str, document["cameras"])),
                state_size=int(document["state_size"]),
                action_spec=read_spec(document["action_spec"]),
                checkpoint_hash=str(document["checkpoint_hash"]),
                world=None if document["world"] is None else str(document["world"]),
                steering=Steering([_read_term(name, body) for name, body in document["features"].items()]),
                max_coefficient=float(document["max_coefficient"]),
                max_batch=int(document["max_batch"]),
                max_message_bytes=int(document["max_message_bytes"]),
                version=str(document["version"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise VlasteerError(f"its metadata cannot be read ({type(error).__name__}: {error})") from error


# -- conventions and features ------------------------------------------------------------------------------------------
def spec_document(spec: ActionSpec) -> dict[str, Any]:
    """An action convention as plain values."""
    return {
        "kind": spec.kind.value,
        "gripper": spec.gripper.value,
        "scale": list(spec.scale),
        "rate_hz": spec.rate_hz,
        "names": list(spec.names),
    }


def read_spec(document: Mapping[str, Any]) -> ActionSpec:
    """The reverse of `spec_document`; raises KeyError, TypeError or ValueError where it is none."""
    return ActionSpec(
        kind=ActionKind(document["kind"]),
        gripper=Gripper(document["gripper"]),
        scale=tuple(map(float, document["scale"])),
        rate_hz=float(document["rate_hz"]),
        names=tuple(map(str, document["names"])),
    )


def _term_document(term: Term) -> dict[str, Any]:
    quantile = term.coefficient.probability if isinstance(term.coefficient, Quantile) else None
    return {
        "neurons": [str(item.neuron) for item in term.feature.neurons],
        "weights": np.array([item.weight for item in term.feature.neurons]),
        "weights_at": {kind: np.array(weights) for kind, weights in term.feature.weights_at.items()},
        "operator": term.operator.value,
        "scope": term.scope,
        "coefficient": term.factor,
        "quantile": quantile,
        "quantile_values": None if quantile is None else np.array(term.targets()),
    }


def _read_term(name: str, body: Mapping[str, Any]) -> Term:
    neurons, weights = body["neurons"], [float(weight) for weight in body["weights"]]
    probability, coefficient = body["quantile"], body["coefficient"]
    quantiles: list[dict[float, float]] = [{} for _ in neurons]
    if probability is not None:
        quantiles = [{float(probability): float(value)} for value in body["quantile_values"]]
        coefficient = Quantile(float(probability), float(coefficient))
    items = zip(map(_read_neuron, neurons), weights, quantiles, strict=True)
    operator = Operator(body["operator"])
    weights_at = {str(kind): tuple(map(float, row)) for kind, row in body.get("weights_at", {}).items()}
    neurons = tuple(WeightedNeuron(*item) for item in items)
    feature = Feature(name, neurons, operator, str(body["scope"]), weights_at=weights_at)
    return Term(feature, coefficient, operator, feature.scope)


def _read_neuron(text: str) -> Neuron:
    stream, layer, index = text.split(":")
    return Neuron(stream, int(layer), int(index))


# -- requests and answers ----------------------------------------------------------------------------------------------
def request_document(
    observation: Observation, steering: Knobs, noise: NDArray[np.float32] | None = None
) -> dict[str, Any]:
    """A request in vlasteer's own keys. The server's `vlasteer.launch.serving.requests` reads them, and openpi's."""
    document: dict[str, Any] = {f"images/{name}": image for name, image in observation.images.items()}
    document |= {"instruction": observation.instruction, "time_s": observation.time_s, "steering": dict(steering)}
    if observation.state is not None:
        document["state"] = observation.state
    if noise is not None:
        document["noise"] = noise
    return document


def chunk_document(chunk: ActionChunk) -> dict[str, Any]:
    """An answer. `actions` is what openpi's clients read."""
    return {
        "actions": chunk.actions,
        "actions_normalized": chunk.normalized,
        "action_spec": spec_document(chunk.spec),
        "steering": dict(chunk.applied),
        "token_ids": chunk.token_ids,
        "non_action_tokens": chunk.non_action_tokens,
        "observed_at_s": chunk.observed_at_s,
    }


def read_chunk(document: Mapping[str, Any], *, inference_s: float) -> ActionChunk:
    """The reverse of `chunk_document`; the steering is that of the answer.

    Raises:
        VlasteerError: the document is no answer.
    """
    try:
        return ActionChunk(
            actions=np.asarray(document["actions"], np.float64),
            spec=read_spec(document["action_spec"]),
            normalized=np.asarray(document["actions_normalized"], np.float64),
            token_ids=np.asarray(document["token_ids"], np.int64),
            non_action_tokens=int(document["non_action_tokens"]),
            observed_at_s=float(document["observed_at_s"]),
            inference_s=inference_s,
            applied={str(n): None if c is None else float(c) for n, c in document["steering"].items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise VlasteerError(f"its answer cannot be read ({type(error).__name__}: {error})") from error
