"""How long inference.py takes until its first frame is on the disc, with the detector in a process beside it or within.

    python benchmarks/start.py --audio speech.wav [--face FACE ...] [--runs N]

Each run is a command of its own, from start to end, for a sound of one frame. Both ways take turns. The first two
make what is kept for later, and do not count.
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
WAYS = {"beside": COMMAND, "within": WITHIN}
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
        beside, within = (statistics.median(seconds[way]) for way in WAYS)
        spread = [f"{min(values):.1f} to {max(values):.1f}" for values in seconds.values()]
        rows.append([face.name, f"{beside:.1f} ({spread[0]})", f"{within:.1f} ({spread[1]})", f"{beside / within:.2f}"])
    print(machine())
    print(*table(["face", "detector beside: s", "within: s", "ratio"], rows), sep="\n")


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
