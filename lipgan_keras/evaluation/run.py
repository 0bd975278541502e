"""What evaluate.py does: find the results and their truths, measure each (`measure`), and sum up.

The folder of results holds results.json and results.csv, and below videos/ what was made, and the record of each video,
which is not measured again while its files and the settings stay as they are.
"""

import contextlib
import dataclasses
import functools
import json
import os
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..inference import models
from ..utils import files, kinds, processes, terminal
from ..utils.errors import Incomplete, UserError
from . import jobs as evaluation_jobs
from . import kept as evaluation_kept
from . import loaded, measure, protocols
from .config import BASELINES, EARLIER, IDENTITIES, ORDERS, PAGE, EvalConfig
from .find import dub, dubbed_jobs, held_out_jobs, paired_jobs
from .given import ADVICE
from .jobs import Job, Settings
from .metrics import register
from .summary import failures, summary, summed_up, table

MOST_WORKERS = 4  # by default, as each takes 1.5 GB
SYNCNET_HELP = (
    "give --syncnet; `python -m lipgan_keras.syncnet convert` makes that file of the released syncnet_v2.model"
)
IDENTITY = {
    "generated": "not known here: results.json says nothing of how the videos were made",
    "filelist": "as in inference.py: each frame itself, or with the decoder warp one whose mouth rests",
}


LSE = {"lse_d", "lse_c", "av_offset"}
OF_A_GENERATOR = evaluation_jobs.SENSITIVITY | {"murmur"}


