"""When each phone of a folder of GRID clips is heard: python benchmarks/align_grid.py FOLDER --out DIR

Writes a track for each clip, DIR/<its path in FOLDER>.txt, prints the share of clips that failed and why, and draws
DIR/closures.jpg: mouths two frames before the middle of a p, b or m to two frames after it. In the middle column the
lips are shut if the alignment is right. Run again, it makes what is missing.
"""

import argparse
import collections
import contextlib
import functools
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from lipgan_keras.face import cropping, detector
from lipgan_keras.media import audio_file, video_reader
from lipgan_keras.puppets import phones
from lipgan_keras.utils import cli, files, processes
from lipgan_keras.utils.errors import UserError, describe

SUFFIXES = {".mp4", ".mpg", ".mpeg"}
CLOSED = {"p", "b", "m"}
AROUND = 2  # frames on either side
WIDTH, HEIGHT, TEXT = 144, 96, 18  # pixels of a cell, and of the line above each row
REACH = 0.9  # of a cell to either side of the mouth's middle, in distances between eyes and mouth


def align(clip: Path, folder: Path, out: Path) -> str:
    """Write a clip's track; what went wrong, or nothing."""
    try:
        words = phones.grid_words(clip)
        phones.write(track_of(clip, folder, out), phones.align(audio_file.load_audio(clip), words, clip))
    except (UserError, OSError) as error:
        return describe(error, clip)
    return ""


def track_of(clip: Path, folder: Path, out: Path) -> Path:
    return (out / clip.relative_to(folder)).with_suffix(".txt")


def align_all(clips, folder, out, workers) -> dict[Path, str]:
    """Align the clips that have no track yet; those that failed, with the reasons."""
    missing = [clip for clip in clips if not track_of(clip, folder, out).exists()]
    failed = {}
    work = functools.partial(align, folder=folder, out=out)
    with contextlib.closing(processes.run(work, missing, workers)) as results:
        progress = tqdm(results, "aligning", total=len(clips), initial=len(clips) - len(missing), unit="clip")
        for clip, complaint in progress:
            if complaint is None:
                failed[clip] = f"{clip}: {processes.DIED}"
            elif complaint:
                failed[clip] = complaint
    return failed


def draw_row(clip: Path, phone: phones.Phone) -> np.ndarray | None:
    """Mouths around the middle of a closure, side by side; None where no face or too few frames are found."""
    frames = list(video_reader.read_frames(clip))
    middle = (phone.start + phone.end) / 2
    at = int(np.argmin([abs(frame.time + frame.duration / 2 - middle) for frame in frames]))
    shown = frames[max(0, at - AROUND) : at + AROUND + 1]
    face = detector.select(detector.detect([frames[at].image])[0])
    if len(shown) <= 2 * AROUND or face is None:
        return None
    eyes, mouth = face.landmarks[:2].mean(0), face.landmarks[3:].mean(0)
    reach = REACH * float(np.hypot(*(mouth - eyes)))
    box = np.concatenate([mouth - reach, mouth + reach])
    cut = (WIDTH - HEIGHT) // 2
    crops = [cropping.extract(frame.image, box, WIDTH)[cut : cut + HEIGHT] for frame in shown]
    line = np.full((TEXT, WIDTH * len(crops), 3), 255, "uint8")
    words = f"{clip.parent.name}/{clip.stem}: {phone.name}, {phone.start:.2f} to {phone.end:.2f} s"
    cv2.putText(line, words, (4, TEXT - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    return np.concatenate([line, np.concatenate(crops, axis=1)])


def draw_sheet(clips, folder, out, rows, path):
    """One closure of each of so many clips, taken from all over the folder."""
    drawn = []
    for number, i in enumerate(np.unique(np.linspace(0, len(clips) - 1, rows).round().astype(int))):
        closures = [p for p in phones.read(track_of(clips[i], folder, out)) if p.name in CLOSED]
        if closures:
            row = draw_row(clips[i], closures[number % len(closures)])
            drawn += [] if row is None else [row]
    if not drawn:
        raise UserError(f"{folder}: no closure with a face to draw; give clips of people who face the camera")
    # Two columns of rows are easier to look at than one.
    half = -(-len(drawn) // 2)
    drawn += [np.full_like(drawn[0], 255)] * (2 * half - len(drawn))
    sheet = np.concatenate([np.concatenate(drawn[:half]), np.concatenate(drawn[half:])], axis=1)
    with files.replacing(path) as temporary:
        cv2.imwrite(str(temporary), sheet)


def main():
    parser = cli.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="GRID clips, in folders of any depth; their names spell them")
    parser.add_argument("--out", type=Path, required=True, help="folder for the tracks and closures.jpg")
    parser.add_argument("--num_workers", type=cli.integer(1), default=processes.cores(), help="processes")
    parser.add_argument("--rows", type=cli.integer(1), default=16, help="closures on the sheet")
    args = parser.parse_args()
    clips = sorted(path for path in args.folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not clips:
        raise UserError(f"{args.folder}: holds no {', '.join(sorted(SUFFIXES))}; give a folder of GRID clips")
    files.check_writable(args.out)
    failed = align_all(clips, args.folder, args.out, args.num_workers)
    print(f"{len(failed)} of {len(clips)} clips failed ({100 * len(failed) / len(clips):.1f} %)")
    for complaint in failed.values():
        print(f"  {complaint}")
    aligned = [clip for clip in clips if clip not in failed]
    if aligned:
        tracks = [phones.read(track_of(clip, args.folder, args.out)) for clip in aligned]
        count = collections.Counter(phone.name for track in tracks for phone in track)
        print(f"{sum(count.values())} phones, {sum(count[name] for name in CLOSED)} of them p, b or m")
        draw_sheet(aligned, args.folder, args.out, args.rows, args.out / "closures.jpg")


if __name__ == "__main__":
    cli.run(main)
