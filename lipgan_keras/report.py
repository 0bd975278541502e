"""`python -m lipgan_keras.report`: see `evaluation.report`."""

from .evaluation.report import main
from .utils.cli import run

if __name__ == "__main__":
    run(main)
