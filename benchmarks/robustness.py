"""Kill commands, damage files and make an hour of video: what docs/reliability.md says, in one command.

    python benchmarks/robustness.py --clips GRID [--only kills mutations hour] [--kills N] [--mutations N]

GRID is a folder with at least three video clips of people who speak. Everything is kept in --workdir, trial by trial,
and what is there is not done again. It takes Linux. On two cores the defaults take hours.
"""

import contextlib
import itertools
import json
import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from puppet_ablation import machine, table, write_between

from lipgan_keras import checkpoints
from lipgan_keras.data.preprocess import VIDEO_SUFFIXES
from lipgan_keras.utils import cli, files
from lipgan_keras.utils.cli import ArgumentParser
from lipgan_keras.utils.errors import UserError

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from helpers import mutations, readers  # noqa: E402 - the tests' own, found by the line above

BEGIN, END = "<!-- measured: written by benchmarks/robustness.py -->", "<!-- end of measured -->"
PARTS = ("kills", "mutations", "hour")
HOOK = Path(__file__).resolve().parent / "robustness_hook"
FRAMES = 40  # of each of the clips that commands are killed over
TRAINING = ["--model", "basic", "--width", "0.05", "--steps", "20", "--checkpoint_freq", "5", "--batch_size", "5"]
TRAINING += ["--seed", "1", "--val_fraction", "0.34", "--num_workers", "1"]
UNLIKE = ("events.out.tfevents.",)  # files of which each run writes one of its own; all else is compared
ROOM = {True: 4 << 30, False: 600 << 20}  # bytes of memory that reading may take: of media, and of other files
MEMORY = "was refused for want of memory"
PATIENCE = 60  # seconds after which reading counts as hung
# What takes seconds to import, once for all processes
PRELOADED = ["lipgan_keras.data.preprocess", "lipgan_keras.evaluation.report", "lipgan_keras.inference.batch"]
PRELOADED += ["lipgan_keras.puppets.clips", "lipgan_keras.puppets.utterance", "librosa.core", "PIL.Image", "h5py"]
STILL = 160  # pixels of a side of the picture that speaks for an hour


def main():
    parser = ArgumentParser(description="Kill commands, damage files and make an hour of video.")
    parser.add_argument(
        "--clips", default=os.environ.get("LIPGAN_CLIPS"), help="folder of clips (default: LIPGAN_CLIPS)"
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="some of the parts")
    parser.add_argument("--commands", nargs="+", metavar="NAME", help="kill these alone, such as pack (default: all)")
    parser.add_argument("--kills", type=cli.integer(1), default=20, help="of each command")
    parser.add_argument("--kinds", nargs="+", metavar="KIND", help="damage these alone, such as mp4 (default: all)")
    parser.add_argument("--mutations", type=cli.integer(1), default=1000, help="of each kind of file")
    parser.add_argument("--minutes", type=cli.integer(2, 60), default=60, help="of the long sound")
    parser.add_argument("--seed", type=cli.integer(0), default=0, help="decides moments and damages")
    parser.add_argument("--workdir", default="logs/robustness", help="inputs, and what is measured")
    parser.add_argument("--report", default=str(ROOT / "docs" / "reliability.md"), help="file to write the tables to")
    args = parser.parse_args()
    work = Path(args.workdir).resolve()
    clips = find_clips(args.clips)
    if "hour" in args.only:
        measure_hour(work, clips[0], args.minutes)
    if "kills" in args.only:
        kill_commands(work, clips, args)
    if "mutations" in args.only:
        damage_files(work, clips[0], args)
    text = list(sections(work))
    write_between(Path(args.report), (BEGIN, END), text, "# Reliability\n\n")
    print("\n\n".join(text))


def find_clips(folder: str | None) -> list[Path]:
    found = sorted(path for path in Path(folder).iterdir() if path.suffix.lower() in VIDEO_SUFFIXES) if folder else []
    if len(found) < 3:
        raise UserError(f"{folder or '--clips'}: holds no three clips; name a folder of videos of people who speak")
    return found


