"""`python -m lipgan_keras.judging`: see `evaluation.judging`."""

from .evaluation.judging import main
from .utils.cli import run

if __name__ == "__main__":
    run(main)
