"""`python -m lipgan_keras.judging`: see `evaluation.mean_opinion`."""

from .evaluation.mean_opinion import main
from .utils.cli import run

if __name__ == "__main__":
    run(main)