def keep(path: Path, content) -> None:
    with files.replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def kept(path: Path):
    return json.loads(path.read_text("utf-8")) if path.is_file() else None


# ---------------------------------------------------------------------------------------------------------------- hour


def measure_hour(work: Path, clip: Path, minutes: int) -> None:
    """Peak memory of inference.py on a still, with a minute of sound and with many."""
    import cv2

    from lipgan_keras.config import SAMPLE_RATE
    from lipgan_keras.media import audio_file, video_reader

    folder = work / "hour"
    folder.mkdir(parents=True, exist_ok=True)
    image = next(video_reader.read_frames(clip)).image
    scale = STILL / min(image.shape[:2])
    cv2.imwrite(str(folder / "still.png"), cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
    speech = audio_file.load_audio(clip)
    for length in (1, minutes):
        place = folder / f"{length}.json"
        if kept(place):
            continue
        sound, made = folder / f"{length}.wav", folder / f"{length}.mp4"
        audio_file.save_wav(sound, np.resize(speech, length * 60 * SAMPLE_RATE))
        began = time.monotonic()
        command = [
            sys.executable,
            str(ROOT / "inference.py"),
            "--face",
            str(folder / "still.png"),
            "--audio",
            str(sound),
        ]
        command += ["--outfile", str(made), "--max_sec", str(60 * length)]
        print("$", *command, flush=True)
        process = subprocess.Popen(command)
        # Of the command alone: nobody waits for the process in which it finds faces.
        _, status, used = os.wait4(process.pid, 0)
        if status:
            raise UserError(f"inference.py ended with exit code {os.waitstatus_to_exitcode(status)}; see above")
        figures = {"minutes": length, "mebibytes": used.ru_maxrss / 1024, "seconds": time.monotonic() - began}
        keep(place, figures | {"frames": sum(1 for _ in video_reader.read_frames(made)), "bytes": made.stat().st_size})
        sound.unlink()
        made.unlink()


# --------------------------------------------------------------------------------------------------------------- kills


def commands(inputs: Path, out: Path) -> dict[str, list[str]]:
    """{name: what is run, and writes into the folder `out` alone}."""
    videos, crops = str(inputs / "videos"), str(inputs / "crops")
    first, second = (str(path) for path in sorted((inputs / "videos").rglob("*.mp4"))[:2])
    train = ["train.py", "--data_root", crops, "--logdir", str(out), *TRAINING]
    return {
        "train lipgan": [*train, "--recipe", "lipgan"],
        "train lipsync": [*train, "--recipe", "lipsync"],
        "preprocess": [
            "preprocess.py", "--videos_data_root", videos, "--final_data_root", str(out), "--num_workers", "2",
        ],
        "pack": ["preprocess.py", "--final_data_root", crops, "--pack", str(out / "clips.pack")],
        "inference": ["inference.py", "--face", first, "--audio", second, "--outfile", str(out / "made.mp4")],
        "evaluate": [
            "evaluate.py", "--checkpoint", str(checkpoints.SHIPPED), "--data_root", crops, "--out", str(out),
            "--num_workers", "1", "--report",
        ],
    }  # fmt: skip


def make_inputs(inputs: Path, clips: list[Path]) -> None:
    """Short videos, and their crops."""
    from lipgan_keras.media import audio_file, video_reader
    from lipgan_keras.media.video_writer import VideoWriter

    if (inputs / "crops").is_dir():
        return
    for clip in clips[:3]:
        frames = list(itertools.islice(video_reader.read_frames(clip), FRAMES))
        path = inputs / "videos" / "main" / "speaker" / f"{clip.stem}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        height, width = frames[0].image.shape[:2]
        end = frames[-1].time + frames[-1].duration
        wave = audio_file.load_audio(clip, max_seconds=end)
        with VideoWriter(path, width, height, FRAMES / end, (wave, 16000), duration=end) as writer:
            for frame in frames:
                writer.write(frame.image, frame.time, frame.duration)
    made = inputs / "making"
    run_whole(commands(inputs, made)["preprocess"], made, inputs / "log")
    made.rename(inputs / "crops")


def kill_commands(work: Path, clips: list[Path], args) -> None:
    """Kill each command, half of the times at a write, and keep what each kill ended in."""
    inputs = work / "inputs"
    make_inputs(inputs, clips)
    names = list(commands(inputs, work))
    unknown = set(args.commands or ()) - set(names)
    if unknown:
        raise UserError(f"--commands {min(unknown)}: is unknown; choose from {', '.join(names)}")
    for name in args.commands or names:
        folder = work / "kills" / name.replace(" ", "_")
        # The same paths in all runs, since outputs may name them
        out, good = folder / "out", folder / "good"
        command = commands(inputs, out)[name]
        whole = kept(folder / "whole.json")
        if not whole:
            shutil.rmtree(folder, ignore_errors=True)
            began, count = run_whole(command, out, folder / "log")
            seconds = time.monotonic() - began
            out.rename(good)
            whole = {"changes": count, "seconds": seconds}
            keep(folder / "whole.json", whole)
        for number in range(args.kills):
            place = folder / f"{number}.json"
            if not kept(place):
                rng = np.random.default_rng([args.seed, number, *name.encode()])
                found = trial(command, out, good, folder, whole, rng, at_write=number % 2 == 0)
                keep(place, found)
                print(f"{name}, kill {number + 1} of {args.kills}: {found}", flush=True)


def run_whole(command: list[str], out: Path, log: Path) -> tuple[float, int]:
    """Run a command to its end; when it made its first change below `out`, and how many it made.

    Raises:
        UserError: it failed.
    """
    with started(command, out, log, 0) as (process, count):
        began = first_change(process, count)
        code = process.wait()
    if code:
        raise UserError(f"{command[0]} ended with exit code {code}; see {log}")
    return began, size(count)


def trial(command, out, good, folder, whole, rng, at_write: bool) -> dict:
    """Kill a command that begins anew, once, and run it to its end; what was wrong then."""
    while True:
        shutil.rmtree(out, ignore_errors=True)
        at = int(rng.integers(1, whole["changes"] + 1)) if at_write else float(rng.uniform(0, whole["seconds"]))
        with started(command, out, folder / "log", at if at_write else 0) as (process, count):
            began = first_change(process, count)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(None if at_write else max(0, began + at - time.monotonic()))
            killed = process.poll() in (None, -signal.SIGKILL)
        if killed:  # and not at its end before its moment came
            break
    wrong = [f"after the kill: {line}" for line in half_written(good, out)]
    left = len([path for path in out.rglob("*") if path.is_file()])
    try:
        run_whole(command, out, folder / "log")
        wrong += differences(good, out)
    except UserError as error:
        wrong.append(str(error))
    if wrong:
        shutil.copytree(out, folder / f"wrong-{time.time_ns()}")
    return {"at_write": at_write, "at": at, "files_then": left, "wrong": wrong}


@contextlib.contextmanager
def started(command, out, log, kill_at):
    """A command in a process group of its own, all dead at the end; and the file that counts its changes."""
    count = log.with_name("count")
    log.parent.mkdir(parents=True, exist_ok=True)
    count.write_bytes(b"")
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(HOOK), str(ROOT)]), "ROBUSTNESS_BELOW": str(out),
        "ROBUSTNESS_COUNT": str(count), "ROBUSTNESS_KILL_AT": str(kill_at), "COLUMNS": "80",
    }  # fmt: skip
    with open(log, "a") as file:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / command[0]), *command[1:]],
            env=environment, cwd=log.parent, stdout=file, stderr=file, stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            yield process, count
        finally:
            with contextlib.suppress(ProcessLookupError):
                while True:  # workers are nobody's children when their parent is dead
                    os.killpg(process.pid, signal.SIGKILL)
                    process.poll()
                    time.sleep(0.01)


