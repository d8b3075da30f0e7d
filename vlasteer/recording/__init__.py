"""Recording of episodes as a LeRobotDataset v3.0, crash-safe, and reading it back.

    atomic    files that are there whole or not at all
    layout    which columns there are and how a step fills them
    stats     per-episode statistics and their merging
    tables    Arrow and Parquet (the only module that imports pyarrow)
    video     H.264 in MP4 (the only module that imports PyAV)
    journal   an episode that is still open, as files that survive `kill -9`
    recorder  the `Sink` that the loop sees
    dataset   the folder: opening, recovering, sealing episodes into it
    reader    episodes, steps and frames of a folder

Imports point upward in this list only. How a folder looks: `dataset`.
"""

from vlasteer.recording.dataset import DatasetWriter
from vlasteer.recording.reader import episode_frames, finished_episodes, read_episodes, read_steps
from vlasteer.recording.recorder import Recorder

__all__ = ["DatasetWriter", "Recorder", "episode_frames", "finished_episodes", "read_episodes", "read_steps"]
