"""What evaluate.py does: find the results and their truths, measure each (`measuring`), and sum up.

The folder of results holds results.json and results.csv, and below videos/ what was made, and the record of each video,
which is not measured again while its files and the settings stay as they are.
"""

import argparse
import collections
import contextlib
import csv
import dataclasses
import functools
import hashlib
import io
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from tqdm import tqdm

from . import __version__, cli, fid, measuring, metrics, pack, pool
from .cli import UserError
from .measuring import Job, Settings

FORMAT = 1  # of the kept records
# Modules that change no figure
UNHEARD = {
    "batch",
    "demo",
    "evaluation",
    "gan",
    "judging",
    "live",
    "loading",
    "losses",
    "pairs",
    "pool",
    "preprocessing",
}
UNHEARD |= {"puppets", "report", "training"}
FEW = 10  # videos; the bootstrap over five covers the mean in 84 % of all cases, over ten in 90 %
MOST_WORKERS = 4  # by default, as each takes 1.5 GB
SYNCNET_HELP = (
    "give --syncnet; `python -m lipgan_keras.syncnet convert` makes that file of the released syncnet_v2.model"
)
IDENTITY = {
    "generated": "not known here: results.json says nothing of how the videos were made",
    "checkpoint": (
        f"the clip's first frame; what is measured comes at least {measuring.IDENTITY_DISTANCE} frames after it"
    ),
    "filelist": "each frame itself, unmasked, as in inference.py: its mouth says something else",
}


LSE = {"lse_d", "lse_c", "av_offset"}
OF_A_GENERATOR = measuring.SENSITIVITY | {"murmur"}


