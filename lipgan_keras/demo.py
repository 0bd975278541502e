"""`python -m lipgan_keras.demo`: see `puppets.demo`."""

from .puppets.demo import main
from .utils.cli import run

if __name__ == "__main__":
    run(main)
