"""Many faces and sounds, from a table, with the generator loaded once."""

import os
from pathlib import Path

from ..lipsync import LipSync
from ..utils import errors, files, tables
from ..utils.errors import Incomplete, UserError
from ..utils.terminal import say

HEADER = "its first line is to be face,audio,outfile"


def read_pairs(path: str | os.PathLike, results_dir: str | os.PathLike) -> list[tuple[Path, Path, Path]]:
    """(face, audio, outfile) of every row of a table; its paths are relative to the table's folder.

    A row without an outfile gets `<results_dir>/<face>_<audio>.mp4`.

    Raises:
        UserError: no such table, columns are missing, or two rows would write one file.
    """
    path = Path(path)
    pairs, lines = [], {}
    names, rows = tables.rows(path, "give a CSV file in UTF-8")
    if not {"face", "audio"} <= set(names):
        raise UserError(f"{path}: has no columns face and audio; {HEADER}, with commas")
    for number, row in rows:
        face, audio, out = ((row.get(name) or "").strip() for name in ("face", "audio", "outfile"))
        if not face or not audio:
            raise UserError(f"{path}: line {number} names no face or no audio; {HEADER}")
        face, audio = path.parent / face, path.parent / audio
        out = path.parent / out if out else Path(results_dir) / f"{face.stem}_{audio.stem}.mp4"
        same = os.path.realpath(out)
        if same in lines:
            raise UserError(f"{path}: lines {lines[same]} and {number} both write {out}; name another outfile")
        lines[same] = number
        pairs.append((face, audio, out))
    for face, audio, _ in pairs:
        for given in (face, audio):
            if (number := lines.get(os.path.realpath(given))) is not None:
                raise UserError(f"{path}: line {number} would write over {given}, an input; name another outfile")
    if not pairs:
        raise UserError(f"{path}: has no rows; {HEADER}, others a pair each")
    return pairs


def run(lipsync: LipSync, table: str | os.PathLike, results_dir: str | os.PathLike, **options) -> None:
    """Make the video of every row that is not there yet; one that cannot be made is said, and the next one follows.

    Raises:
        Incomplete: in the end, where some videos could not be made, end early, or stand still in places.
        UserError: the table cannot be read, or not one video could be made.
    """
    pairs = read_pairs(table, results_dir)
    made, skipped, early, failed, ours = 0, 0, 0, [], {}
    try:
        for number, (face, audio, out) in enumerate(pairs, 1):
            if out.is_file():
                if earlier := ours.get(files.identity(out)):
                    failed.append(f"{out}: is the same file as {earlier}, which was just made; name another outfile")
                    say(f"failed: {failed[-1]}", error=True)
                else:
                    skipped += 1
                continue
            say(f"[{number}/{len(pairs)}] {out}")
            try:
                summary = lipsync.run(face, audio, out, progress=True, **options)
                say(*str(summary).split("\n"), error=not summary.complete)
                made, early = made + 1, early + (not summary.complete)
                ours[files.identity(out)] = out  # its name may be another's in capital letters
            except Exception as error:  # noqa: BLE001 - one bad pair never stops the others
                failed.append(errors.describe(error, face))
                say(f"failed: {failed[-1]}", error=True)
    finally:
        say(f"{made} made, {skipped} skipped (there already), {len(failed)} failed")
        say(*(f"  {reason}" for reason in failed), error=True)
    if failed:
        kind = Incomplete if made or skipped else UserError
        raise kind(f"{table}: {len(failed)} of {len(pairs)} could not be made; see above, and run it again")
    if early:
        raise Incomplete(f"{table}: {early} of {len(pairs)} videos end early, or stand still in places; see above")
