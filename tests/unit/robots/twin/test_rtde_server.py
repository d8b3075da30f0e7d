"""RTDE sessions over a pretended transport: recipes, ownership, versions, and bytes that are no RTDE."""

from __future__ import annotations

import asyncio
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlasteer.robots.twin.connections import Network
from vlasteer.robots.twin.controller import Controller
from vlasteer.robots.twin.plant import KinematicPlant
from vlasteer.robots.twin.rtde_frames import FrameReader, FrameType, frame
from vlasteer.robots.twin.rtde_server import RtdeConnection
from vlasteer.robots.twin.settings import TwinSettings

OUTPUTS_BY_DEFAULT = (
    "timestamp,target_q,target_qd,target_qdd,target_current,target_moment,actual_q,actual_qd,actual_current,"
    "joint_control_output,actual_TCP_pose,actual_TCP_speed,actual_TCP_force,target_TCP_pose,target_TCP_speed,"
    "actual_digital_input_bits,joint_temperatures,actual_execution_time,robot_mode,joint_mode,safety_mode,"
    "actual_tool_accelerometer,speed_scaling,target_speed_fraction,actual_momentum,actual_main_voltage,"
    "actual_robot_voltage,actual_robot_current,actual_joint_voltage,actual_digital_output_bits,runtime_state,"
    "standard_analog_input0,standard_analog_input1,standard_analog_output0,standard_analog_output1,"
    "robot_status_bits,safety_status_bits"
)
"""The 37 variables that the client's receive interface asks for on any software."""


class Wire(asyncio.Transport):
    """A transport that remembers."""

    def __init__(self) -> None:
        super().__init__()
        self.sent, self.aborted, self.reading = b"", False, True

    def write(self, data: Any) -> None:
        self.sent += bytes(data)

    def abort(self) -> None:
        self.aborted = True

    def close(self) -> None:
        self.aborted = True

    def is_closing(self) -> bool:
        return self.aborted

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 5) if name == "peername" else default


class Client:
    """One session of a controller."""

    def __init__(self, network: Network) -> None:
        self.wire = Wire()
        self.connection = RtdeConnection(network)
        self.connection.connection_made(self.wire)
        self._reader = FrameReader()

    def ask(self, kind: FrameType, payload: bytes = b"") -> tuple[FrameType, bytes]:
        self.connection.data_received(frame(kind, payload))
        return self.replies()[-1]

    def replies(self) -> list[tuple[FrameType, bytes]]:
        data, self.wire.sent = self.wire.sent, b""
        return list(self._reader.feed(data))

    def outputs(self, names: str, rate: float = 500.0) -> tuple[int, list[str]]:
        _, reply = self.ask(FrameType.SETUP_OUTPUTS, struct.pack(">d", rate) + names.encode())
        return reply[0], reply[1:].decode().split(",")

    def inputs(self, names: str) -> tuple[int, list[str]]:
        _, reply = self.ask(FrameType.SETUP_INPUTS, names.encode())
        return reply[0], reply[1:].decode().split(",")


def _network(**options: Any) -> Network:
    settings = TwinSettings(**options)
    return Network(Controller(settings, KinematicPlant(settings.joints)))


def test_versions_are_negotiated_and_told() -> None:
    client = Client(_network(version="5.25.1"))
    assert client.ask(FrameType.REQUEST_PROTOCOL_VERSION, b"\x00\x02") == (FrameType.REQUEST_PROTOCOL_VERSION, b"\x01")
    assert client.ask(FrameType.REQUEST_PROTOCOL_VERSION, b"\x00\x01")[1] == b"\x00"
    assert struct.unpack(">4I", client.ask(FrameType.GET_URCONTROL_VERSION)[1]) == (5, 25, 1, 0)


