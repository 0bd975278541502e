"""Make a face say a sound: picture or video and speech in, MP4 out. --help lists the flags."""

from lipgan_keras.inference.command import main, script  # noqa: F401 - main for those who import it

if __name__ == "__main__":
    script()
