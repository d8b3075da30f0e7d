"""`vlasteer serve`: a policy for other processes and machines, over openpi's websocket protocol."""

from __future__ import annotations

import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vlasteer.errors import ConfigError
from vlasteer.launch.interruption import interruptible, interruptible_at_steps
from vlasteer.launch.options import PolicyOptions, SteeringOptions, load_pack

if TYPE_CHECKING:
    from vlasteer.policies.remote.messages import ServerInfo
    from vlasteer.protocols import Policy
    from vlasteer.steering import Steering


@dataclass(frozen=True, kw_only=True)
class Serve(PolicyOptions, SteeringOptions):
    """Serve a policy to openpi's clients and to --policy ws://host:port, with steering values per request.

    Every feature of --pack and --steer is mounted. The coefficients of --steer are for requests that name none;
    without one a feature is off. Runs until interrupted. The protocol is in docs/serving.md.

    Example:
        vlasteer serve --policy openvla/openvla-7b-finetuned-libero-goal --env libero_goal --pack features.json
        vlasteer act --policy ws://127.0.0.1:8000 --image frame.png --instruction "pick up the bowl" --steer fast=8
    """

    host: str = "127.0.0.1"
    """Address to listen at. Any but this machine's own needs --token-file."""
    port: int = 8000
    """TCP port; 0 takes a free one, which is printed."""
    token_file: str | None = None
    """File with the token that clients must present (Authorization: Api-Key TOKEN, or Bearer)."""
    env: str | None = None
    """World that the clients act in, e.g. libero_goal: decides image path and statistics where the policy asks."""
    max_batch: int = 8
    """Requests that are answered together."""
    window_ms: float = 3.0
    """How long a request waits for others to share its batch; not at all when every client has asked."""
    max_clients: int = 16
    """Connections that are open at once."""
    max_coefficient: float = 100.0
    """Bound on the magnitude of a request's coefficients."""
    max_message_mb: float = 16.0
    """Size of the largest request (MB)."""

    def run(self) -> int:
        """Load, mount, listen, answer."""
        from vlasteer.launch.serving.server import Access, PolicyServer
        from vlasteer.policies.remote.connection import read_token
        from vlasteer.steering import steer

        self._check()
        token = None if self.token_file is None else read_token(self.token_file)
        access = Access(self.host, self.port, token, self.max_clients)  # before the weights are read
        with interruptible():
            _log(f"loading {self.policy}")
            policy = self.load_policy(world=self.env, token_file=None)
            steering = self._steering(policy)
            info = self._info(policy, steering)
        with (
            interruptible_at_steps() as check,
            steer(policy, steering, rows=self.max_batch, negative_control=self.negative_control) as port,
        ):
            server = PolicyServer(policy, port, info, access, window_s=self.window_ms / 1e3, log=_log)
            try:
                print(f"Serving {info.name} at {server.url}", flush=True)
                _log(f"mounted: {', '.join(steering.names) or 'no features'}; Ctrl-C ends")
                server.run(check)
            finally:
                _log("stopping")
                server.close()
        return 0

    def _check(self) -> None:
        from vlasteer.policies.remote import recognises_name

        if recognises_name(self.policy):
            raise ConfigError(f"--policy {self.policy} is served already", expected="a checkpoint")
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"--port {self.port}", expected="a number from 0 to 65535")
        if not 1 <= self.max_batch <= 1024:
            raise ConfigError(f"--max-batch {self.max_batch}", expected="a number from 1 to 1024")
        if self.max_clients < 1:
            raise ConfigError(f"--max-clients {self.max_clients}", expected="at least 1")
        for name in ("window_ms", "max_coefficient", "max_message_mb"):
            value = getattr(self, name)
            if not (math.isfinite(value) and (value > 0 or (value == 0 and name == "window_ms"))):
                raise ConfigError(f"--{name.replace('_', '-')} {value}", expected="a positive number")

    def _steering(self, policy: Policy) -> Steering:
        """The features of --steer with their coefficients, and the others of --pack, off."""
        from vlasteer.steering import Steering

        if not self.steer and self.pack is None:
            return self.parse_steering(policy)[0]  # nothing; refuses --operator and --scope
        steering = self.parse_steering(policy)[0] if self.steer else Steering()
        for term in steering:
            if term.factor is not None and abs(term.factor) > self.max_coefficient:
                raise ConfigError(
                    f"--steer {term.name}={term.coefficient}",
                    expected=f"at most --max-coefficient {self.max_coefficient:g}",
                )
        if self.pack is not None:
            for name, feature in load_pack(policy, self.pack, []).features.items():
                if name not in steering.names:
                    steering = steering + Steering.of(feature, None, operator=self.operator, scope=self.scope)
        return steering

    def _info(self, policy: Policy, steering: Steering) -> ServerInfo:
        from vlasteer import __version__
        from vlasteer.policies.remote.messages import ServerInfo

        return ServerInfo(
            name=Path(policy.name).name,  # where it lies is nobody's business
            kind=policy.kind,
            cameras=policy.cameras,
            state_size=policy.state_size,
            action_spec=policy.action_spec,
            checkpoint_hash=policy.checkpoint_hash,
            world=self.env,
            steering=steering,
            max_coefficient=self.max_coefficient,
            max_batch=min(self.max_batch, self.max_clients),
            max_message_bytes=int(self.max_message_mb * 1e6),
            version=__version__,
        )


def _log(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)
