"""LipGAN, the talking-face system of K R et al. 2019 (arXiv 2003.00418), on Keras 3."""

import os

__version__ = "0.1.0"

# TensorFlow reads these when it is first imported; its start-up notices would bury the one line that a user needs.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


def __getattr__(name):
    # So that no script loads what it does not use.
    if name == "LipSync":
        from .lipsync import LipSync

        return LipSync
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
