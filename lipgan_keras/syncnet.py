"""`python -m lipgan_keras.syncnet`, and its `score`: see `evaluation.syncnet`."""

from .evaluation.syncnet import main, score  # noqa: F401
from .utils.cli import run

if __name__ == "__main__":
    run(main)
