"""Scopes: at which positions of which forward passes a steering acts.

Every stream of a policy names its kinds of position (`PassContext.kind_names`), e.g. OpenVLA's ("text", "image",
"decode"). A scope is a set of kinds, written as a word or as several joined by `+`:

    all       every position of every pass (the paper's OpenVLA experiments)
    prefill   the first pass: image and text positions (what the authors' code does to Pi0-FAST)
    decode    the passes that generate action tokens
    image, text, ...  single kinds, or families of them: `decode` covers `decode.1`, `decode.2`, ...
    text.last, decode.1  one of a family (OpenVLA: where the first action token comes from, and the second)
    step0..stepN      single denoising steps of a flow-matching expert; `step2-5` is a range
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from vlasteer.errors import UnknownNameError

_PREFILL = ("text", "image")
_FAMILY = "."
_STEP_RANGE = re.compile(r"step(\d+)-(\d+)$")


def scope_kinds(scope: str, kind_names: Sequence[str], others: Sequence[Sequence[str]] = ()) -> tuple[int, ...]:
    """Indices into `kind_names` that `scope` covers, ascending.

    Args:
        scope: see above.
        kind_names: kinds of position of the stream.
        others: kinds of the policy's other streams. A part that names something there covers nothing here: `prefill`
            says nothing about an action expert.

    Raises:
        UnknownNameError: a part of the scope names nothing in any stream.
    """
    covered: set[int] = set()
    for part in (p.strip() for p in scope.split("+")):
        try:
            covered |= _part_kinds(part, kind_names)
        except UnknownNameError:
            if not any(_names_something(part, names) for names in others):
                raise
    return tuple(sorted(covered))


def _names_something(part: str, kind_names: Sequence[str]) -> bool:
    try:
        return bool(_part_kinds(part, kind_names))
    except UnknownNameError:
        return False


def _part_kinds(part: str, kind_names: Sequence[str]) -> set[int]:
    if part == "all":
        return set(range(len(kind_names)))
    if part == "prefill" and any(k in kind_names for k in _PREFILL):
        return {i for i, k in enumerate(kind_names) if _family(k) in _PREFILL}
    if part in kind_names or part in map(_family, kind_names):
        return {i for i, k in enumerate(kind_names) if part in (k, _family(k))}
    span = _STEP_RANGE.fullmatch(part)
    if span:
        wanted = {f"step{i}" for i in range(int(span[1]), int(span[2]) + 1)}
        if wanted and wanted <= set(kind_names):
            return {i for i, k in enumerate(kind_names) if k in wanted}
    words = ["all", *(["prefill"] if "text" in kind_names else []), *map(_family, kind_names), *kind_names]
    raise UnknownNameError.among("scope", part, list(dict.fromkeys(words)))


def _family(kind: str) -> str:
    return kind.partition(_FAMILY)[0]
