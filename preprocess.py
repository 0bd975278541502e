"""Cut faces and sound out of videos, for train.py. --help lists the flags."""

from lipgan_keras.puppets.preprocessing import main, script  # noqa: F401 - main for those who import it

if __name__ == "__main__":
    script()