def evaluate(args: argparse.Namespace) -> dict:
    """Measure what the flags of evaluate.py name; writes and returns results.json.

    Raises:
        UserError: a flag or file that cannot be used; or, when all else is done and written, videos that could not be
            measured.
    """
    mode = "filelist" if args.filelist else "generated" if args.generated else "checkpoint"
    out = Path(args.out or Path("results", "evaluation", _title(args).replace(" ", "_")))
    cli.check_writable(out)
    _check_whose(out, args)
    settings, missing, facts = _settings(args, mode, out)
    jobs = {"generated": _paired, "checkpoint": _held_out, "filelist": _dubbed}[mode](args, out)
    if args.max_videos and len(jobs) > args.max_videos:
        facts["chosen_from"] = len(jobs)
        jobs = [jobs[i] for i in np.linspace(0, len(jobs) - 1, args.max_videos).round().astype(int)]
    if mode == "filelist":
        jobs = _dub(args, jobs, out)
    records = _measure(settings, jobs, args.num_workers or min(MOST_WORKERS, pool.cores()))
    results = _results(mode, _title(args), settings, missing, facts, jobs, records)
    with cli.replacing(out / "results.json") as temporary:
        temporary.write_text(json.dumps(results, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    with cli.replacing(out / "results.csv") as temporary:
        temporary.write_text(table(results), encoding="utf-8", errors="backslashreplace", newline="")
    if args.report:
        from . import report

        report.write(results, out, out / "report.html")
    for line in summary(results):
        print(_printable(line))
    print(_printable(f"{out / 'results.json'}" + (f", {out / 'report.html'}" if args.report else "")))
    failed = results["counts"]["failed"]
    if failed:
        raise UserError(f"{out / 'results.csv'}: {failed} of {len(jobs)} could not be measured; it holds the reasons")
    return results


def _measured(args) -> dict[str, str]:
    """What makes results those of one thing and not of another."""
    paths = {name: getattr(args, name) for name in ("generated", "truth", "checkpoint", "data_root", "filelist")}
    found = {name: os.path.abspath(path) for name, path in paths.items() if path}
    return found | ({"baseline": args.baseline} if args.baseline else {})


def _check_whose(out, args):
    """Results of another thing are not written over.

    Raises:
        UserError: there are some.
    """
    there = _read(out / "results.json").get("settings", {})
    before, now = (there.get("of") if isinstance(there, dict) else None), _measured(args)
    if isinstance(before, dict) and before != now:
        name = next(name for name in {**before, **now} if before.get(name) != now.get(name))
        raise UserError(
            f"{out / 'results.json'}: is of another --{name} ({before.get(name, 'none')}); give another --out"
        )


def _title(args) -> str:
    """What the results are called, and their folder if no other is named."""
    path = Path(os.path.abspath(args.generated or args.checkpoint))
    name = path.name if args.generated else path.stem
    if not args.generated and name == "checkpoint":  # as train.py calls all of them
        name = path.parent.name
    return (
        name
        + (f" {args.baseline}" if args.baseline else "")
        + (f" {Path(args.filelist).stem}" if args.filelist else "")
    )


def _settings(args, mode, out) -> tuple[Settings, dict, dict]:
    """What to measure; why not the rest; and what results.json says of the flags."""
    from . import checkpoints

    wanted, missing = list(dict.fromkeys(args.metrics or metrics.METRICS)), {}
    unknown = [name for name in wanted if name not in metrics.METRICS]
    if unknown:
        raise UserError(f"--metrics {unknown[0]}: is unknown; choose from {', '.join(metrics.METRICS)}")
    judging = args.sync_checkpoint
    if not judging and args.checkpoint and {"sync", "discriminator"} & set(checkpoints.read_networks(args.checkpoint)):
        judging = args.checkpoint
    for name in wanted:
        if mode == "filelist" and metrics.METRICS[name].needs_truth:
            missing[name] = "needs the true frames, which nobody has where a face says another's sound"
        elif mode != "checkpoint" and name in OF_A_GENERATOR:
            missing[name] = "needs the generator and preprocessed clips; give --checkpoint and --data_root"
        elif name in LSE and not args.syncnet:
            missing[name] = f"needs SyncNet's weights; {SYNCNET_HELP}"
        elif name == "fid" and not args.inception:
            missing[name] = "no InceptionV3 weights were given; give --inception"
        elif name == "sync_accuracy" and not judging:
            missing[name] = "needs a discriminator; give --sync_checkpoint, a checkpoint of train.py that holds one"
        elif reason := metrics.METRICS[name].missing():
            missing[name] = reason
    chosen = tuple(name for name in wanted if name not in missing)
    generator = args.checkpoint if mode != "generated" else None
    used = Settings(
        mode,
        out,
        chosen,
        generator,
        args.audio_offset_ms,
        args.baseline,
        judging if "sync_accuracy" in chosen else None,
        args.syncnet if LSE & set(chosen) else None,
        args.inception if "fid" in chosen else None,
    )
    # What is wrong with a file is said before hours of work.
    if generator and not args.baseline:
        checkpoints.read_config(generator)
        held = checkpoints.read_networks(generator)
        if held and "generator" not in held:
            raise UserError(f"{generator}: holds no generator; give a checkpoint of train.py")
    for load, path in (
        (measuring.judge, used.sync_checkpoint),
        (measuring.syncnet, used.syncnet),
        (measuring.inception, used.inception),
    ):
        if path:
            load(path)
    flags = {name: value for name, value in vars(args).items() if value is not None and value is not False}
    facts = {
        "flags": flags,
        "of": _measured(args),
        "identity": IDENTITY[mode]
        if not args.baseline
        else f"{IDENTITY[mode]}; baseline {args.baseline}: {BASELINES[args.baseline]}",
        "crops": "faces.crop_box's, of the true face, 96x96 pixels, the same box in both videos",
        "metrics": list(chosen),
    }
    if used.sync_checkpoint:
        facts["discriminator"] = f"{measuring.judge(used.sync_checkpoint).name} of {used.sync_checkpoint}"
    if used.syncnet:
        cut = (
            "the preprocessed crop, squeezed"
            if mode == "checkpoint"
            else "cut around the face as SyncNet's pipeline does"
        )
        facts["syncnet"] = f"{used.syncnet}; it sees {cut}"
    if used.inception:
        facts["fid"] = f"{used.inception}; of one crop in {measuring.FID_EVERY} frames"
    return used, missing, facts


BASELINES = {
    "frozen": "the identity frame itself",
    "aligned": "the identity frame, moved so that eyes and nose lie on the true ones",
    "source": "the true frame",
}


# ---------------------------------------------------------------------------------------------------------------------
# What is to be measured


def _paired(args, out) -> list[Job]:
    """Jobs for two folders of videos."""
    truth, generated = _videos(args.truth, out), _videos(args.generated, out)
    if not generated:
        raise UserError(f"{args.generated}: holds no video; give the folder of the results")
    if not truth:
        raise UserError(f"{args.truth}: holds no video; give the folder of the true videos")
    jobs = []
    for name in sorted({*truth, *generated}):
        found, problem = [], None
        for files, folder in ((truth, args.truth), (generated, args.generated)):
            paths = files.get(name, [])
            found.append(paths[0] if paths else None)
            if not paths:
                problem = f"{folder}: holds no video of that name; a pair has the same name in both folders"
            elif len(paths) > 1:
                problem = f"{folder}: holds {len(paths)} videos of that name; leave one of them there"
        jobs.append(Job(name, *found, problem=problem))
    return jobs


def _videos(folder, out) -> dict[str, list[Path]]:
    """{path below the folder, without suffix: files}; nothing of what lies in these or other results of evaluate.py."""
    from .preprocessing import VIDEO_SUFFIXES

    if not os.path.isdir(folder):
        raise UserError(f"{folder}: is no folder; give one that holds videos")
    found = collections.defaultdict(list)
    inside = out.resolve() if out.resolve() != Path(folder).resolve() else None

    @functools.cache
    def holds_results(parent):
        return all((parent / name).is_file() for name in ("results.json", "results.csv"))

    for path in sorted(Path(folder).rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        ours = inside is not None and path.resolve().is_relative_to(inside)
        between = [parent for parent in path.parents if Path(folder) in parent.parents]
        ours |= any(
            parent.name == "videos" and holds_results(parent.parent)
            for parent in between
            if parent.parent != Path(folder)
        )
        if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file() and not hidden and not ours:
            found[path.relative_to(folder).with_suffix("").as_posix()].append(path)
    return found


def _held_out(args, out) -> list[Job]:
    """Jobs for the clips that training held out, and for those that a list names but are not there."""
    from . import checkpoints, dataset, sync_accuracy

    config = checkpoints.read_config(args.checkpoint)
    known = checkpoints.read_training(args.checkpoint) or {}
    split = {name: known.get(name, default) for name, default in sync_accuracy.SPLIT.items()}
    if args.filelists:
        split["filelists"] = args.filelists
    broken = {}
    clips = dataset.find_clips(args.data_root, config.audio, broken=broken if split["filelists"] else None)
    training, held_out = dataset.split_clips(clips, split["val_fraction"], split["seed"], split["filelists"])
    if not held_out:
        raise UserError(f"{args.data_root}: no clip is held out; give --filelists with a train.txt and a val.txt")
    root, others = Path(args.data_root), held_out if len(held_out) > 1 else held_out + training
    jobs = []
    for i, clip in enumerate(held_out):
        following = [others[(i + 1 + k) % len(others)] for k in range(len(others))]
        other = next((other.folder for other in following if not _same_sound(other, clip)), None)
        jobs.append(Job(_name(clip.folder, root), clip=clip.folder, other=other))
    listed = Path(split["filelists"] or "", "val.txt")
    if split["filelists"] and listed.is_file():
        there = {name for clip in held_out for name in pack.names_of(clip.folder)}
        for name in dict.fromkeys(line[0].strip("/") for line in _lines(listed)):
            if name not in there:
                problem = (
                    f"{root}: holds no such clip with sound and {dataset.MIN_FRAMES} frames, but {listed} names it; "
                    "preprocess it"
                )
                known = [why for folder, why in broken.items() if pack.is_named(folder, {name})]
                jobs.append(Job(_safe(name), problem=known[0] if known else problem))
    return jobs


def _same_sound(one, other) -> bool:
    """Whether two clips are one, or copies that say the same, such as one mirrored."""
    if one.folder == other.folder or not (one.has_sound and other.has_sound):
        return one.folder == other.folder
    return one.read(one.sound_file) == other.read(other.sound_file)


def _name(folder, root):
    name = folder.relative_to(root).as_posix()
    return name if name != "." else folder.resolve().name


def _safe(name):
    """A name that leads nowhere but below a folder."""
    return "/".join(part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")) or "unnamed"


def _lines(path) -> list[list[str]]:
    try:
        return [line.split() for line in Path(path).read_text(encoding="utf-8-sig").splitlines() if line.split()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as a list; give a text file in UTF-8") from error


def _dubbed(args, out) -> list[Job]:
    """Jobs for the lines of a list in Wav2Lip's format. `clip` is the sound's file, until the video is there."""
    if not os.path.isdir(args.data_root):
        raise UserError(f"{args.data_root}: no such folder; give the one that the paths in {args.filelist} start from")
    lines = _lines(args.filelist)
    if not lines:
        raise UserError(f"{args.filelist}: is empty; its lines are to be <clip of the sound> <clip of the face>")
    jobs = []
    for number, line in enumerate(lines, 1):
        if len(line) != 2:
            raise UserError(
                f"{args.filelist}: line {number} has {len(line)} words; it is to be <clip of the sound> <clip of the "
                "face>"
            )
        heard, seen = (_clip_file(args.data_root, word) for word in line)
        problem = next(
            (
                f"{path}: no such file; line {number} of {args.filelist} names it"
                for path in (heard, seen)
                if not path.is_file()
            ),
            None,
        )
        name = f"{number:05d}_" + "_".join(
            _safe(word.removesuffix(".mp4")).replace("/", "-") for word in reversed(line)
        )
        job = Job(name[:150], truth=seen, other=heard, problem=problem)
        jobs.append(dataclasses.replace(job, generated=job.place(out, ".mp4")))
    return jobs


def _clip_file(root, word) -> Path:
    path = Path(root, word.lstrip("/"))
    return path if path.is_file() else Path(f"{path}.mp4")


def _dub(args, jobs, out) -> list[Job]:
    """Make the videos of `_dubbed` that are not there yet."""
    from .lipsync import LipSync

    lipsync, done = None, []
    for job in tqdm(jobs, "videos", unit="video", dynamic_ncols=True):
        if job.problem is None:
            note, key = (
                job.place(out, ".made.json"),
                _key("made", args.audio_offset_ms, args.checkpoint, job.truth, job.other),
            )
            if not job.generated.is_file() or _read(note).get("key") != key:
                lipsync = lipsync or LipSync(args.checkpoint, audio_offset_ms=args.audio_offset_ms)
                try:
                    lipsync.run(job.truth, job.other, job.generated)
                except UserError as error:
                    job = dataclasses.replace(job, problem=str(error))
                except OSError as error:
                    job = dataclasses.replace(job, problem=cli.describe_os_error(error))
                except Exception as error:  # noqa: BLE001 - one bad pair never stops the others
                    job = dataclasses.replace(job, problem=f"{job.truth}: {type(error).__name__}: {error}")
                else:
                    _write(note, {"key": key})
        done.append(job)
    return done


# ---------------------------------------------------------------------------------------------------------------------
# Measuring, and what was measured before


def _measure(settings: Settings, jobs: list[Job], workers: int) -> list[dict]:
    """The records of all jobs, in their order; what can be is taken from the files of an earlier run."""
    records, keys, todo = {}, {}, []
    for job in jobs:
        keys[job.name] = _key(dataclasses.asdict(settings) | {"out": None}, *_files(settings, job))
        kept = _read(job.place(settings.out, ".json"))
        there = kept.get("key") == keys[job.name] and kept["record"]["status"] == "ok"
        needed = [settings.out / path for path in kept["record"]["files"].values()] if there else []
        if "fid" in settings.metrics:
            needed.append(job.place(settings.out, ".fid.npz"))
        if there and all(path.is_file() for path in needed):
            records[job.name] = kept["record"]
        else:
            todo.append(job)
    work = functools.partial(measuring.measure, settings)
    with (
        tqdm(total=len(jobs), initial=len(records), unit="video", dynamic_ncols=True) as bar,
        contextlib.closing(pool.run(work, todo, workers, here=True)) as measured,
    ):
        for job, record in measured:
            if record is None:
                record = measuring.fail(measuring.empty(settings, job), f"{job.generated or job.clip}: {pool.DIED}")
            _write(job.place(settings.out, ".json"), {"key": keys[job.name], "record": record})
            records[job.name] = record
            bar.update()
    return [records[job.name] for job in jobs]


def _files(settings, job) -> Iterable[Path | str]:
    """All that a record depends on."""
    yield from (job.truth, job.generated)
    for folder in (job.clip, job.other if job.clip else None):
        if folder:
            yield from sorted(folder.iterdir()) if folder.is_dir() else (folder, pack.file_of(folder))
    yield from (settings.checkpoint, settings.sync_checkpoint, settings.syncnet, settings.inception)


@functools.cache
def _code() -> str:
    """Changes with the definition of any measure, and with what makes the videos."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files if path.stem not in UNHEARD)).hexdigest()


def _key(*parts) -> str:
    """Changes with any of the parts, of files with their size and time."""
    told = [__version__, FORMAT, _code()]
    for part in parts:
        if isinstance(part, (str, Path)) and os.path.exists(part):
            state = os.stat(part)
            part = os.path.abspath(part), state.st_size, state.st_mtime_ns
        told.append(part)
    return hashlib.sha256(json.dumps(told, default=str).encode()).hexdigest()


def _read(path) -> dict:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def _write(path, content):
    with cli.replacing(path) as temporary:
        temporary.write_text(json.dumps(content, allow_nan=False), encoding="utf-8")


# ---------------------------------------------------------------------------------------------------------------------
# Summing up


def _results(mode, name, settings, missing, facts, jobs, records) -> dict:
    summed, together = {}, {"fid": None}
    for metric in settings.metrics:
        values = [record["values"][metric] for record in records if record["values"].get(metric) is not None]
        if values:
            mean, low, high = _mean(metric, values, records)
            summed[metric] = {"mean": mean, "low": low, "high": high, "n": len(values)}
    if "fid" in settings.metrics:
        together["fid"], warning = _fid(settings, jobs, records)
        if warning and together["fid"] is None:
            missing["fid"] = warning
        elif warning:
            facts["warning"] = warning
    measured = [metric for metric in settings.metrics if metric in summed or together.get(metric) is not None]
    for metric in settings.metrics:
        if metric not in measured and metric not in missing:
            missing[metric] = "no video gave a value; see their notes and reasons"
    ok = sum(record["status"] == "ok" for record in records)
    noted = sum(bool(record["notes"]) for record in records)
    return {
        "version": 1,
        "tool": f"lipgan_keras {__version__}",
        "mode": mode,
        "name": name,
        "settings": facts,
        "metrics": {metric: metrics.METRICS[metric].describe() for metric in measured},
        "videos": records,
        "summary": summed,
        "set": together,
        "missing": missing,
        "counts": {"pairs": len(records), "ok": ok, "failed": len(records) - ok, "noted": noted},
    }


def _mean(metric, values, records) -> tuple[float, float | None, float | None]:
    """Mean over the videos and its interval, which one video does not give; of a ratio of errors,
    that of all frames.
    """
    if len(values) == 1:
        return values[0], None, None
    if metric not in measuring.SENSITIVITY:
        return (float(np.mean(values)), *metrics.bootstrap_interval(np.array(values)))
    shift, sums = metric.removeprefix("sensitivity_"), []
    for record in records:
        if record["values"].get(metric) is not None:
            curves = record["curves"]
            wrong = curves["lip_error_other_sound"] if shift == "other" else curves["lip_error_by_shift"][shift]
            sums.append([record["faces"] * wrong, record["faces"] * curves["lip_error_by_shift"]["0"]])
    return metrics.ratio_interval(*np.transpose(sums))


def _fid(settings, jobs, records) -> tuple[float | None, str | None]:
    """The FID of all crops, if there is one, and what is to be said of it."""
    sides = {name: fid.Statistics() for name in ("truth", "generated")}
    for job, record in zip(jobs, records, strict=True):
        path = job.place(settings.out, ".fid.npz")
        if record["status"] == "ok" and path.is_file():
            with np.load(path, allow_pickle=False) as features:
                for name, statistics in sides.items():
                    statistics.update(features[name])
    return measuring.finite(metrics.METRICS["fid"].fn(*sides.values())), fid.warning(
        *(side.n for side in sides.values())
    )


def table(results: dict) -> str:
    """results.csv: a line for each video."""
    text, columns = io.StringIO(), list(results["metrics"])
    writer = csv.writer(text)
    columns = [name for name in columns if name != "fid"]
    writer.writerow(["name", "status", "reason", "notes", "frames", "faces", *columns])
    for video in results["videos"]:
        values = [video["values"].get(name) for name in columns]
        cells = [
            video["name"],
            video["status"],
            video["reason"] or "",
            "; ".join(video["notes"]),
            video["frames"],
            video["faces"],
        ]
        writer.writerow(cells + ["" if value is None else f"{value:.6g}" for value in values])
    return text.getvalue()


def _printable(text: str) -> str:
    """As the terminal can show it: file names may hold anything, line breaks and what is no UTF-8 among it."""
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


ARROWS = {"higher": "^", "lower": "v", None: " "}


def summary(results: dict) -> list[str]:
    """What is shown at the end: the table, what is missing, and who failed."""
    counts = results["counts"]
    lines = [f"{results['name']}: {counts['ok']} of {counts['pairs']} videos measured, {counts['noted']} with notes"]
    titles = {
        name: f"{about['title']} {ARROWS[about['better']]}" + (f" [{about['unit']}]" if about["unit"] else "")
        for name, about in results["metrics"].items()
    }
    width = max(map(len, titles.values()), default=0)
    lines.append(f"  {'':{width}}     mean   95 % interval          videos")
    for name, title in titles.items():
        if name in results["summary"]:
            mean, low, high, n = (results["summary"][name][key] for key in ("mean", "low", "high", "n"))
            interval = "-" if low is None else f"[{low:.4g}, {high:.4g}]"
            lines.append(f"  {title:{width}} {mean:8.4g}   {interval:20} {n:8d}")
        else:
            lines.append(f"  {title:{width}} {results['set'][name]:8.4g}   of all together")
    lines.append("  (^ higher is better, v lower is better)")
    if any(found["n"] < FEW for found in results["summary"].values()):
        lines.append(f"  note: an interval over fewer than {FEW} videos is a rough one, and too narrow")
    reasons = collections.defaultdict(list)
    for name, reason in results["missing"].items():
        reasons[reason].append(name)
    lines += [f"  not measured: {', '.join(which)}: {reason}" for reason, which in reasons.items()]
    if "warning" in results["settings"]:
        lines.append(f"  note: {results['settings']['warning']}")
    for video in results["videos"]:
        lines += [f"  note: {video['name']}: {note}" for note in video["notes"]]
    for video in results["videos"]:
        if video["status"] != "ok":
            lines.append(f"  failed: {video['name']}: {video['reason']}")
    return lines
