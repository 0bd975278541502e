"""From a clone to a talking photo with one command and no download: `make demo`.

The checkpoint that ships makes a photo speak. It was not trained on that photo, and it never heard that audio. The
audio is synthesised, so the true mouth aperture is known. The demo says how well the mouth follows it.
"""

import shlex
import time
from pathlib import Path

import numpy as np

from ..config import SAMPLE_RATE
from ..utils import cli, files
from ..utils.cli import ArgumentParser
from ..utils.errors import UserError
from ..utils.terminal import say

SOUND_SEED = 10_000  # no clip's


def main() -> None:
    parser = ArgumentParser(prog="python -m lipgan_keras.demo", description="Make a photo talk, without a download.")
    parser.add_argument("--photo", type=cli.existing, help="a face (default: the astronaut of scikit-image)")
    parser.add_argument(
        "--outfile", type=cli.path, default="results/demo.mp4", help="MP4 to write; its sound goes beside it"
    )
    parser.add_argument("--seconds", type=cli.at_least(1, cli.MOST_SECONDS), default=8.0, help="length of the sound")
    args = parser.parse_args()
    began = time.time()
    demo(args.photo, args.outfile, args.seconds)
    print(
        f"It took {time.time() - began:.0f} s. With a sound of yours: python inference.py --face photo.jpg --audio "
        "speech.wav"
    )


def demo(photo: str | None, outfile: str, seconds: float) -> None:
    """See the module.

    Raises:
        UserError: there is no photo, no face in it, or the results cannot be written.
    """
    from .. import LipSync
    from ..face import photos
    from ..inference import flags
    from ..media import audio_file
    from . import speech

    photo = photo or photos.shipped_photos().get("astronaut")
    if photo is None:
        raise UserError("scikit-image's photos are not installed; name a picture of a face with --photo")
    files.check_outfile(outfile, photo)
    sound = Path(outfile).with_name(f"{Path(outfile).stem}_sound.wav")
    files.check_outfile(sound, photo, suffix=".wav", mark=_is_sound)
    flags.start_detector(photo)
    wave, opening, _ = speech.synthesise_speech(seconds, np.random.default_rng(SOUND_SEED))
    audio_file.save_wav(sound, wave)
    command = ["python", "inference.py", "--face", str(photo), "--audio", str(sound), "--outfile", str(outfile)]
    say(f"$ {shlex.join(command)}")
    say(*str(LipSync().run(photo, sound, outfile, progress=True)).split("\n"), "")
    say(
        f"{outfile}: a sound that the generator never heard. The mouth follows the true opening with a correlation "
        f"of {correlation(outfile, opening):.2f}, measured on the video."
    )


def _is_sound(path):
    """Whether a file is the sound of an earlier demo: 16 kHz, mono, 16 bit, of the same seed."""
    from ..media import audio_file
    from . import speech

    samples = audio_file.pcm(path)
    if samples is None:
        return False
    wave = speech.synthesise_speech(len(samples) / SAMPLE_RATE, np.random.default_rng(SOUND_SEED))[0]
    return len(wave) == len(samples) and np.allclose(wave, samples / 32768, atol=1e-3)


def correlation(path: str, opening: np.ndarray) -> float:
    """Pearson correlation of the mouth aperture in a 25 fps video of a still, which may smile, with the true one."""
    from ..face import aperture, tracking
    from ..media import video_reader

    seen = list(tracking.follow(video_reader.read_frames(path)))
    index = np.array([round(frame.time * 25) for frame, _ in seen])
    known = index < len(opening)
    return float(np.corrcoef(aperture.mouth_apertures_seen(seen, below_teeth=True)[known], opening[index[known]])[0, 1])
