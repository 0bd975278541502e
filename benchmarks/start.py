"""How long inference.py takes until its first frame is on the disc: with the detector in a process beside it, with all
that TensorFlow imports in that, and within.

    python benchmarks/start.py --audio speech.wav [--face FACE ...] [--runs N]

Each run is a command of its own, from start to end, for a sound of one frame. The ways take turns. The first round
makes what is kept for later, and does not count.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from puppet_ablation import ROOT, machine, table

from lipgan_keras.face import photos
from lipgan_keras.utils import cli
from lipgan_keras.utils.cli import ArgumentParser
from lipgan_keras.utils.errors import UserError

COMMAND = "from lipgan_keras.inference import command; command.script()"
WITHIN = "from lipgan_keras.face import detector; detector.start_process = lambda openvino: None; " + COMMAND
WHOLE = (
    "from lipgan_keras.face import mtcnn_process as one; "
    "one.START = one.START.replace('mtcnn_process.serve', 'mtcnn_process.UNUSED = (); mtcnn_process.serve'); "
    "assert 'UNUSED' in one.START; " + COMMAND
)
WAYS = {"detector beside": COMMAND, "with all imports": WHOLE, "within": WITHIN}
ONE_FRAME = "0.04"  # seconds


def main():
    parser = ArgumentParser(description="Seconds from the command to the first frame.")
    parser.add_argument("--audio", type=cli.existing, required=True, help="sound file")
    parser.add_argument("--face", type=cli.existing, nargs="+", help="pictures and videos (default: a photo)")
    parser.add_argument("--runs", type=cli.integer(1), default=5)
    args = parser.parse_args()
    faces = args.face or [photos.shipped_photos()["grace_hopper"]]
    rows = []
    for face in map(Path, faces):
        seconds = {way: [] for way in WAYS}
        for run in range(-1, args.runs):
            for way, code in WAYS.items():
                spent = once(code, face, args.audio)
                if run >= 0:
                    seconds[way].append(spent)
        medians = [statistics.median(values) for values in seconds.values()]
        cells = [
            f"{median:.1f} ({min(values):.1f} to {max(values):.1f})"
            for median, values in zip(medians, seconds.values(), strict=True)
        ]
        rows.append([face.name, *cells, ", ".join(f"{medians[0] / other:.2f}" for other in medians[1:])])
    print(machine())
    print(*table(["face", *(f"{way}: s" for way in WAYS), "the first / the others"], rows), sep="\n")


def once(code: str, face: Path, audio: str) -> float:
    """Seconds of a command that makes one frame.

    Raises:
        UserError: it failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        flags = ["--face", face, "--audio", audio, "--outfile", Path(folder) / "out.mp4", "--max_sec", ONE_FRAME]
        result = subprocess.run(
            [sys.executable, "-c", code, *map(str, flags)], cwd=ROOT, capture_output=True, text=True, check=False
        )
        spent = time.perf_counter() - begin
    if result.returncode:
        raise UserError(f"{face}: no frame was made ({result.stderr.strip()[-200:]})")
    return spent


if __name__ == "__main__":
    cli.run(main)
