"""Recording of episodes as a LeRobotDataset v3.0, crash-safe, and reading it back.

    atomic    files that are there whole or not at all
    layout    which columns there are and how a step fills them
    stats     per-episode statistics and their merging
    tables    Arrow and Parquet (the only module that imports pyarrow)
    video     H.264 in MP4 (the only module that imports PyAV)
    journal   an episode that is still open, as files that survive `kill -9`
    recorder  the `Sink` that the loop sees
    cameras   cameras at their own rate, beside the dataset
    call_files  what the policy was asked and answered, and its activations, beside the dataset
    calls     listening at a policy for that (not imported with the package: it needs torch)
    beside    these two put in their places when an episode is sealed
    dataset   the folder: opening, recovering, sealing episodes into it
    reader    episodes, steps and frames of a folder
    episode   one episode as arrays, with the observations that the policy saw

Imports point upward in this list only. How a folder looks: `dataset`.
"""

from vlasteer.recording.call_files import read_calls
from vlasteer.recording.cameras import CameraRecorder, camera_frames
from vlasteer.recording.dataset import DatasetWriter
from vlasteer.recording.reader import episode_frames, finished_episodes, read_episodes, read_steps
from vlasteer.recording.recorder import Companion, Recorder

__all__ = [
    "CameraRecorder",
    "Companion",
    "DatasetWriter",
    "Recorder",
    "camera_frames",
    "episode_frames",
    "finished_episodes",
    "read_calls",
    "read_episodes",
    "read_steps",
]
