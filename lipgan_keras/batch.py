"""Many faces and sounds, from a table, with the generator loaded once."""

import csv
import os
from pathlib import Path

from . import cli
from .cli import UserError
from .lipsync import LipSync


def read_pairs(path: str | os.PathLike, results_dir: str | os.PathLike) -> list[tuple[Path, Path, Path]]:
    """(face, audio, outfile) of every row of a table; its paths are relative to the table's folder.

    A row without an outfile gets `<results_dir>/<face>_<audio>.mp4`.

    Raises:
        UserError: no such table, columns are missing, or two rows would write one file.
    """
    path = Path(path)
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file, skipinitialspace=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as a table; give a CSV file in UTF-8") from error
    pairs, lines = [], {}
    for number, row in enumerate(rows, 2):
        if not row.get("face") or not row.get("audio"):
            raise UserError(f"{path}: line {number} names no face or no audio; its first line is to be face,audio,outfile")
        face, audio = (path.parent / row[name] for name in ("face", "audio"))
        named = row.get("outfile")
        out = path.parent / named if named else Path(results_dir) / f"{face.stem}_{audio.stem}.mp4"
        if out in lines:
            raise UserError(f"{path}: lines {lines[out]} and {number} both write {out}; name another outfile")
        lines[out] = number
        pairs.append((face, audio, out))
    if not pairs:
        raise UserError(f"{path}: has no rows; its first line is to be face,audio,outfile, others a pair each")
    return pairs


def run(lipsync: LipSync, table: str | os.PathLike, results_dir: str | os.PathLike, **options) -> None:
    """Make the video of every row that is not there yet; one that cannot be made is said, and the next one follows.

    Raises:
        UserError: the table cannot be read; or, in the end, some of its videos could not be made.
    """
    pairs = read_pairs(table, results_dir)
    failed, skipped = [], 0
    for number, (face, audio, out) in enumerate(pairs, 1):
        if out.exists():
            skipped += 1
            continue
        print(f"[{number}/{len(pairs)}] {out}", flush=True)
        try:
            print(lipsync.run(face, audio, out, progress=True, **options), flush=True)
        except UserError as error:
            failed.append(" ".join(str(error).split()))
        except OSError as error:
            failed.append(cli.describe_os_error(error))
        else:
            continue
        print(f"failed: {failed[-1]}", flush=True)
    print(f"{len(pairs) - skipped - len(failed)} made, {skipped} skipped (there already), {len(failed)} failed")
    for reason in failed:
        print(f"  {reason}")
    if failed:
        raise UserError(f"{table}: {len(failed)} of {len(pairs)} could not be made; see above, and run it again")
