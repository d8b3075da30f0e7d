"""A policy that another machine computes: `--policy ws://host:port`, served there by `vlasteer serve`.

codec       MessagePack with NumPy arrays
messages    what client and server tell each other, as documents of the codec
connection  one websocket to a server
policy      connections as a `vlasteer.protocols.Policy`

Imports go from the bottom of this list upwards. The server, `vlasteer.launch.serving`, reads and writes the same
messages. docs/serving.md describes the protocol.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vlasteer.errors import ConfigError

if TYPE_CHECKING:
    from vlasteer.policies.remote.policy import RemotePolicy

SCHEMES = ("ws://", "wss://")


def recognises(folder: Path) -> bool:
    """Never: a remote policy has no folder."""
    return False


def recognises_name(name: str) -> bool:
    """Whether the name is the address of a server."""
    return name.startswith(SCHEMES)


def load(
    folder: Path | None,
    name: str,
    *,
    device: str | None = None,
    dtype: str | None = None,
    token_file: str | None = None,
    world: str | None = None,
) -> RemotePolicy:
    """Connect to the server at `name`; see `RemotePolicy`.

    Args:
        folder: none.
        name: ws://host:port or wss://host:port.
        device, dtype: the server's business, and refused here.
        token_file: file with the token that the server asks for.
        world: name of the world that the policy will act in; the server must have been started for the same one.

    Raises:
        ConfigError: device or dtype was given, the token cannot be read or is refused, or the server serves another
            world.
        VlasteerError: nobody answers there, or no vlasteer server does.
    """
    from vlasteer.policies.remote.connection import read_token
    from vlasteer.policies.remote.policy import RemotePolicy

    for option, value in (("--device", device), ("--dtype", dtype)):
        if value is not None:
            raise ConfigError(f"{option} was given for a policy on a server", fix=f"Give {option} to vlasteer serve")
    policy = RemotePolicy(name, token=None if token_file is None else read_token(token_file))
    if world is not None and policy.info.world != world:
        served = f"with --env {policy.info.world}" if policy.info.world else "without --env"
        policy.close()
        raise ConfigError(
            f"the server at {name} was started {served}",
            expected=f"a server for '{world}', which decides image path and statistics",
            fix=f"Start it with: vlasteer serve --policy CHECKPOINT --env {world}",
        )
    return policy
