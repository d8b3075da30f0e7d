"""Reads a dataset with lerobot's own `LeRobotDataset` and prints what it sees as one JSON object.

Run by test_lerobot_reader.py with the Python of `launch/lerobot-reader-env`; imports nothing of vlasteer.

    python lerobot_reader.py read FOLDER frame,frame,...
    python lerobot_reader.py write FOLDER features.json       what lerobot itself writes for these features
"""

from __future__ import annotations

import json
import logging
import sys
import time
from pathlib import Path

import numpy as np
import torch

# torchvision's compiled part does not load beside a CPU build of torch; its Python part needs these to be declared.
_OPERATORS = torch.library.Library("torchvision", "DEF")
try:
    import torchvision  # noqa: F401
except RuntimeError:
    sys.modules.pop("torchvision", None)
    _OPERATORS.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _OPERATORS.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

import av  # noqa: E402
from lerobot.datasets import lerobot_dataset  # noqa: E402
from lerobot.datasets.lerobot_dataset import LeRobotDataset  # noqa: E402

logging.disable(logging.WARNING)


def decode(video_path, timestamps, tolerance_s, backend=None) -> torch.Tensor:
    """Stands in for lerobot's `decode_video_frames`, whose backends are torchcodec and torchvision's lost reader."""
    with av.open(str(video_path)) as source:
        decoded = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in source.decode(video=0)]
    times = np.array([seconds for seconds, _ in decoded])
    picked = []
    for timestamp in timestamps:
        nearest = int(np.abs(times - timestamp).argmin())
        assert abs(times[nearest] - timestamp) < tolerance_s, f"no frame at {timestamp} s in {video_path}"
        picked.append(torch.from_numpy(decoded[nearest][1]).permute(2, 0, 1))
    return torch.stack(picked).to(torch.float32) / 255


lerobot_dataset.decode_video_frames = decode


def plain(value):
    """JSON of an item's value: pictures by their mean colour."""
    if isinstance(value, torch.Tensor):
        if value.ndim == 3:
            return {"shape": list(value.shape), "mean": value.mean(dim=(1, 2)).tolist()}
        return value.tolist()
    return value


def read(folder: Path, frames: list[int]) -> dict:
    """What the dataset says of itself, and some of its items."""
    began = time.perf_counter()
    dataset = LeRobotDataset("local/check", root=folder)
    opened = time.perf_counter() - began
    first = dataset.meta.video_keys[:1]
    last = LeRobotDataset(
        "local/check",
        root=folder,
        episodes=[dataset.num_episodes - 1],
        delta_timestamps={key: [-1 / dataset.fps, 0.0] for key in first},
    )
    return {
        "open_s": opened,
        "length": len(dataset),
        "episodes": dataset.num_episodes,
        "fps": dataset.fps,
        "camera_keys": dataset.meta.camera_keys,
        "ranges": [[e["dataset_from_index"], e["dataset_to_index"]] for e in dataset.meta.episodes],
        "outcomes": [e["outcome"] for e in dataset.meta.episodes],
        "stats": {key: {k: np.asarray(v).shape for k, v in value.items()} for key, value in dataset.meta.stats.items()},
        "items": {i: {key: plain(value) for key, value in dataset[i].items()} for i in frames},
        "last_episode_length": len(last),
        "window": [list(last[0][key].shape) for key in first],
    }


def write(folder: Path, features: dict) -> dict:
    """Write two episodes of random values with lerobot itself, for the schema of its files."""
    random = np.random.default_rng(0)
    features = {name: feature | {"shape": tuple(feature["shape"])} for name, feature in features.items()}
    dataset = LeRobotDataset.create("local/spec", fps=20, features=features, root=folder, robot_type="w", vcodec="h264")
    for episode in range(2):
        for _ in range(4):
            frame = {"task": f"task {episode}"}
            for name, feature in features.items():
                shape = feature["shape"]
                if feature["dtype"] == "string":
                    frame[name] = "running"
                elif feature["dtype"] == "video":
                    frame[name] = random.integers(0, 255, shape, dtype=np.uint8)
                else:
                    frame[name] = random.random(shape).astype(feature["dtype"])
            dataset.add_frame(frame)
        dataset.save_episode(parallel_encoding=False)
    dataset.finalize()
    return {"written": len(dataset.meta.episodes or [])}


if __name__ == "__main__":
    verb, path, argument = sys.argv[1:]
    if verb == "read":
        answer = read(Path(path), [int(i) for i in argument.split(",")])
    else:
        answer = write(Path(path), json.loads(Path(argument).read_text()))
    print(json.dumps(answer))
