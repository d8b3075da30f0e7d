"""A session of openpi's own client against a server; runs in its environment and prints JSON.

usage: python openpi_session.py URL TOKEN OBSERVATIONS.npz
The file holds `image`, `wrist_image` and `state`; TOKEN may be empty.
"""

import json
import sys

import numpy as np
from openpi_client.websocket_client_policy import WebsocketClientPolicy

url, token, path = sys.argv[1:]
client = WebsocketClientPolicy(url, api_key=token or None)
with np.load(path) as arrays:
    observation = {
        "observation/image": arrays["image"],
        "observation/wrist_image": arrays["wrist_image"],
        "observation/state": arrays["state"],
        "prompt": "pick up the black bowl",
    }


def ask(**changes):
    answer = client.infer({**observation, **changes})
    assert isinstance(answer["actions"], np.ndarray)
    return {
        "actions": answer["actions"].tolist(),
        "token_ids": answer["token_ids"].tolist(),
        "non_action_tokens": answer["non_action_tokens"],
        "steering": answer["steering"],
        "timing": answer["server_timing"],
    }


session = {"metadata": client.get_server_metadata()["policy"], "numpy": np.__version__}
session["plain"] = ask(time_s=0.0)
session["steered"] = ask(time_s=0.0, steering={"fast": 10.0})
try:
    ask(steering={"fsat": 10.0})
except RuntimeError as error:
    session["refused"] = str(error)
session["again"] = ask(time_s=0.0)
client.reset()
print(json.dumps(session))