def first_change(process, count) -> float:
    """Wait for the first change below the folder of outputs; when it came."""
    while process.poll() is None and not size(count):
        time.sleep(0.005)
    return time.monotonic()


def size(path: Path) -> int:
    return path.stat().st_size


# ---------------------------------------------------------------------------------------------------------- comparison


def listed(folder: Path) -> set[str]:
    """Files and folders below a folder that runs may not differ in."""
    paths = (path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    return {path for path in paths if not Path(path).name.startswith(UNLIKE)}


def differences(good: Path, made: Path) -> list[str]:
    """What a run that was killed left otherwise than one that was not, a line each."""
    one, other = listed(good), listed(made)
    lines = [f"{name} is missing" for name in sorted(one - other)]
    lines += [f"{name} is left" for name in sorted(other - one)]
    return lines + [f"{name} differs" for name in sorted(one & other) if not same(good / name, made / name)]


def half_written(good: Path, made: Path) -> list[str]:
    """Files under their final names which are not whole."""
    names = [name for name in listed(made) if not any(part.startswith(".") for part in Path(name).parts)]
    broken = []
    for name in sorted(names):
        path = made / name
        if path.suffix == ".h5":
            with contextlib.suppress(OSError, KeyError):
                if held(path).keys() == held(good / name).keys():
                    continue
            broken.append(f"{name} is not whole")
        elif path.suffix == ".csv" and (good / "checkpoint.h5").exists():
            continue  # the log of a training grows
        elif path.is_file() and not ((good / name).is_file() and same(good / name, path)):
            broken.append(f"{name} is not whole")
    return broken


def same(one: Path, other: Path) -> bool:
    """Whether two files hold the same, bit by bit."""
    if one.is_dir() or other.is_dir():
        return one.is_dir() and other.is_dir()
    if one.read_bytes() == other.read_bytes():
        return True
    if one.suffix == ".h5":
        return held(one) == held(other)
    return False


def held(path: Path) -> dict:
    """All arrays of a checkpoint as bytes, all attributes, and their names."""
    import h5py

    with h5py.File(path, "r") as file:
        found = {f"@{name}": str(value) for name, value in file.attrs.items()}

        def visit(name, item):
            if isinstance(item, h5py.Dataset):
                found[name] = item.dtype.str, item.shape, np.asarray(item[()]).tobytes()

        file.visititems(visit)
    return found


# ----------------------------------------------------------------------------------------------------------- mutations


def media_readers() -> dict:
    """{kind: (its file, what reads it)}, as `READERS` of tests/helpers/readers.py."""
    from lipgan_keras.media import audio_file, probe, video_reader

    def picture(path):
        for frame in itertools.islice(video_reader.read_frames(path, damage=[]), 10):
            assert frame.image.dtype == np.uint8 and frame.image.ndim == 3

    def sound(path):
        assert np.isfinite(audio_file.load_audio(path)).all()

    def each(*calls):
        def read(path):
            errors = []
            for call in calls:
                try:
                    call(path)
                except UserError as error:
                    errors.append(error)
            assert all(len(str(error).splitlines()) == 1 for error in errors)
            if len(errors) == len(calls):
                raise errors[0]

        return read

    kinds = {name: each(probe.probe, picture, sound) for name in ("mp4", "mkv", "avi", "ts")}
    kinds |= {name: each(sound) for name in ("wav", "flac", "ogg", "mp3")}
    kinds |= {name: each(probe.probe, picture) for name in ("jpg", "png", "webp", "gif", "tiff")}
    return {name: (f"media/good.{name}", read) for name, read in kinds.items()}


def make_media(folder: Path, clip: Path) -> None:
    """A good file of each kind."""
    import av
    import cv2
    from PIL import Image

    from lipgan_keras.media import audio_file, video_reader

    folder.mkdir(parents=True)
    images = [frame.image[::2, ::2] for frame in itertools.islice(video_reader.read_frames(clip), 12)]
    wave = audio_file.load_audio(clip, max_seconds=0.48)
    coded = {"mp4": ("libx264", "aac"), "mkv": ("libx264", "aac"), "avi": ("mpeg4", "mp3"), "ts": ("libx264", "aac")}
    coded |= {"wav": (None, "pcm_s16le"), "flac": (None, "flac"), "ogg": (None, "libopus"), "mp3": (None, "mp3")}
    for name, (video, audio) in coded.items():
        with av.open(str(folder / f"good.{name}"), "w", format={"mkv": "matroska", "ts": "mpegts"}.get(name)) as file:
            streams = []
            if video:
                stream = file.add_stream(video, 25, width=images[0].shape[1], height=images[0].shape[0])
                stream.pix_fmt = "yuv420p"
                streams.append((stream, [av.VideoFrame.from_ndarray(image, format="bgr24") for image in images]))
            samples = av.AudioFrame.from_ndarray(np.int16(32767 * wave)[None], format="s16", layout="mono")
            samples.sample_rate = 16000
            streams.append((file.add_stream(audio, 16000, layout="mono"), [samples]))
            for stream, frames in streams:
                for frame in [*frames, None]:
                    file.mux(stream.encode(frame))
    for name in ("jpg", "png", "tiff"):
        cv2.imwrite(str(folder / f"good.{name}"), images[0])
    pillow = [Image.fromarray(image[..., ::-1]) for image in images[:4]]
    for name in ("webp", "gif"):
        pillow[0].save(folder / f"good.{name}", save_all=True, append_images=pillow[1:], duration=40)


def damage_files(work: Path, clip: Path, args) -> None:
    """Damage a good file of each kind many times, and keep how many were read, were refused, or ended otherwise."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    kinds = kinds_of_files()
    unknown = set(args.kinds or ()) - set(kinds)
    if unknown:
        raise UserError(f"--kinds {min(unknown)}: is unknown; choose from {', '.join(kinds)}")
    folder = work / "files"
    if not folder.is_dir():
        child = context.Process(target=make_files, args=(folder, clip))
        child.start()
        child.join()
    for kind in args.kinds or kinds:
        place = work / "mutations" / f"{kind}.json"
        found = kept(place) or {"done": 0, "read": 0, "refused": 0, "else": []}
        while found["done"] < args.mutations:
            damage_in_a_process(context, folder, kind, found, args)
            keep(place, found)
        print(f"{kind}: {found['done']} damaged, {found['read']} read, {found['refused']} refused", flush=True)
        for line in found["else"]:
            print("  else:", line, flush=True)


def damage_in_a_process(context, folder, kind, found, args) -> None:
    """Go on until all is done, or a damage ends the process, which then counts as anything else."""
    ours, theirs = context.Pipe()
    child = context.Process(target=damage, args=(folder, kind, found["done"], args.mutations, args.seed, theirs))
    child.start()
    theirs.close()
    what = None
    try:
        while ours.poll(PATIENCE + (60 if what is None else 0)):  # it imports first
            what, outcome = ours.recv()
            if outcome is not None:
                found["done"] += 1
                if outcome in ("read", "refused"):
                    found[outcome] += 1
                else:
                    found["else"].append(f"{what}: {outcome}")
        child.kill()
        end = f"read for more than {PATIENCE} s"
    except EOFError:
        child.join()
        end = f"ended by signal {-child.exitcode}" if child.exitcode < 0 else f"exit code {child.exitcode}"
    child.join()
    if found["done"] < args.mutations:
        if what is None:
            raise UserError(f"{kind}: nothing of it could be damaged; its process {end}")
        found["done"] += 1
        found["else"].append(f"{what}: {end}")


def kinds_of_files() -> list[str]:
    return [*readers.READERS, *media_readers()]


def make_files(folder: Path, clip: Path) -> None:
    making = folder.with_name("making")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(parents=True)
    readers.make(making)
    make_media(making / "media", clip)
    making.rename(folder)


def damage(folder, kind, first, end, seed, pipe) -> None:
    """Tell of each damage what it is, and then what came of it."""
    media = media_readers()
    name, read = (readers.READERS | media)[kind]
    place = folder.with_name(f"damaged-{kind}")
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(folder, place)
    for stream in (1, 2):  # C libraries complain there
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    warnings.simplefilter("ignore")
    for number in range(first, end):
        shutil.copyfile(folder / name, place / name)
        what = mutations.mutate(place / name, np.random.default_rng([seed, number, *kind.encode()]))
        pipe.send((f"{kind} {number}, {what}", None))
        outcome = came_of(read, place / name, ROOM[kind in media])
        if outcome == MEMORY and kind in media and came_of(read, place / name, 2 * ROOM[True]) == MEMORY:
            outcome = "refused"  # by FFmpeg, which asks for no more than 2 GiB at once, however many there are
        pipe.send((f"{kind} {number}, {what}", outcome))
    shutil.rmtree(place)
    pipe.close()


def came_of(read, path, room) -> str:
    """What reading a file ended in, with so many bytes more than are taken already."""
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (taken + room, limits[1]))
    try:
        read(path)
        return "read"
    except UserError as error:
        if readers.hit(error):
            return MEMORY
        return "refused" if len(str(error).splitlines()) == 1 else f"UserError: {error}"
    except Exception as error:  # noqa: BLE001 - what is looked for
        return f"{type(error).__name__}: {error}"
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


# -------------------------------------------------------------------------------------------------------------- report


def sections(work: Path):
    """Markdown, paragraph by paragraph."""
    yield "```\npython benchmarks/robustness.py --clips GRID\n```"
    yield f"Measured on {machine()}."
    yield from kills_measured(work / "kills")
    yield from mutations_measured(work / "mutations")
    yield from hour_measured(work / "hour")


def kills_measured(folder: Path):
    rows, wrong = [], []
    for path in sorted(folder.glob("*/whole.json")):
        name, whole = path.parent.name.replace("_", " "), kept(path)
        trials = [kept(trial) for trial in sorted(path.parent.glob("[0-9]*.json"))]
        writes = sum(trial["at_write"] for trial in trials)
        bad = [f"- {name}: {'; '.join(trial['wrong'])}" for trial in trials if trial["wrong"]]
        row = [name, whole["changes"], f"{whole['seconds']:.0f}", len(trials), writes, len(trials) - writes, len(bad)]
        rows.append(row)
        wrong += bad
    if rows:
        header = ["command", "changes", "seconds", "kills", "at a change", "at a moment", "otherwise afterwards"]
        sums = [sum(row[column] for row in rows) for column in range(3, 7)]
        yield "\n".join(table(header, [*rows, ["all", "", "", *sums]]))
    if wrong:
        yield "\n".join(wrong)


def mutations_measured(folder: Path):
    found = [(path.stem, kept(path)) for path in sorted(folder.glob("*.json"))]
    if not found:
        return
    figures = [(n, counts["done"], counts["read"], counts["refused"], len(counts["else"])) for n, counts in found]
    figures.append(("all", *(sum(row[column] for row in figures) for column in range(1, 5))))
    rows = [[name, *(f"{count:,}" for count in counts)] for name, *counts in figures]
    yield "\n".join(table(["kind of file", "damaged", "read", "refused in one line", "anything else"], rows))
    wrong = [f"- {line}" for _, counts in found for line in counts["else"]]
    if wrong:
        yield "\n".join(wrong)


def hour_measured(folder: Path):
    found = sorted((kept(path) for path in folder.glob("*.json")), key=lambda one: one["minutes"])
    rows = [[f"{one['minutes']}", f"{one['frames']:,}", f"{one['mebibytes']:,.0f}"] for one in found]
    if rows:
        yield "\n".join(table(["minutes of speech", "frames", "peak of memory, MiB"], rows))


if __name__ == "__main__":
    cli.run(main)
