"""`vlasteer doctor`: what works on this machine, and the command that mends what does not."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from fractions import Fraction
from importlib import import_module, metadata
from pathlib import Path

from vlasteer import __version__
from vlasteer.cache import cache_folder
from vlasteer.errors import VlasteerError


class State(StrEnum):
    """What a check found."""

    OK = "ok"
    """It works."""
    ABSENT = "absent"
    """It is not there, and only some uses need it."""
    BROKEN = "broken"
    """It does not work, and nothing much works without it."""


@dataclass(frozen=True)
class Check:
    """One line of the table.

    Attributes:
        name: what was checked.
        state: what was found.
        detail: version, device, place, or what is wrong.
        fix: the command that mends it; empty where nothing is to be mended.
    """

    name: str
    state: State
    detail: str
    fix: str = ""


@dataclass(frozen=True, kw_only=True)
class Doctor:
    """Show what works on this machine, and the command that mends what does not.

    Rendering is tried for real, one picture for each OpenGL back end. The exit status is 0 if everything essential
    works, and 1 otherwise.

    Example:
        vlasteer doctor
        vlasteer doctor --json
    """

    json: bool = False
    """Print one JSON object on standard output instead of a table."""

    def run(self) -> int:
        """Check everything and print it."""
        checks = []
        for check in examine():
            checks.append(check)
            if not self.json:  # line by line: some checks take seconds
                print(_lines(check), flush=True)
        broken = [check.name for check in checks if check.state is State.BROKEN]
        if self.json:
            document = {"version": __version__, "ok": not broken, "checks": [asdict(check) for check in checks]}
            print(json.dumps(document, indent=2))
        else:
            print(f"\nBroken: {', '.join(broken)}." if broken else "\nEverything essential works.")
        return 1 if broken else 0


def examine() -> Iterator[Check]:
    """Every check, one after the other."""
    for check in (
        python,
        packages,
        torch,
        device,
        compilation,
        rendering,
        mujoco,
        libero,
        assets,
        video,
        robot,
        real_time,
        page,
        live_inputs,
        viewer,
        cache,
    ):
        try:
            found = check()
        except Exception as error:  # noqa: BLE001 - whatever breaks in a check is what it found
            detail = f"{type(error).__name__}: {' '.join(str(error).split())}"
            found = Check(check.__name__, State.BROKEN, detail, "launch/setup")
        yield from [found] if isinstance(found, Check) else found


def python() -> Check:
    """Version of the interpreter."""
    ok = sys.version_info[:2] in ((3, 11), (3, 12))
    detail = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    return Check("Python", State.OK if ok else State.BROKEN, detail, "" if ok else _PYTHON)


_PYTHON = "make a new environment with Python 3.11 or 3.12: VLASTEER_PYTHON=/path/to/python3.11 launch/setup"


def packages() -> Check:
    """The packages that vlasteer declares."""
    required = [r for r in metadata.requires("vlasteer") or [] if "extra ==" not in r]
    missing = [r for r in required if not _version(re.split(r"[^\w.-]", r)[0])]
    if missing:
        return Check("packages", State.BROKEN, f"missing: {', '.join(missing)}", f"pip install {_quoted(missing)}")
    return Check("packages", State.OK, f"vlasteer {__version__} and the {len(required)} that it needs")


def torch() -> Check:
    """That torch can be imported and computes; and transformers, which holds the models."""
    import torch
    import transformers

    detail = f"{torch.__version__}, transformers {transformers.__version__}"
    product = torch.ones(2, 3).matmul(torch.ones(3, 2))
    if not bool((product == 3).all()):
        fix = f"pip install --force-reinstall torch=={torch.__version__.partition('+')[0]}"
        return Check("torch", State.BROKEN, f"{detail}: ones times ones is {product.tolist()}", fix)
    return Check("torch", State.OK, detail)


def device() -> Check:
    """Where policies run."""
    import torch

    if torch.cuda.is_available():
        cards = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
        return Check("device", State.OK, ", ".join(f"{c.name} ({c.total_memory / 2**30:.0f} GiB)" for c in cards))
    cpu = f"CPU with {len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()} cores"
    if Path("/proc/driver/nvidia/version").exists():
        fix = f"pip install --force-reinstall torch=={torch.__version__.partition('+')[0]}"
        why = "has no CUDA" if torch.version.cuda is None else f"is for CUDA {torch.version.cuda} and cannot use it"
        return Check("device", State.ABSENT, f"{cpu}; there is an NVIDIA card, but this torch {why}", fix)
    return Check("device", State.OK, f"{cpu}, no CUDA device")


def compilation() -> Check:
    """That torch.compile finds what it compiles its C++ for the CPU with; for CUDA it brings its own."""
    compiler, header = os.environ.get("CXX", "g++"), Path(sysconfig.get_path("include")) / "Python.h"
    needed = {compiler: shutil.which(compiler) is not None, str(header): header.is_file()}
    missing = [name for name, there in needed.items() if not there]
    if missing:
        fix = _apt(f"g++ python{sys.version_info.major}.{sys.version_info.minor}-dev")
        return Check("torch.compile", State.ABSENT, f"for the CPU it needs {' and '.join(missing)}", fix)
    return Check("torch.compile", State.OK, f"for the CPU with {shutil.which(compiler)}")


_RENDER = """
import mujoco
from OpenGL import GL
ball = '<geom type="sphere" size="1" rgba="1 0 0 1"/><camera name="eye" pos="0 -3 0" xyaxes="1 0 0 0 0 1"/>'
model = mujoco.MjModel.from_xml_string(f"<mujoco><worldbody>{ball}</worldbody></mujoco>")
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
with mujoco.Renderer(model, 16, 16) as renderer:
    renderer.update_scene(data, camera="eye")
    red, green, blue = (int(value) for value in renderer.render()[8, 8])
    driver = GL.glGetString(GL.GL_RENDERER).decode()
