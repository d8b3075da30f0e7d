"""A server and its clients over a real loopback socket."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest
from serving import FEATURES, MOUNTED, ServedToy, serving
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from vlasteer.errors import ConfigError, InputError, SteeringError, UnknownNameError, VlasteerError
from vlasteer.launch.serving.server import Access, PolicyServer
from vlasteer.policies import remote
from vlasteer.policies.remote.codec import pack, unpack
from vlasteer.policies.remote.connection import Connection, read_token
from vlasteer.policies.remote.messages import request_document
from vlasteer.policies.remote.policy import RemotePolicy
from vlasteer.steering import Steering, steer

TOKEN = "0123456789abcdef"


@pytest.fixture
def toy() -> ServedToy:
    return ServedToy()


@pytest.fixture
def server(toy: ServedToy) -> Iterator[PolicyServer]:
    with serving(toy) as running:
        yield running


@pytest.fixture
def policy(server: PolicyServer) -> Iterator[RemotePolicy]:
    policy = RemotePolicy(server.url)
    yield policy
    policy.close()


def local(toy: ServedToy, seed: int, **knobs: float | None) -> np.ndarray:
    """What the toy itself answers with these coefficients; must not run beside a server."""
    steering = Steering([MOUNTED.term(name) for name in MOUNTED.names])
    with steer(toy, steering) as port:
        port.set_all({"fast": None, "up": None} | knobs)
        return toy.act(toy.example(seed)).actions


# -- answers -----------------------------------------------------------------------------------------------------------
def test_answers_are_those_of_the_policy_itself(policy: RemotePolicy) -> None:
    reference = ServedToy()
    chunk = policy.act(reference.example(1))
    np.testing.assert_array_equal(chunk.actions, local(reference, 1))
    np.testing.assert_array_equal(chunk.token_ids, [50, 3])
    assert chunk.spec == policy.action_spec == reference.action_spec
    assert chunk.applied == {}
    assert (policy.kind, policy.cameras, policy.state_size, policy.checkpoint_hash) == (
        "toy",
        ("image",),
        3,
        "toy-hash",
    )


def test_steering_changes_between_two_requests(policy: RemotePolicy) -> None:
    reference = ServedToy()
    seen = reference.example(1)
    with steer(policy, Steering.of(policy.pack["fast"], 8.0)) as port:
        steered = policy.act(seen)
        port.set("fast", -3.0)
        turned = policy.act(seen)
        port.set("fast", None)
        off = policy.act(seen)
    assert [chunk.applied for chunk in (steered, turned, off)] == [{"fast": 8.0}, {"fast": -3.0}, {"fast": None}]
    np.testing.assert_array_equal(steered.actions, local(reference, 1, fast=8.0))
    np.testing.assert_array_equal(turned.actions, local(reference, 1, fast=-3.0))
    np.testing.assert_array_equal(off.actions, local(reference, 1))
    assert not np.array_equal(steered.actions, turned.actions)


def test_rows_of_a_batch_carry_their_own_steering_and_equal_single_answers(toy, policy: RemotePolicy) -> None:
    seen = [toy.example(seed) for seed in range(6)]
    values = [None, 1.0, 5.0, -5.0, 20.0, None]
    with steer(policy, Steering.of(policy.pack["fast"], None), rows=6) as port:
        for row, value in enumerate(values):
            port.set("fast", value, row=row)
        chunks = policy.act_batch(seen)
    assert [chunk.applied["fast"] for chunk in chunks] == values
    reference = ServedToy()
    for seed, (chunk, value) in enumerate(zip(chunks, values, strict=True)):
        np.testing.assert_allclose(chunk.actions, local(reference, seed, fast=value), atol=1e-6)


def test_a_client_that_says_nothing_gets_the_servers_default(server: PolicyServer) -> None:
    reference = ServedToy()
    with connect(server.url) as client:
        unpack(client.recv())
        message = request_document(reference.example(1), {})
        del message["steering"]
        client.send(pack(message))
        answer = unpack(client.recv())
    assert answer["steering"] == {"fast": None, "up": 2.0}
    np.testing.assert_array_equal(answer["actions"], local(reference, 1, up=2.0))
    assert {"infer_ms", "wait_ms", "batch"} <= set(answer["server_timing"])


def test_clients_that_ask_together_are_answered_as_one_batch(toy) -> None:
    values = [None, 3.0, 7.0, -7.0]
    with serving(toy, window_s=10.0) as server:  # ends at once when all have asked
        clients = [Connection(server.url) for _ in values]
        for seed, (client, value) in enumerate(zip(clients, values, strict=True)):
            client.send(request_document(toy.example(seed), {"fast": value, "up": None}))
        answers = [client.receive() for client in clients]
        for client in clients:
            client.close()
    assert toy.batches == [4]
    assert [answer["steering"]["fast"] for answer in answers] == values
    assert [answer["server_timing"]["batch"] for answer in answers] == [4] * 4
    reference = ServedToy()
    for seed, (answer, value) in enumerate(zip(answers, values, strict=True)):
        np.testing.assert_allclose(answer["actions"], local(reference, seed, fast=value), atol=1e-6)


def test_a_window_ends_without_those_that_do_not_ask(toy) -> None:
    with serving(toy, window_s=0.01) as server:
        idle, asking = Connection(server.url), Connection(server.url)
        asking.send(request_document(toy.example(0), {}))
        assert asking.receive()["server_timing"]["batch"] == 1
        idle.close()
        asking.close()


def test_one_clients_broken_request_does_not_spoil_the_others_of_its_batch(toy) -> None:
    with serving(toy, window_s=0.5) as server:
        good, bad = Connection(server.url), Connection(server.url)
        seen = toy.example(1)
        good.send(request_document(seen, {}))
        bad.send({**request_document(seen, {}), "instruction": "break"})
        assert good.receive()["actions"].shape == (2, 7)
        with pytest.raises(VlasteerError, match="ZeroDivisionError; the server's log") as caught:
            bad.receive()
        assert "secret" not in str(caught.value)
        assert toy.batches == [2, 1, 1]
        bad.send(request_document(seen, {}))  # the connection lives on
        assert bad.receive()["actions"].shape == (2, 7)
        good.close()
        bad.close()


def test_noise_reaches_the_policy_row_by_row(toy, policy: RemotePolicy) -> None:
    seen = [toy.example(0), toy.example(1)]
    noise = np.array([[[1.0]], [[2.0]]], np.float32)
    plain, moved = policy.act_batch(seen), policy.act_batch(seen, noise)
    np.testing.assert_allclose([m.actions - p.actions for p, m in zip(plain, moved, strict=True)],
                               np.broadcast_to([[[1.0]], [[2.0]]], (2, 2, 7)), atol=1e-6)  # fmt: skip


# -- refusals ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("message", [b"", b"\xc1", b"\x81\xa1x", b"\x93\x01", "text", b"\x80"], ids=repr)
def test_a_malformed_message_is_answered_and_the_connection_stays(server: PolicyServer, toy, message) -> None:
    with connect(server.url) as client:
        client.recv()
        client.send(message)
        answer = client.recv()
        assert isinstance(answer, str)
        assert answer.startswith("bad request: ")
        client.send(pack(request_document(toy.example(0), {})))
        assert unpack(client.recv())["actions"].shape == (2, 7)


def test_an_oversized_message_closes_that_connection_only(server: PolicyServer, toy) -> None:
    with connect(server.url) as client:
        client.recv()
        client.send(bytes(300_000))
        with pytest.raises(ConnectionClosed, match="1009"):
            client.recv(timeout=10)
    client = Connection(server.url)
    with pytest.raises(InputError, match="at most 200000"):
        client.send({"x": bytes(300_000)})  # this client knows the bound
    client.send(request_document(toy.example(0), {}))
    assert client.receive()["actions"].shape == (2, 7)
    client.close()


def test_a_client_that_vanishes_in_the_middle_of_a_request_is_forgotten(toy) -> None:
    toy.hold = threading.Event()
    with serving(toy) as server:
        gone = connect(server.url)
        gone.recv()
        gone.send(pack(request_document(toy.example(0), {})))
        gone.socket.close()
        toy.hold.set()
        client = Connection(server.url)
        client.send(request_document(toy.example(0), {}))
        assert client.receive()["actions"].shape == (2, 7)
        client.close()


def test_what_is_no_websocket_does_not_disturb(server: PolicyServer, toy) -> None:
    address = ("127.0.0.1", int(server.url.rpartition(":")[2]))
    for knock in (b"", b"\0" * 100, b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 500):
        with socket.create_connection(address) as stranger:
            stranger.sendall(knock)
    client = Connection(server.url)
    client.send(request_document(toy.example(0), {}))
    assert client.receive()["actions"].shape == (2, 7)
    client.close()


def test_a_coefficient_out_of_bounds_is_refused_by_the_server(policy: RemotePolicy, toy) -> None:
    with steer(policy, Steering.of(policy.pack["fast"], 101.0)), pytest.raises(InputError, match="from -100 to 100"):
        policy.act(toy.example())
    assert policy.act(toy.example()).actions.shape == (2, 7)


def test_features_are_the_servers(policy: RemotePolicy) -> None:
    with pytest.raises(UnknownNameError, match="fast, up"):
        _ = policy.pack["slow"]
    for other in (Steering.of(FEATURES["fast"], 1.0, operator="add"), Steering.of(FEATURES["up"].renamed("fast"), 1.0)):
        with (
            pytest.raises(SteeringError, match=r"Expected operator set, scope all.*as the server"),
            steer(policy, other),
        ):
            pass
    unknown = Steering.of(FEATURES["up"].renamed("slow"), 1.0)
    with pytest.raises(UnknownNameError, match="unknown feature 'slow'"), steer(policy, unknown):
        pass
    with pytest.raises(SteeringError, match="on the server"):
        _ = policy.anatomy


def test_a_remote_policy_is_steered_once(policy: RemotePolicy) -> None:
    with steer(policy, Steering()), pytest.raises(SteeringError, match="already"), steer(policy, Steering()):
        pass
    with steer(policy, Steering(), rows=2), pytest.raises(SteeringError, match="rows below 2"):
        policy.act_batch([policy.example()], rows=[2])


# -- who may -----------------------------------------------------------------------------------------------------------
def test_a_token_is_asked_for(toy, tmp_path: Path) -> None:
    with serving(toy, token=TOKEN) as server:
        for headers in ({}, {"Authorization": "Api-Key wrong"}, {"Authorization": TOKEN}, {"Authorization": "Basic x"}):
            with pytest.raises(InvalidStatus, match="401"):
                connect(server.url, additional_headers=headers)
        for scheme in ("Api-Key", "Bearer"):
            with connect(server.url, additional_headers={"Authorization": f"{scheme} {TOKEN}"}) as client:
                assert unpack(client.recv())["vlasteer"] == 1
        with pytest.raises(ConfigError, match=r"asks for a token.*--token-file"):
            RemotePolicy(server.url)
        with pytest.raises(ConfigError, match="refuses the token"):
            RemotePolicy(server.url, token=TOKEN[::-1])
        (tmp_path / "token").write_text(TOKEN + "\n")
        policy = remote.load(None, server.url, token_file=str(tmp_path / "token"))
        assert policy.act(toy.example()).actions.shape == (2, 7)
        policy.close()
        assert urlopen(server.url.replace("ws:", "http:") + "/healthz").read() == b"OK\n"


@pytest.mark.parametrize("host", ["0.0.0.0", "", "192.168.1.5", "::", "robot.local", "127.0.0.1.evil.example"])
def test_other_machines_need_a_token(host: str) -> None:
    with pytest.raises(ConfigError, match="--token-file"):
        Access(host)
    Access(host, token=TOKEN)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "::1", "localhost"])
def test_this_machine_needs_none(host: str) -> None:
    Access(host)


@pytest.mark.parametrize("content", ["", "short", "with blanks in between 12345", "ünicode-token-longer-than-16"])
def test_a_token_is_long_and_plain(tmp_path: Path, content: str) -> None:
    (tmp_path / "token").write_text(content)
    with pytest.raises(ConfigError, match="token"):
        read_token(tmp_path / "token")


def test_web_pages_are_kept_out(server: PolicyServer) -> None:
    with pytest.raises(InvalidStatus, match="403"):
        connect(server.url, additional_headers={"Origin": "http://example.org"})


def test_clients_are_counted(toy) -> None:
    with serving(toy, max_clients=1) as server:
        first = Connection(server.url)
        with pytest.raises(VlasteerError, match="too many clients"):
            Connection(server.url)
        first.close()


def test_a_port_in_use_is_an_error(server: PolicyServer, toy) -> None:
    taken = int(server.url.rpartition(":")[2])
    other = ServedToy()
    with steer(other, MOUNTED) as port, pytest.raises(ConfigError, match=f":{taken} cannot be listened at"):
        PolicyServer(other, port, server._info, Access(port=taken))


# -- ends --------------------------------------------------------------------------------------------------------------
def test_a_stopping_server_closes_its_clients(toy) -> None:
    with serving(toy) as server:
        client = connect(server.url)
        client.recv()
    with pytest.raises(ConnectionClosed, match="1001"):
        client.recv(timeout=10)
    with pytest.raises(VlasteerError, match=r"no policy server answers.*vlasteer serve"):
        RemotePolicy(server.url)


def test_a_lost_server_is_named(toy) -> None:
    with serving(toy) as server:
        policy = RemotePolicy(server.url)
    with pytest.raises(VlasteerError, match=r"connection to ws://.* is lost"):
        policy.act(toy.example())


def test_the_family_refuses_what_is_the_servers_business(server: PolicyServer) -> None:
    assert remote.recognises_name("ws://x:1")
    assert not remote.recognises_name("openvla/openvla-7b")
    assert not remote.recognises(Path())
    with pytest.raises(ConfigError, match=r"--device"):
        remote.load(None, server.url, device="cpu")
    with pytest.raises(ConfigError, match=r"without --env.*--env libero_goal"):
        remote.load(None, server.url, world="libero_goal")
    with pytest.raises(ConfigError, match="no address"):
        remote.load(None, "ws://")
