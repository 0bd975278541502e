"""Opens the wing `exports` for `python -m lipgan_keras.checkpoints`."""

from ..exports.command import main
from ..utils import cli

if __name__ == "__main__":
    cli.run(main)
