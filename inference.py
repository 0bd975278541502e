"""Make a face say a sound: picture or video and speech in, MP4 out."""

import os
from pathlib import Path

from lipgan_keras import cli


def main():
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint_path", type=cli.existing, required=True, help="generator, of train.py or of the original LipGAN")
    parser.add_argument("--face", type=cli.existing, required=True, help="picture or video of the face")
    parser.add_argument("--audio", type=cli.existing, required=True, help="sound file, or video with the sound to say")
    parser.add_argument("--outfile", help="MP4 to write (default: <results_dir>/<face>_<audio>.mp4)")
    parser.add_argument("--results_dir", default="results/", help="folder for the result where --outfile is not given")
    parser.add_argument(
        "--pads", type=int, nargs=4, default=[0, 0, 0, 0], metavar=("T", "B", "L", "R"),
        help="grow the face crop by so many pixels at top, bottom, left and right",
    )  # fmt: skip
    parser.add_argument("--static", action="store_true", help="use the first frame of a video only")
    parser.add_argument("--max_sec", type=cli.positive(), default=240.0, help="cut the sound after so many seconds")
    parser.add_argument("--lipgan_batch_size", type=cli.integer(1), default=256, help="faces at once, at most")
    parser.add_argument("--fps", type=cli.positive(), help="frame rate where the face is a still (default: 25)")
    parser.add_argument("--audio_offset_ms", type=cli.finite, help="shift of the audio windows (default: the checkpoint's)")
    args = parser.parse_args()
    name = f"{Path(args.face).stem}_{Path(args.audio).stem}.mp4"
    outfile = args.outfile or os.path.join(args.results_dir, name)

    from lipgan_keras.lipsync import lipsync

    summary = lipsync(
        args.checkpoint_path, args.face, args.audio, outfile, pads=args.pads, static=args.static, max_sec=args.max_sec,
        batch_size=args.lipgan_batch_size, fps=args.fps, audio_offset_ms=args.audio_offset_ms,
    )  # fmt: skip
    print(
        f"{summary.outfile}: {summary.seconds:.2f} s, {summary.frames} frames, "
        f"{summary.frames_without_face} of them with no face"
    )


if __name__ == "__main__":
    cli.run(main)