def evaluate(options: EvalConfig) -> dict:
    """Measure what the flags of evaluate.py name; writes and returns results.json.

    Raises:
        Incomplete: when all else is done and written, videos that could not be measured.
        UserError: a flag or file that cannot be used, or not one video that could be measured.
    """
    options = protocols.completed(kinds.checked(options))
    mode = options.mode
    if options.plugin:
        from .. import blocks

        blocks.load_plugin(options.plugin)
    out = Path(options.out or Path("results", "evaluation", _title(options).replace(" ", "_")))
    files.check_outfolder(out, ".evaluation", _is_of_earlier_version)
    _check_whose(out, options)
    if options.report:
        files.check_outfile(out / "report.html", suffix=".html", mark=PAGE)
    settings, missing, facts = _settings(options, mode, out)
    if mode == "checkpoint":
        jobs, facts["clips"] = held_out_jobs(options)
    else:
        jobs = {"generated": paired_jobs, "filelist": dubbed_jobs}[mode](options, out)
    if options.max_videos and len(jobs) > options.max_videos:
        facts["chosen_from"] = len(jobs)
        jobs = [jobs[i] for i in np.linspace(0, len(jobs) - 1, options.max_videos).round().astype(int)]
    if mode == "filelist":
        jobs = dub(options, jobs, out)
    records = _measure(settings, jobs, options.num_workers or min(MOST_WORKERS, processes.cores()))
    results = summed_up(mode, _title(options), settings, missing, facts, jobs, records)
    with files.replacing(out / "results.json") as temporary:
        temporary.write_text(json.dumps(results, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    with files.replacing(out / "results.csv") as temporary:
        temporary.write_text(table(results), encoding="utf-8", errors="backslashreplace", newline="")
    if options.report:
        from . import report

        report.write(results, out, out / "report.html")
    terminal.say(*summary(results))
    terminal.say(f"{out / 'results.json'}" + (f", {out / 'report.html'}" if options.report else ""))
    failed = results["counts"]["failed"]
    if failed:
        terminal.say(*failures(results), error=True)
        kind = Incomplete if results["counts"]["ok"] else UserError
        raise kind(f"{out / 'results.csv'}: {failed} of {len(jobs)} could not be measured; it holds the reasons")
    return results


def _measured(options) -> dict[str, str | None]:
    """What makes results those of one thing and not of another."""
    paths = {name: getattr(options, name) for name in ("generated", "truth", "checkpoint", "data_root", "filelist")}
    found = {name: os.path.abspath(path) for name, path in paths.items() if path}
    if options.mode == "checkpoint":  # named also where it is none: results of before do not say which it was
        found["filelists"] = options.filelists and os.path.abspath(options.filelists)
    chosen = {name: getattr(options, name) for name in ("baseline", "split", "identity")}
    chosen["order"] = options.order if options.order != ORDERS[0] else None
    return found | {name: value for name, value in chosen.items() if value}


def _is_of_earlier_version(out):
    """Whether a folder holds results that were written before there was a marker in it."""
    return str(evaluation_kept.read(out / "results.json").get("tool", "")).startswith("lipgan_keras")


def _check_whose(out, options):
    """Results of another thing are not written over.

    Raises:
        UserError: there are some.
    """
    there = evaluation_kept.read(out / "results.json").get("settings", {})
    before, now = (there.get("of") if isinstance(there, dict) else None), _measured(options)
    if isinstance(before, dict) and "filelists" not in before:
        now.pop("filelists", None)
    if isinstance(before, dict) and before != now:
        name = next(name for name in {**before, **now} if before.get(name) != now.get(name))
        raise UserError(
            f"{out / 'results.json'}: is of another --{name} ({before.get(name) or 'none'}); give another --out"
        )


def _title(options) -> str:
    """What the results are called, and their folder if no other is named."""
    path = Path(os.path.abspath(options.generated or options.checkpoint))
    name = path.name if options.generated else path.stem
    if not options.generated and name == "checkpoint":  # as train.py calls all of them
        name = path.parent.name
    return (
        name
        + "".join(f" {part}" for part in (options.baseline, options.split, options.identity) if part)
        + (f" {Path(options.filelist).stem}" if options.filelist else "")
    )


def _settings(options, mode, out) -> tuple[Settings, dict, dict]:
    """What to measure; why not the rest; and what results.json says of the options."""
    for name, known in (("identity", (None, *IDENTITIES)), ("order", ORDERS)):
        if getattr(options, name) not in known:
            raise UserError(f"--{name} {getattr(options, name)}: is none of {', '.join(filter(None, known))}")
    judging = _judging(options)
    wanted, missing = _divided(options, mode, judging)
    chosen = tuple(name for name in wanted if name not in missing)
    used = Settings(
        mode,
        out,
        chosen,
        options.checkpoint if mode != "generated" else None,
        options.audio_offset_ms,
        options.baseline,
        judging if "sync_preference" in chosen else None,
        options.syncnet if LSE & set(chosen) else None,
        options.inception if "fid" in chosen else None,
        plugin=options.plugin and os.path.abspath(options.plugin),
        identity=options.identity or "first",
        whole_frames=options.whole_frames,
        **{network: getattr(options, network) for name in chosen if (network := register.METRICS[name].given)},
    )
    _check_files(used)
    return used, missing, _facts(options, used)


def _judging(options):
    """The checkpoint whose discriminator judges; None where there is none."""
    if options.sync_checkpoint or not options.checkpoint:
        return options.sync_checkpoint
    held = models.read_networks(options.checkpoint)
    return options.checkpoint if {"sync", "discriminator"} & set(held) else None


def _divided(options, mode, judging) -> tuple[list[str], dict[str, str]]:
    """The measures that are wanted, and why some of them cannot be had."""
    names = (EARLIER.get(name, name) for name in options.metrics or register.METRICS)
    wanted, missing = list(dict.fromkeys(names)), {}
    unknown = [name for name in wanted if name not in register.METRICS]
    if unknown:
        raise UserError(f"--metrics {unknown[0]}: is unknown; choose from {', '.join(register.METRICS)}")
    for name in wanted:
        if mode == "filelist" and register.METRICS[name].needs_truth:
            missing[name] = "needs the true frames, which nobody has where a face says another's sound"
        elif mode != "checkpoint" and name in OF_A_GENERATOR:
            missing[name] = "needs the generator and preprocessed clips; give --checkpoint and --data_root"
        elif name in LSE and not options.syncnet:
            missing[name] = f"needs SyncNet's weights; {SYNCNET_HELP}"
        elif name == "fid" and not options.inception:
            missing[name] = "no InceptionV3 weights were given; give --inception"
        elif (network := register.METRICS[name].given) and not getattr(options, network):
            missing[name] = f"needs a network that does not ship; give --{network}"
        elif name == "sync_preference" and not judging:
            missing[name] = "needs a discriminator; give --sync_checkpoint, a checkpoint of train.py that holds one"
        elif reason := register.METRICS[name].missing():
            missing[name] = reason
    return wanted, missing


def _check_files(used):
    """Say what is wrong with a file before hours of work."""
    if used.checkpoint and not used.baseline:
        models.read_config(used.checkpoint)
        held = models.read_networks(used.checkpoint)
        if held and "generator" not in held:
            raise UserError(f"{used.checkpoint}: holds no generator; give a checkpoint of train.py")
    for load, path in (
        (loaded.judge, used.sync_checkpoint),
        (loaded.syncnet, used.syncnet),
        (loaded.inception, used.inception),
    ):
        if path:
            load(path)
    for network in ADVICE:
        if path := getattr(used, network):
            loaded.given(path, network)


def _facts(options, used) -> dict:
    """What results.json says of how it was measured."""
    baseline = f"; baseline {used.baseline}: {BASELINES[used.baseline]}" if used.baseline else ""
    flags = dataclasses.asdict(options)
    facts = {
        "flags": {name: value for name, value in flags.items() if value is not None and value is not False},
        "of": _measured(options),
        "identity": IDENTITY.get(used.mode, IDENTITIES[used.identity]) + baseline,
        "crops": "face.cropping.crop_box's, of the true face, 96x96 pixels, the same box in both videos",
        "metrics": list(used.metrics),
    }
    if used.sync_checkpoint:
        facts["discriminator"] = f"{loaded.judge(used.sync_checkpoint).name} of {used.sync_checkpoint}"
    if used.syncnet:
        squeezed = used.mode == "checkpoint"
        cut = "the preprocessed crop, squeezed" if squeezed else "cut around the face as SyncNet's pipeline does"
        cut = "whole frames, squeezed" if used.whole_frames and not squeezed else cut
        facts["syncnet"] = f"{used.syncnet}; it sees {cut}"
    if options.protocol:
        chosen = protocols.PROTOCOLS[options.protocol]
        facts["protocol"] = {"name": options.protocol, "fixed": chosen.fixed, "not stated": chosen.open}
        terminal.say(f"{options.protocol}: {chosen.fixed}", f"not stated in the paper: {chosen.open}")
    if used.inception:
        facts["fid"] = f"{used.inception}; of one crop in {evaluation_jobs.FID_EVERY} frames"
    return facts


def _measure(settings: Settings, jobs: list[Job], workers: int) -> list[dict]:
    """The records of all jobs, in their order; what can be is taken from the files of an earlier run."""
    records, keys, todo = {}, {}, []
    for job in jobs:
        keys[job.name] = evaluation_kept.key_of(
            dataclasses.asdict(settings) | {"out": None}, *evaluation_kept.files_of(settings, job)
        )
        kept = evaluation_kept.record(job.place(settings.out, ".json"), keys[job.name])
        needed = [settings.out / path for path in kept["files"].values()] if kept else []
        if "fid" in settings.metrics:
            needed.append(job.place(settings.out, ".fid.npz"))
        if kept and all(path.is_file() for path in needed):
            records[job.name] = kept
        else:
            todo.append(job)
    work = functools.partial(measure.measure, settings)
    with (
        tqdm(total=len(jobs), initial=len(records), unit="video", dynamic_ncols=True) as bar,
        contextlib.closing(processes.run(work, todo, workers, here=True)) as measured,
    ):
        for job, record in measured:
            if record is None:
                record = evaluation_jobs.fail(
                    evaluation_jobs.empty(settings, job), f"{job.generated or job.clip}: {processes.DIED}"
                )
            evaluation_kept.write_record(job.place(settings.out, ".json"), keys[job.name], record)
            records[job.name] = record
            bar.update()
    return [records[job.name] for job in jobs]