def test_the_clients_outputs_have_the_types_that_it_expects() -> None:
    client = Client(_network())
    recipe, types = client.outputs(OUTPUTS_BY_DEFAULT + ",payload_cog,elbow_position,elbow_velocity,payload_inertia,")
    named = dict(zip(OUTPUTS_BY_DEFAULT.split(","), types, strict=False))
    assert recipe == 1
    assert "NOT_FOUND" not in types
    assert named["actual_tool_accelerometer"] == "VECTOR3D"
    assert types[-4:-1] == ["VECTOR3D"] * 3
    assert named["joint_mode"] == "VECTOR6INT32"
    assert named["actual_q"] == types[-1] == "VECTOR6D"
    assert named["runtime_state"] == named["safety_status_bits"] == "UINT32"
    assert named["actual_digital_input_bits"] == "UINT64"


@pytest.mark.parametrize(
    ("name", "without", "with_it"),
    [
        ("ft_raw_wrench", "5.8", "5.9"),
        ("ft_raw_wrench", "3.15", "10.11"),
        ("payload", "5.5", "5.6"),
        ("payload", "3.10", "3.11"),
        ("payload_inertia", "5.10", "5.11"),
        ("payload_inertia", "3.14", "3.15"),
        ("actual_current_as_torque", "5.22", "5.23"),
        ("output_double_register_36", "5.2", "5.3"),
        ("input_int_register_24", "3.8", "3.9"),
        ("actual_colour", "5.25", ""),
    ],
)
def test_variables_exist_from_their_version_on(name: str, without: str, with_it: str) -> None:
    for version, expected in ((without, "NOT_FOUND"), (with_it, None)):
        if not version:
            continue
        client = Client(_network(model="ur5" if version.startswith("3") else "ur5e", version=version))
        recipe, types = client.outputs(f"timestamp,{name}")
        assert (types[1] == "NOT_FOUND") == (expected is not None)
        assert (recipe == 0) == (expected is not None)


def test_input_recipes_count_up_per_connection() -> None:
    network = _network()
    client = Client(network)
    assert [client.inputs(f"input_int_register_{i},input_double_register_{i},")[0] for i in range(23)] == [
        *range(1, 24)
    ]
    assert Client(network).inputs("input_int_register_47") == (1, ["INT32"])


def test_a_second_client_gets_in_use_until_the_first_has_gone() -> None:
    network = _network()
    first, second = Client(network), Client(network)
    assert first.inputs("input_int_register_0,external_force_torque,") == (1, ["INT32", "VECTOR6D"])
    assert first.inputs("input_int_register_0") == (2, ["INT32"])  # its own is no obstacle
    assert second.inputs("input_int_register_1,input_int_register_0,") == (0, ["INT32", "IN_USE"])
    first.connection.connection_lost(None)
    assert second.inputs("input_int_register_1,input_int_register_0,") == (1, ["INT32", "INT32"])


def test_something_on_the_robot_can_own_registers_too() -> None:
    network = _network()
    network.controller.io.reserved = frozenset({"input_int_register_0"})
    assert Client(network).inputs("input_int_register_0") == (0, ["IN_USE"])


def test_packages_reach_the_registers_and_stay_there() -> None:
    network = _network()
    client = Client(network)
    client.inputs("input_int_register_0,input_double_register_3,external_force_torque")
    payload = struct.pack(">Bid6d", 1, -7, 2.5, 1, 2, 3, 4, 5, 6)
    client.connection.data_received(frame(FrameType.DATA_PACKAGE, payload))
    client.connection.connection_lost(None)
    io = network.controller.io
    assert (io.int_in[0], io.float_in[3], io.external_wrench) == (-7, 2.5, (1, 2, 3, 4, 5, 6))


