"""Fixtures that all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]

# Tests never touch the user's cache; theirs outlives a session, because compiling numba's kernels takes seconds.
os.environ["VLASTEER_CACHE"] = str(REPOSITORY / ".pytest_cache" / "vlasteer")


def shared_folder() -> Path | None:
    """The folder with the reference checkpoints and simulator assets, which the repository does not contain."""
    candidates = [os.environ.get("VLASTEER_SHARED", ""), str(REPOSITORY.parent / "shared")]
    return next((Path(c) for c in candidates if c and (Path(c) / "fixtures").is_dir()), None)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with `fixtures/` and `libero/`; tests that need it are skipped where it is absent."""
    folder = shared_folder()
    if folder is None:
        pytest.skip("reference checkpoints not found: set VLASTEER_SHARED to the folder that holds fixtures/")
    return folder


@pytest.fixture(scope="session")
def openvla_tiny(shared: Path) -> Path:
    """The tiny OpenVLA checkpoint with reference outputs of the original implementation."""
    return shared / "fixtures" / "openvla-tiny"
