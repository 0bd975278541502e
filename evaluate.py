"""Measure lip-sync: results against their truth, in the field's figures and in our own. --help lists the flags."""

from lipgan_keras.evaluation.command import main, script  # noqa: F401 - main for those who import it

if __name__ == "__main__":
    script()
