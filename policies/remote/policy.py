"""A policy on another machine, as a policy here."""

from __future__ import annotations

import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vlasteer.anatomy import Anatomy
from vlasteer.errors import ConfigError, SteeringError
from vlasteer.policies.remote.connection import ANSWER_S, Connection
from vlasteer.policies.remote.messages import ServerInfo, read_chunk, request_document
from vlasteer.steering import FeaturePack, Port, Steering, Term
from vlasteer.types import ActionChunk, ActionSpec, Observation


class RemotePolicy:
    """What `vlasteer serve` offers at an address; fits `vlasteer.protocols.Policy` but for its anatomy.

    The rows of a batch travel on connections of their own, so that the server answers them as one batch.

    Steering works as with any policy, with the features that the server has mounted: `pack` holds them, and
    `steer(policy, steering)` sends coefficients with every request instead of writing them into a model. Every request
    says what it wants of every feature, so what the server applies by default reaches only clients that say nothing.

    Args:
        url: ws://host:port or wss://host:port.
        token: that the server asks for.
        answer_s: seconds to wait for an answer.

    Raises:
        ConfigError: the address is none, or the token is refused.
        VlasteerError: nobody answers, or no vlasteer server does.
    """

    def __init__(self, url: str, *, token: str | None = None, answer_s: float = ANSWER_S) -> None:
        self.name = url
        self._token, self._answer_s = token, answer_s
        self._connections: list[Connection] = [self._connect()]
        self.info: ServerInfo = self._connections[0].info
        self.kind: str = self.info.kind
        self.cameras: tuple[str, ...] = self.info.cameras
        self.state_size: int = self.info.state_size
        self._port: Port | None = None
        weakref.finalize(self, _close_all, self._connections)  # also when the process ends

    @property
    def anatomy(self) -> Anatomy:
        """Refused: the model is not here.

        Raises:
            SteeringError: always.
        """
        raise SteeringError(
            f"the neurons of {self.name} are on the server",
            expected=f"its mounted features ({', '.join(self.info.steering.names) or 'none'})",
            fix="Look into the checkpoint where it lies, and mount features with: vlasteer serve --pack FILE",
        )

    @property
    def action_spec(self) -> ActionSpec:
        """Convention of the actions, as the server states it."""
        return self.info.action_spec

    @property
    def checkpoint_hash(self) -> str:
        """That of the served checkpoint."""
        return self.info.checkpoint_hash

    @property
    def pack(self) -> FeaturePack:
        """The features that the server has mounted; `coefficient`s are given in its unit of each."""
        features = {term.name: term.feature for term in self.info.steering}
        return FeaturePack(features, self.checkpoint_hash, self.info.name)

    # -- acting --------------------------------------------------------------------------------------------------------
    def act(self, observation: Observation, noise: NDArray[np.float32] | None = None) -> ActionChunk:
        """Answer one observation; `inference_s` is the round trip.

        Raises:
            InputError: the server cannot use the observation, the coefficients or the noise.
            VlasteerError: it failed, or the connection is lost.
        """
        return self.act_batch([observation], noise)[0]

    def act_batch(
        self,
        observations: Sequence[Observation],
        noise: NDArray[np.float32] | None = None,
        rows: Sequence[int] | None = None,
    ) -> list[ActionChunk]:
        """Answer several; see `vlasteer.protocols.Policy.act_batch`. Raises as `act` does."""
        started = time.perf_counter()
        rows = range(len(observations)) if rows is None else rows
        if len(rows) != len(observations):
            raise ConfigError(
                f"{len(rows)} steering rows for {len(observations)} observations", expected="one for each"
            )
        if noise is not None and noise.ndim > 2 and len(noise) != len(observations):
            raise ConfigError(f"noise for {len(noise)} of {len(observations)} observations", expected="one for each")
        if self._port is not None:
            self._port.commit()
        requests = [
            request_document(
                self._what_it_reads(seen), self._knobs(row), noise if noise is None or noise.ndim <= 2 else noise[i]
            )
            for i, (seen, row) in enumerate(zip(observations, rows, strict=True))
        ]
        answers = []
        try:
            for first in range(0, len(requests), self.info.max_batch):
                asked = [(self._connection(i), r) for i, r in enumerate(requests[first : first + self.info.max_batch])]
                for connection, request in asked:
                    connection.send(request)
                answers += [connection.receive() for connection, _ in asked]
        except BaseException:
            self.close()  # answers that nobody has read would be taken for those of the next requests
            raise
        seconds = time.perf_counter() - started
        chunks = [read_chunk(answer, inference_s=seconds) for answer in answers]
        return [replace(chunk, applied=self._relevant(chunk)) for chunk in chunks]

    def example(self, seed: int = 0) -> Observation:
        """A valid observation with random pixels and a state of zeros."""
        generator = np.random.default_rng(seed)
        images = {name: generator.integers(0, 256, (256, 256, 3), dtype=np.uint8) for name in self.cameras}
        return Observation(images, "pick up the red block", np.zeros(self.state_size) if self.state_size else None)

    def close(self) -> None:
        """Close the connections; the next request opens new ones. Idempotent."""
        _close_all(self._connections)

    def _what_it_reads(self, observation: Observation) -> Observation:
        """Without images of other cameras, which would only travel."""
        images = {name: image for name, image in observation.images.items() if name in self.cameras}
        return replace(observation, images=images)

    def _connection(self, index: int) -> Connection:
        while len(self._connections) <= index:
            connection = self._connect()
            if connection.info != self.info:
                connection.close()
                raise ConfigError(f"the server at {self.name} serves something else by now", fix="Start again")
            self._connections.append(connection)
        return self._connections[index]

    def _connect(self) -> Connection:
        return Connection(self.name, token=self._token, answer_s=self._answer_s)

    # -- steering ------------------------------------------------------------------------------------------------------
    @contextmanager
    def steered(self, steering: Steering, rows: int, negative_control: bool = False) -> Iterator[Port]:
        """What `vlasteer.steering.steer` does with this policy: a port whose values are sent with the requests.

        Args:
            steering: of features that the server has mounted, as it has mounted them.
            rows: of a batch that can be set independently.
            negative_control: of no effect; the server has decided what may be mounted.

        Raises:
            UnknownNameError: the server has not mounted the feature.
            SteeringError: it has mounted it otherwise, or this policy is steered already.
        """
        if self._port is not None:
            raise SteeringError("the policy is steered already", fix="Leave the other steer(...) context first")
        for term in steering:
            self._check(term)
        self._port = Port(steering, rows, ())
        try:
            yield self._port
        finally:
            self._port = None

    def _check(self, term: Term) -> None:
        _ = self.pack[term.name]
        served = self.info.steering.term(term.name)
        if _meaning(term) != _meaning(served):
            raise SteeringError(
                f"feature '{term.name}' with operator {term.operator.value}, scope {term.scope} and {_unit(term)}",
                expected=f"operator {served.operator.value}, scope {served.scope} and {_unit(served)} on the same "
                f"neurons, as the server at {self.name} has mounted it",
                fix="Start the server with these --operator, --scope, --steer and --pack",
            )

    def _knobs(self, row: int) -> dict[str, float | None]:
        if self._port is None:
            return dict.fromkeys(self.info.steering.names)
        if self._port.rows > 1 and not 0 <= row < self._port.rows:
            raise SteeringError(
                f"steering row {row} in a batch",
                expected=f"rows below {self._port.rows}, as mounted",
                fix="Mount with steer(policy, steering, rows=N)",
            )
        return dict.fromkeys(self.info.steering.names) | self._port.applied(row)

    def _relevant(self, chunk: ActionChunk) -> dict[str, float | None]:
        """What was applied, without the server's further features that are off."""
        mine = () if self._port is None else self._port.names
        return {name: value for name, value in chunk.applied.items() if name in mine or value is not None}


def _close_all(connections: list[Connection]) -> None:
    while connections:
        connections.pop().close()


def _meaning(term: Term) -> tuple[object, ...]:
    neurons = tuple(item.neuron for item in term.feature.neurons)
    return term.operator, term.scope, neurons, term.targets(), dict(term.feature.weights_at)


def _unit(term: Term) -> str:
    plain = term.targets() == tuple(item.weight for item in term.feature.neurons)
    return "plain coefficients" if plain else f"coefficients such as {term.coefficient}"
