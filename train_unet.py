"""Train the generator alone, as the original's script of this name: train.py --recipe unet. --help lists the flags."""

from lipgan_keras.training.command import main_unet as main
from lipgan_keras.utils import cli

if __name__ == "__main__":
    cli.run(main)