def test_outputs_change_only_where_their_mask_says() -> None:
    network = _network()
    client, io = Client(network), network.controller.io
    client.inputs("standard_digital_output_mask,standard_digital_output")
    client.inputs("configurable_digital_output_mask,configurable_digital_output")
    client.inputs("tool_digital_output_mask,tool_digital_output")
    for recipe, mask, value in ((1, 0b11, 0b01), (2, 0b100, 0b111), (3, 0b10, 0b10), (1, 0b10, 0b10)):
        client.connection.data_received(frame(FrameType.DATA_PACKAGE, bytes([recipe, mask, value])))
    assert io.digital_out == 0b11 | 0b100 << 8 | 0b10 << 16


def test_analogue_outputs_are_volts_or_amperes() -> None:
    network = _network()
    client, io = Client(network), network.controller.io
    client.inputs("standard_analog_output_mask,standard_analog_output_type,standard_analog_output_0")
    client.connection.data_received(frame(FrameType.DATA_PACKAGE, struct.pack(">BBBd", 1, 1, 1, 0.5)))
    assert io.analog_out == [5.0, 0.0]
    client.connection.data_received(frame(FrameType.DATA_PACKAGE, struct.pack(">BBBd", 1, 1, 0, 0.5)))
    assert io.analog_out[0] == pytest.approx(0.012)


def test_the_stream_comes_at_the_rate_that_was_asked_for() -> None:
    network = _network()
    client = Client(network)
    client.outputs("timestamp,actual_q", rate=125.0)
    assert client.ask(FrameType.START)[1] == b"\x01"
    times = []
    for _ in range(40):
        network.controller.tick()
        client.connection.stream()
        times += [struct.unpack(">Bd6d", payload)[1] for _, payload in client.replies()]
    assert times == pytest.approx([0.008 * i for i in range(1, 11)])
    assert client.ask(FrameType.PAUSE)[1] == b"\x01"
    network.controller.tick()
    client.connection.stream()
    assert client.replies() == []


def test_setups_are_refused_while_the_stream_runs() -> None:
    client = Client(_network())
    client.outputs("timestamp")
    client.ask(FrameType.START)
    assert client.outputs("timestamp")[0] == 0
    assert client.inputs("input_int_register_0")[0] == 0


def test_a_package_of_the_wrong_length_ends_the_connection() -> None:
    network = _network()
    client = Client(network)
    client.inputs("input_int_register_0")
    client.connection.data_received(frame(FrameType.DATA_PACKAGE, b"\x01\x00"))
    assert client.wire.aborted
    entries, _ = network.controller.log.read(0, ("protocol_error",))
    assert "2 bytes" in entries[0]["why"]


def test_packages_of_recipes_that_do_not_exist_are_ignored() -> None:
    client = Client(_network())
    for payload in (b"", b"\x07", bytes(50)):
        client.connection.data_received(frame(FrameType.DATA_PACKAGE, payload))
    assert not client.wire.aborted


REQUESTS = st.one_of(
    st.binary(max_size=200),
    st.builds(frame, st.sampled_from(FrameType), st.binary(max_size=100)),
    st.builds(
        lambda rate, names: frame(FrameType.SETUP_OUTPUTS, struct.pack(">d", rate) + ",".join(names).encode()),
        st.floats(),
        st.lists(st.sampled_from(["timestamp", "actual_q", "input_bit_register_64", "nothing", ""]), max_size=5),
    ),
    st.builds(
        lambda names: frame(FrameType.SETUP_INPUTS, ",".join(names).encode()),
        st.lists(st.sampled_from(["input_int_register_0", "speed_slider_mask", "speed_slider_fraction"]), max_size=3),
    ),
)


@given(requests=st.lists(REQUESTS, max_size=12))
def test_whatever_a_client_sends_the_controller_goes_on(requests: list[bytes]) -> None:
    network = _network()
    client, other = Client(network), Client(network)
    other.outputs("timestamp,runtime_state")
    other.ask(FrameType.START)
    for request in requests:
        if client.wire.aborted:
            break
        client.connection.data_received(request)
        network.controller.tick()
        client.connection.stream()
    other.replies()
    network.controller.tick()
    other.connection.stream()
    assert len(other.replies()) == 1
