"""Open a page in the browser on which a photo says what a voice says. --help lists the flags."""

from lipgan_keras.app.command import main, script  # noqa: F401 - main for those who import it

if __name__ == "__main__":
    script()
