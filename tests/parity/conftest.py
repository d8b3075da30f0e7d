"""Reference arrays and observations of the Pi family. A test module says with `FIXTURE` which set it is about."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from vlasteer.types import Observation

Arrays = dict[str, NDArray[Any]]


@pytest.fixture(scope="module")
def manifest(shared: Path) -> dict[str, Any]:
    return json.loads((shared / "fixtures" / "manifest.json").read_text())


@pytest.fixture(scope="module")
def reference(shared: Path, request: pytest.FixtureRequest) -> Arrays:
    with np.load(shared / "fixtures" / "refs" / f"{request.module.FIXTURE}.npz", allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope="module")
def observations(reference: Arrays, manifest: dict[str, Any], request: pytest.FixtureRequest) -> list[Observation]:
    return [
        Observation(
            {"image": reference[f"obs{i}_image0"], "image2": reference[f"obs{i}_image1"]},
            task,
            reference[f"obs{i}_state"].astype(np.float64),
        )
        for i, task in enumerate(manifest[request.module.FIXTURE]["tasks"])
    ]
