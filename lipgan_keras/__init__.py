"""LipGAN, the talking-face system of K R et al. 2019 (arXiv 2003.00418), on Keras 3."""

import importlib
import os

__version__ = "0.1.0"

# TensorFlow reads these when it is first imported; its start-up notices would bury the one line that a user needs.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


# The Python API, and where it is: loaded when it is first asked for, so that no script loads what it does not use.
_API = {
    "LipSync": "lipsync",
    "PreprocessConfig": "data.preprocess_config",
    "preprocess": "data.preprocess",
    "TrainConfig": "training.config",
    "train": "training.trainer",
    "EvalConfig": "evaluation.config",
    "evaluate": "evaluation.run",
}


def __getattr__(name):
    if name in _API:
        return getattr(importlib.import_module(f".{_API[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *_API])
