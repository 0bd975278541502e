"""LipGAN, the talking-face system of K R et al. 2019 (arXiv 2003.00418), on Keras 3."""

import importlib
import os
import signal
import sys

__version__ = "0.1.0"

# TensorFlow reads these when it is first imported; its start-up notices would bury the one line that a user needs.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_SCRIPTS = {os.path.join(_ROOT, f"{name}.py") for name in ("inference", "train", "preprocess", "evaluate", "app")}


def _is_command():
    """Whether this program is one of the project's: a console script, a script of the checkout, or `python -m`."""
    first = sys.argv[0] if sys.argv else ""
    named = first == "-m" or os.path.basename(first).startswith("lipgan-") or os.path.abspath(first) in _SCRIPTS
    return named and "multiprocessing" not in sys.modules  # which a process that a command started has loaded


# Until `utils.cli.run` takes over Ctrl-C ends a command that is still loading quietly.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler and _is_command():
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))

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
