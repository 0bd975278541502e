"""Does a video's own speech shine through? python benchmarks/video_silence.py SPEAKERS PICTURE

SPEAKERS is a folder of `<speaker>/<clip>`. Each clip is given silence, and then a clip of another speaker says its
sound on it: once with each frame as its own identity frame, as the original has it, and once with a frame in which the
mouth rests (inference/reference.py). The table has how far the mouth moves, as a share of how far it moved in the clip:
the deviation of `aperture.mouth_aperture`; and its correlation with the other speaker's mouth, and with its own.
PICTURE shows mouths of each speaker's first clip, in silence: the clip, the first way, the second.
"""

import contextlib
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import strip
from model_card import add_clips, clips_to_judge

from lipgan_keras import LipSync
from lipgan_keras.inference import reference
from lipgan_keras.media import audio_file
from lipgan_keras.utils import cli
from lipgan_keras.utils.cli import ArgumentParser

COLUMNS = 8
MOUTH, SIDES = (0.9, 0.7, 0.9, 0.9), (135, 120)  # see `strip.about_mouth`; pixels of a picture
WAYS = {"the frame itself": False, "a mouth that rests": True}


def main():
    parser = ArgumentParser(description="How far mouths of videos that speak move in silence, and under other sounds.")
    add_clips(parser, 3)
    parser.add_argument("picture", type=cli.path, help="JPEG or PNG to write")
    args = parser.parse_args()
    speakers = clips_to_judge(args, 2)
    lipsync, rows, means = LipSync(), [], []
    print("| speaker | clips | identity frame | moves in silence | under another sound | with that | with its own |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    names = list(speakers)
    for name, after in zip(names, [*names[1:], names[0]], strict=True):
        other, found = speakers[after][0], []
        for number, clip in enumerate(speakers[name]):
            measured, pictures = of_clip(lipsync, clip, other)
            found.append(measured)
            rows += [] if number else pictures
        means.append(np.mean(found, axis=0))
        lines(f"{name} | {len(found)}", means[-1])
    lines("mean | ", np.mean(means, axis=0))
    strip.save(args.picture, rows)


def lines(first, values):
    for way, (silence, moves, theirs, own) in zip(WAYS, values, strict=True):
        print(f"| {first} | {way} | {silence:.2f} | {moves:.2f} | {theirs:.2f} | {own:.2f} |", flush=True)


def of_clip(lipsync, clip, other) -> tuple[np.ndarray, list[np.ndarray]]:
    """(2,4): of both ways the columns of the table; and the rows of the picture."""
    seen, own = strip.look(clip)
    theirs, found, shown = strip.look(other)[1], [], [seen]
    with tempfile.TemporaryDirectory() as folder:
        silence, out = Path(folder) / "silence.wav", Path(folder) / "made.mp4"
        audio_file.save_wav(silence, 0 * audio_file.load_audio(clip))
        for rests in WAYS.values():
            itself = mock.patch.object(reference.References, "__call__", lambda _, seen: seen)
            with contextlib.nullcontext() if rests else itself:
                lipsync.run(clip, silence, out)
                quiet, still = strip.look(out)
                lipsync.run(clip, other, out)
                speaks = strip.look(out)[1]
            shown.append(quiet)
            count = min(map(len, (speaks, own, theirs)))
            with_theirs, with_own = (np.corrcoef(speaks[:count], one[:count])[0, 1] for one in (theirs, own))
            found.append([still.std() / own.std(), speaks.std() / own.std(), with_theirs, with_own])
    at = np.linspace(0, min(map(len, shown)) - 1, COLUMNS + 2).astype(int)[1:-1]
    return np.array(found), [np.concatenate([mouth(*frames[i]) for i in at], axis=1) for frames in shown]


def mouth(frame, one) -> np.ndarray:
    return strip.mouth(frame.image, one.face.landmarks[3:5], MOUTH, SIDES)


if __name__ == "__main__":
    cli.run(main)
