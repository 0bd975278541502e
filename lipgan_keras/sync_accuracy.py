"""`python -m lipgan_keras.sync_accuracy`: see `evaluation.sync_accuracy`."""

from .evaluation.sync_accuracy import main
from .utils.cli import run

if __name__ == "__main__":
    run(main)
