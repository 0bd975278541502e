"""From a clone to a talking photo with one command and no download: `make demo`.

No trained checkpoint ships with the project yet. So the demo makes puppets of its photo (clips whose mouth is warped by
a synthesised speech-like sound), trains a small generator on them, and lets the photo say a sound that it never heard.
Because that sound is synthesised, the true opening of the mouth is known, and the demo says how well it was followed.
"""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from . import cli
from .cli import UserError

ROOT = Path(__file__).parent.parent
SOUND_SEED = 10_000  # no clip's


def main() -> None:
    parser = cli.ArgumentParser(prog="python -m lipgan_keras.demo", description="Make a photo talk, without a download.")
    parser.add_argument("--photo", help="a face (default: the photo of Grace Hopper that ships with matplotlib)")
    parser.add_argument("--outfile", default="results/demo.mp4", help="MP4 to write")
    parser.add_argument("--workdir", default="logs/demo", help="clips, crops and checkpoint; a second run goes on there")
    parser.add_argument("--clips", type=cli.integer(2), default=20, help="puppets to train on")
    parser.add_argument("--steps", type=cli.integer(1), default=800, help="training steps")
    parser.add_argument("--seconds", type=cli.positive(), default=8.0, help="length of the demo's sound")
    args = parser.parse_args()
    began = time.time()
    demo(args.photo, args.outfile, args.workdir, args.clips, args.steps, args.seconds)
    print(f"{args.outfile} took {(time.time() - began) / 60:.1f} min")


def demo(photo: str | None, outfile: str, workdir: str, clips: int, steps: int, seconds: float) -> None:
    """See the module.

    Raises:
        UserError: a step failed.
    """
    from . import audio, puppets

    photo = photo or puppets.shipped_photos().get("grace_hopper")
    if photo is None:
        raise UserError("matplotlib's sample photo is not installed; name a picture of a face with --photo")
    work = Path(workdir)
    print("No trained checkpoint ships with this project yet: a small model is trained on puppets of the photo first.\n")
    run("-m", "lipgan_keras.puppets", "--out", work / "videos", "--photo", photo, "--clips", clips, "--seed", 1)
    run("preprocess.py", "--videos_data_root", work / "videos", "--final_data_root", work / "crops")
    run(
        "train.py", "--data_root", work / "crops", "--recipe", "unet", "--lip_weight", 6, "--augment", "crop", "--model", "basic",
        "--width", 0.25, "--batch_size", 8, "--steps", steps, "--checkpoint_freq", 200, "--logdir", work / "train",
    )  # fmt: skip
    rng = np.random.default_rng(SOUND_SEED)
    wave, opening, _ = puppets.synthesise_speech(seconds, rng)
    audio.save_wav(work / "speech.wav", wave)
    run(
        "inference.py", "--checkpoint_path", work / "train" / "checkpoint.h5", "--face", photo,
        "--audio", work / "speech.wav", "--outfile", outfile,
    )  # fmt: skip
    print(
        f"\n{outfile}: a sound that the model had not heard; its mouth follows the true opening with a correlation of "
        f"{correlation(outfile, opening):.2f} (measured on the video; on puppets the same measure reaches about 0.9)"
    )


def run(*arguments) -> None:
    """Show a command of the project, and run it."""
    arguments = [str(argument) for argument in arguments]
    print("$ python", " ".join(arguments), flush=True)
    if arguments[0].endswith(".py"):
        arguments[0] = str(ROOT / arguments[0])
    result = subprocess.run([sys.executable, *arguments], check=False)
    if result.returncode:
        raise UserError(f"{Path(arguments[0]).name} ended with exit code {result.returncode}; see above")


def correlation(path: str, opening: np.ndarray) -> float:
    """Pearson correlation of the mouth's opening in a 25 fps video with the true one."""
    from . import faces, metrics, tracking, video

    seen = list(tracking.follow(video.read_frames(path)))
    index = np.array([round(frame.time * 25) for frame, _ in seen])
    crops = np.stack([faces.extract(frame.image, one.box) for frame, one in seen])
    landmarks = np.stack([faces.to_crop(one.face.landmarks, one.box) for _, one in seen])
    known = index < len(opening)
    return float(np.corrcoef(metrics.mouth_opening(crops, landmarks)[known], opening[index[known]])[0, 1])


if __name__ == "__main__":
    cli.run(main)
