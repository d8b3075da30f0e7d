"""A toy policy behind a real server on a loopback port, for tests of both ends of the wire."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from toys import SPEC, ToyPolicy

from vlasteer.anatomy import Neuron
from vlasteer.launch.serving.server import Access, PolicyServer
from vlasteer.policies.remote.messages import ServerInfo
from vlasteer.steering import Feature, Steering, steer
from vlasteer.types import ActionChunk, Observation

FEATURES = {
    "fast": Feature.of("fast", [Neuron("vlm", 0, i) for i in range(8)]),
    "up": Feature.of("up", [Neuron("vlm", 1, 3), Neuron("vlm", 2, 4)]),
}
MOUNTED = Steering.of(FEATURES["fast"], None) + Steering.of(FEATURES["up"], 2.0)


class ServedToy(ToyPolicy):
    """The toy, with `applied` as real policies report it, noise, and an instruction at which it breaks."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []
        self.hold: threading.Event | None = None

    def act_batch(
        self,
        observations: Sequence[Observation],
        noise: NDArray[np.float32] | None = None,
        rows: Sequence[int] | None = None,
    ) -> list[ActionChunk]:
        self.batches.append(len(observations))
        if self.hold is not None:
            self.hold.wait(10)
        if any(seen.instruction == "break" for seen in observations):
            raise ZeroDivisionError("a secret of the server's")
        rows = list(range(len(observations))) if rows is None else list(rows)
        chunks = super().act_batch(observations, None, rows)
        offsets = np.zeros((len(rows), 1, 1)) if noise is None else noise.reshape(len(rows), -1).sum(1)[:, None, None]
        return [
            replace(c, actions=c.actions + offset, applied=self.context.applied(row), token_ids=np.array([50, 3]))
            for c, offset, row in zip(chunks, offsets, rows, strict=True)
        ]


def info(steering: Steering = MOUNTED, **changes: Any) -> ServerInfo:
    """What the toy's server says."""
    return replace(
        ServerInfo(
            name="toy",
            kind="toy",
            cameras=("image", "image2"),
            state_size=3,
            action_spec=SPEC,
            checkpoint_hash="toy-hash",
            world=None,
            steering=steering,
            max_coefficient=100.0,
            max_batch=4,
            max_message_bytes=200_000,
        ),
        **changes,
    )


@contextmanager
def serving(
    policy: ServedToy,
    steering: Steering = MOUNTED,
    *,
    token: str | None = None,
    max_clients: int = 8,
    window_s: float = 0.0,
    **changes: Any,
) -> Iterator[PolicyServer]:
    """The policy behind a server on a free loopback port; everything is stopped at the end."""
    told = info(steering, cameras=("image",), **changes)
    stop = threading.Event()

    def check() -> None:
        if stop.is_set():
            raise KeyboardInterrupt

    with steer(policy, steering, rows=told.max_batch) as port:
        access = Access(port=0, token=token, max_clients=max_clients)
        server = PolicyServer(policy, port, told, access, window_s=window_s, log=lambda line: None)

        def run() -> None:
            with suppress(KeyboardInterrupt):
                server.run(check)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield server
        finally:
            stop.set()
            if policy.hold is not None:
                policy.hold.set()
            thread.join(10)
            server.close()
            assert not thread.is_alive()
