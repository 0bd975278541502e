"""Train LipGAN on preprocessed clips. --help lists the flags."""

from lipgan_keras.training.command import main, script  # noqa: F401 - main for those who import it

if __name__ == "__main__":
    script()
