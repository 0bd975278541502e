"""inference.py under the original's name: writes <results_dir>/result_voice.mp4. --help lists the flags."""

from lipgan_keras.inference.command import main_original as main
from lipgan_keras.utils import cli

if __name__ == "__main__":
    cli.run(main)