if red <= 2 * max(green, blue):
    raise SystemExit(f"a red ball came out as {red}, {green}, {blue}")
print(driver)
"""
_GL_PACKAGES = {"egl": "libegl1 libgl1-mesa-dri", "osmesa": "libosmesa6"}


def rendering() -> list[Check]:
    """That a picture comes out right, in a process of its own for each back end: a process can only ever use one."""
    from vlasteer.envs.gl import choose_gl

    chosen = choose_gl()
    backends = ("egl", "osmesa") if platform.system() == "Linux" else (chosen,)
    running = {backend: _render_with(backend) for backend in backends}
    checks, works = [], False
    for backend, process in running.items():
        try:
            output, complaints = process.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            process.kill()
            output, complaints = process.communicate()[0], "no picture after 120 s"
        name = f"rendering {backend or 'here'}"
        if process.returncode == 0:
            works = works or backend == chosen
            mark = " (in use)" if backend == chosen else ""
            checks.append(Check(name, State.OK, output.strip() + mark))
        else:
            reason = (complaints.strip().splitlines() or ["it died"])[-1]
            checks.append(Check(name, State.ABSENT, f"no picture: {reason[:120]}", _apt(_GL_PACKAGES.get(backend, ""))))
    if not works:
        fix = _apt("libegl1 libgl1-mesa-dri libosmesa6")
        checks.append(Check("rendering", State.BROKEN, f"no pictures with MUJOCO_GL={chosen or '(none works)'}", fix))
    return checks


def _render_with(backend: str) -> subprocess.Popen[str]:
    chosen = {"MUJOCO_GL": backend, "PYOPENGL_PLATFORM": backend} if backend else {}
    command = [sys.executable, "-c", _RENDER]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env={**os.environ, **chosen}, stdout=pipe, stderr=pipe, text=True)


def mujoco() -> Check:
    """The version that LIBERO's results depend on."""
    from vlasteer.envs.libero.packages import MUJOCO

    found = import_module("mujoco").__version__
    if found == MUJOCO:
        return Check("MuJoCo", State.OK, found)
    detail = f"{found}; LIBERO's scenes and physics are those of {MUJOCO}"
    return Check("MuJoCo", State.ABSENT, detail, f"pip install mujoco=={MUJOCO}")


def libero() -> Check:
    """The packages that LIBERO consists of."""
    from vlasteer.envs.libero.packages import INSTALL, versions

    found = {name: version for name, version in versions().items() if name in ("libero", "robosuite", "bddl")}
    if "absent" in found.values():
        missing = ", ".join(name for name, version in found.items() if version == "absent")
        return Check("LIBERO", State.ABSENT, f"not installed: {missing}", INSTALL.removeprefix("Run: "))
    return Check("LIBERO", State.OK, f"{found['libero']}, robosuite {found['robosuite']}, bddl {found['bddl']}")


