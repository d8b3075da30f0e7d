"""Why a command is not what was wanted."""

from __future__ import annotations

from enum import IntFlag


class Reason(IntFlag):
    """Flags of one tick; several may be set. `names` puts them into words."""

    NOT_FINITE = 1
    """The wanted joint angles are no six finite numbers: held."""
    BEYOND_RANGE = 2
    """They are beyond what the joints can turn (degrees, perhaps): held."""
    JOINT_LIMIT = 4
    JOINT_SPEED = 8
    JOINT_ACCELERATION = 16
    TCP_SPEED = 32
    TCP_TURN = 64
    ELBOW_SPEED = 128
    TCP_WORKSPACE = 256
    ELBOW_WORKSPACE = 512
    TABLE = 1024
    SINGULARITY = 2048
    OUT_OF_REACH = 4096
    """No joint angles reach the pose: the action was left out."""
    BRANCH_JUMP = 8192
    """Only a jump to another solution of the inverse kinematics would: the action was left out."""
    CLIPPED = 16384
    """The pose was moved back into the workspace."""
    STRETCHED = 32768
    """An action takes longer than its period so that speeds are kept."""
    UNDERRUN = 65536
    """Everything is executed and nothing new has come: held."""
    EXPIRED = 131072
    """The rest of a chunk became too old and was dropped: held."""
    RELEASED = 262144
    """The operator does not hold: held."""
    LAPSED = 524288
    """The operator's permission became too old, or is from before the start; a release and a new press are needed."""

    @property
    def names(self) -> tuple[str, ...]:
        """Its flags in words, e.g. ("tcp speed", "table")."""
        return tuple(flag.name.lower().replace("_", " ") for flag in Reason if flag in self and flag.name)
