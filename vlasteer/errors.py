"""The one error tree.

Every message says what was wrong, what was expected and what to do about it, in one line. The command line prints that
line and leaves with `exit_status`; it never shows a traceback for a mistake of the user's.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class VlasteerError(Exception):
    """Base of everything this package raises on purpose.

    Args:
        problem: what was wrong, naming the value and where it came from.
        expected: what would have been right.
        fix: what to do, preferably a command to paste.
    """

    exit_status = 1

    def __init__(self, problem: str, *, expected: str = "", fix: str = "") -> None:
        self.problem, self.expected, self.fix = problem, expected, fix
        parts = [problem.rstrip(". ") + "."]
        if expected:
            parts.append(f"Expected {expected.rstrip('. ')}.")
        if fix:
            parts.append(fix.rstrip(". ") + ".")
        super().__init__(" ".join(parts))

    def __reduce__(self) -> tuple:
        # Default pickling would call __init__ with the joined message; worker processes send these over pipes.
        return _rebuild, (type(self), self.problem, self.expected, self.fix)


def _rebuild(cls: type[VlasteerError], problem: str, expected: str, fix: str) -> VlasteerError:
    return cls(problem, expected=expected, fix=fix)


class InputError(VlasteerError):
    """The user gave something that cannot be used (exit status 2)."""

    exit_status = 2


class UnknownNameError(InputError):
    """A name that is not in a known list; the message carries the closest one and the list."""

    @classmethod
    def among(cls, kind: str, name: object, known: Iterable[object]) -> UnknownNameError:
        """Error for `name` not being one of `known`, with a "did you mean" when something is close."""
        names = [str(k) for k in known]
        close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
        hint = f"Did you mean '{close[0]}'?" if close else ""
        shown = ", ".join(names[:40]) + (f", ... ({len(names)} in all)" if len(names) > 40 else "")
        return cls(f"unknown {kind} '{name}'", expected=f"one of: {shown or '(none)'}", fix=hint)

    def __str__(self) -> str:
        return super().__str__().replace("?.", "?")


class CheckpointError(InputError):
    """A checkpoint that is missing, truncated, of another kind, or whose tensors do not fit."""


class FeaturePackError(InputError):
    """A feature pack that cannot be read, or that was made for another checkpoint."""


class ConceptError(InputError):
    """A concept of which no word is a single token of the policy's vocabulary."""


class SteeringError(InputError):
    """A neuron, coefficient, operator or scope that the policy does not have."""


class ObservationError(InputError):
    """An observation without a camera, state or instruction that the policy needs, or with an unusable one."""


class ConventionError(InputError):
    """Actions of one convention offered to a world of another."""


class AssetsError(InputError):
    """Files that a simulator needs and that are not on this machine."""


class OutputError(InputError):
    """A place that cannot be written, or that holds something else already."""


class ConfigError(InputError):
    """A configuration value that is out of range or contradicts another."""


class MissingDependencyError(InputError):
    """A library that is not installed; the message carries the command that installs it."""

    @classmethod
    def for_extra(cls, library: str, extra: str) -> MissingDependencyError:
        """Error naming the extra that brings `library`."""
        return cls(f"the Python package '{library}' is not installed", fix=f"Run: pip install 'vlasteer[{extra}]'")


class SteeringNotLiveError(VlasteerError):
    """The self-test found that an intervention does not reach the action, or that an empty one changes it."""


class WorldError(VlasteerError):
    """A world that failed in operation: a simulator that cannot place its objects, a robot that stopped answering."""