def assets() -> Check:
    """LIBERO's meshes and textures. That each task's files are complete is checked when the task is built."""
    from vlasteer.envs.libero.assets import HUB_DATASET, VARIABLE, find_assets

    try:
        return Check("LIBERO assets", State.OK, str(find_assets(download=False).folder))
    except VlasteerError as error:
        download = f"hf download {HUB_DATASET} --repo-type dataset --local-dir libero-assets"
        fix = f"{download}; export {VARIABLE}=$PWD/libero-assets"
        return Check("LIBERO assets", State.ABSENT, error.problem, fix)


def video() -> Check:
    """That the recorder can encode H.264: two frames of noise, in memory."""
    import av
    import numpy as np

    fix = "pip install --force-reinstall av"
    if "libx264" not in av.codecs_available:
        return Check("video", State.BROKEN, f"PyAV {av.__version__} has no encoder libx264", fix)
    codec = av.CodecContext.create("libx264", "w")
    codec.width, codec.height, codec.pix_fmt, codec.time_base = 64, 64, "yuv420p", Fraction(1, 20)
    noise = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    packets = [p for image in noise for p in codec.encode(av.VideoFrame.from_ndarray(image, format="rgb24"))]
    size = sum(packet.size for packet in [*packets, *codec.encode(None)])
    if not size:
        return Check("video", State.BROKEN, f"PyAV {av.__version__} encodes nothing", fix)
    return Check("video", State.OK, f"H.264 by PyAV {av.__version__}")


def robot() -> Check:
    """The libraries that speak to a UR arm."""
    return _optional("UR arm", "ur", "ur_rtde", ("rtde_control", "rtde_receive"))


def real_time() -> Check:
    """Whether the servo process may run ahead of everything else, which keeps its period steady."""
    scheduler, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        fix = 'echo "$USER - rtprio 20" | sudo tee /etc/security/limits.d/vlasteer.conf; then log in again'
        return Check("real time", State.ABSENT, "SCHED_FIFO is not permitted; a servo loop's period will waver", fix)
    os.sched_setscheduler(0, scheduler, parameters)
    return Check("real time", State.OK, "SCHED_FIFO")


def page() -> Check:
    """The library of `drive --page`."""
    return _optional("page", "page", "viser", ("viser",))


def live_inputs() -> Check:
    """The libraries of `drive --osc` and `--midi`."""
    return _optional("OSC and MIDI", "live", "python-osc", ("pythonosc", "mido"))


def viewer() -> Check:
    """rerun, which shows recorded runs."""
    return _optional("rerun", "view", "rerun-sdk", ("rerun",))


def cache() -> Check:
    """That the cache folder can be written."""
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f"doctor-{os.getpid()}"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        detail = f"{folder} cannot be written ({error.strerror})"
        return Check("cache", State.BROKEN, detail, "export VLASTEER_CACHE=/a/folder/that/can/be/written")
    return Check("cache", State.OK, str(folder))


def _optional(name: str, extra: str, distribution: str, modules: tuple[str, ...]) -> Check:
    fix = f"pip install 'vlasteer[{extra}]'"
    version = _version(distribution)
    if not version:
        return Check(name, State.ABSENT, f"{distribution} is not installed", fix)
    try:
        for module in modules:
            import_module(module)
    except ImportError as error:
        return Check(name, State.ABSENT, f"{distribution} {version} cannot be imported ({error})", fix)
    return Check(name, State.OK, f"{distribution} {version}")


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def _quoted(requirements: list[str]) -> str:
    return " ".join(f"'{requirement}'" for requirement in requirements)


def _apt(names: str) -> str:
    return f"sudo apt-get install -y --no-install-recommends {names}" if names else ""


_MARKS = {State.OK: "ok", State.ABSENT: "--", State.BROKEN: "NO"}


def _lines(check: Check) -> str:
    line = f" {_MARKS[check.state]}  {check.name:<17} {check.detail}"
    return f"{line}\n{'':23}mend: {check.fix}" if check.fix else line
