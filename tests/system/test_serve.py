"""`vlasteer serve` as a process, with `vlasteer act --policy ws://...` at the other end."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from server_process import ServerProcess, server_process

from vlasteer.launch.cli import main
from vlasteer.registry import load_policy
from vlasteer.steering import FeaturePack, Steering, steer
from vlasteer.types import Observation

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("serve")
    frame = np.random.default_rng(1).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    Image.fromarray(frame).save(folder / "frame.png")
    features = {"fast": ["0:16", "0:69", "1:5"], "low": ["1:7"]}
    (folder / "pack.json").write_text(json.dumps({"format": "vlasteer-feature-pack/1", "features": features}))
    return folder


@pytest.fixture(scope="module")
def checkpoint(openvla_tiny: Path, files: Path) -> list[str]:
    return ["--policy", str(openvla_tiny), "--unnorm-key", "libero_10", "--pack", str(files / "pack.json")]


@pytest.fixture(scope="module")
def server(checkpoint: list[str], files: Path):
    with server_process(*checkpoint, "--env", "libero_goal", log=files / "log.txt") as process:
        yield process


def act(capsys: pytest.CaptureFixture[str], files: Path, *arguments: object) -> dict:
    capsys.readouterr()
    seen = ["--image", str(files / "frame.png"), "--instruction", "pick up the bowl"]
    assert main(["act", "--json", *(str(a) for a in arguments), *seen]) == 0
    return json.loads(capsys.readouterr().out)


def test_act_says_the_same_here_and_there(server: ServerProcess, openvla_tiny, files, capsys) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vlasteer.registry.resolve_checkpoint", pytest.fail)  # a server is no checkpoint
        there = act(capsys, files, "--policy", server.url, "--steer", "fast=20")
        plain = act(capsys, files, "--policy", server.url)
    frame = np.asarray(Image.open(files / "frame.png"))
    policy = load_policy(openvla_tiny, unnorm_key="libero_10", world="libero_goal", self_test=False)
    pack = FeaturePack.load(files / "pack.json", policy.anatomy, policy.checkpoint_hash)
    with steer(policy, Steering.of(pack["fast"], 20.0)):
        here = policy.act(Observation({"image": frame}, "pick up the bowl"))
    assert there["token_ids"] == here.token_ids.tolist()
    np.testing.assert_array_equal(there["actions"], here.actions)
    assert there["steering"] == {"fast": 20.0}
    assert plain["steering"] == {}
    assert plain["token_ids"] != there["token_ids"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--steer", "fsat=1"], "unknown feature 'fsat'. Expected one of: fast, low"),
        (["--steer", "fast=1000"], "from -100 to 100"),
        (["--steer", "fast=1", "--operator", "add"], "as the server at ws://"),
        (["--steer", "fast=1", "--pack", "pack.json"], "Give --pack to vlasteer serve"),
        (["--clamp", "0:1", "--coefficient", "1"], "are on the server"),
        (["--unnorm-key", "libero_10"], "have no option --unnorm-key"),
        (["--device", "cpu"], "Give --device to vlasteer serve"),
    ],
    ids=str,
)
def test_what_only_the_server_can_do_is_refused(server: ServerProcess, files, capsys, arguments, said) -> None:
    seen = ["--image", str(files / "frame.png"), "--instruction", "x"]
    assert main(["act", "--policy", server.url, *seen, *arguments]) == 2
    assert said in capsys.readouterr().err


def test_a_rollout_is_the_same_here_and_there(server: ServerProcess, checkpoint, shared, tmp_path, capsys) -> None:
    common = [
        "--env", "libero_goal", "--assets", str(shared / "libero"), "--fast-render", "--horizon", "4",
        "--steer", "fast=10", "--paired",
    ]  # fmt: skip
    assert main(["rollout", *checkpoint, *common, "--out", str(tmp_path / "here")]) == 0
    assert main(["rollout", "--policy", server.url, *common, "--out", str(tmp_path / "there")]) == 0
    here, there = ((tmp_path / name / "comparison.csv").read_text() for name in ("here", "there"))
    assert here == there
    other = ["--env", "libero_10", *common[2:], "--out", str(tmp_path / "other")]
    assert main(["rollout", "--policy", server.url, *other]) == 2
    assert "started with --env libero_goal" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=str)
def test_a_signal_ends_it_in_order(checkpoint, files, tmp_path, number, capsys) -> None:
    with server_process(*checkpoint, "--steer", "fast=3", log=tmp_path / "log.txt") as process:
        assert act(capsys, files, "--policy", process.url)["steering"] == {}
        assert process.stop(number) == 130
    log = (tmp_path / "log.txt").read_text()
    assert "mounted: fast, low" in log
    assert "left after 1 answers and 0 errors" in log
    assert "Traceback" not in log


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--host", "0.0.0.0"], "expected a token|--token-file FILE"),
        (["--token-file", "/nonexistent"], "cannot be read"),
        (["--port", "70000"], "0 to 65535"),
        (["--max-batch", "0"], "1 to 1024"),
        (["--max-coefficient", "nan"], "positive"),
        (["--steer", "fast=500"], "--max-coefficient 100"),
        (["--operator", "add", "--steer", "fsat=1"], "unknown feature"),
    ],
    ids=str,
)
def test_a_server_that_cannot_be_is_refused(checkpoint, capsys, arguments, said) -> None:
    assert main(["serve", *checkpoint, *arguments]) == 2
    shown = capsys.readouterr().err
    assert any(part in shown for part in said.split("|")), shown


def test_a_server_of_a_server_is_refused(capsys) -> None:
    assert main(["serve", "--policy", "ws://127.0.0.1:1"]) == 2
    assert "served already" in capsys.readouterr().err
