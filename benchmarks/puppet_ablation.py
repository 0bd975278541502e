"""What does each part of the recipe bring, on puppets? Data, trainings and docs/results_puppets.md, in one command.

    python benchmarks/puppet_ablation.py --clips GRID --workdir logs/ablation

GRID is a folder of .mpg clips of the GRID audiovisual sentence corpus (Cooke, Barker, Cunningham, Shao 2006; Zenodo
3625687, CC BY 4.0): `lrwp9a`, `pwij3p` and at least one more. Those two and the photo of the astronaut are for the
test, with sounds that are in no training clip; every other clip, and puppets of one frame of each, are trained on.

The command goes on where it was stopped. Each run trains in stages, to each step of --curve, and is judged after each;
train.py goes on exactly. The figures are in WORKDIR/runs/<name>/result.json. Runs may be copied there from another
machine, and --only picks some: the table shows all that are there.
"""

import concurrent.futures
import json
import multiprocessing
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np

from lipgan_keras.utils import cli
from lipgan_keras.utils import files as utils_files
from lipgan_keras.utils.cli import ArgumentParser
from lipgan_keras.utils.errors import UserError

ROOT = Path(__file__).resolve().parent.parent

# Name, and the flags that set it apart. The more important come first.
RUNS = {
    "unet": ["--recipe", "unet"],
    "lipgan": ["--recipe", "lipgan"],
    "lipsync": ["--recipe", "lipsync"],
    "unet_lip_weight_6": ["--recipe", "unet", "--lip_weight", "6"],
    "lipsync_plain_loss": ["--recipe", "lipsync", "--lip_weight", "1"],
    "lipsync_no_sync": ["--recipe", "lipsync", "--sync_weight", "0"],
    "lipsync_no_quality": ["--recipe", "lipsync", "--quality_weight", "0"],
    "lipsync_no_augment": ["--recipe", "lipsync", "--augment", "none"],
}


def main():
    parser = ArgumentParser(description="Train and compare the recipes, and write the table.")
    parser.add_argument(
        "--clips", default=os.environ.get("LIPGAN_CLIPS"), help="folder of GRID clips (default: LIPGAN_CLIPS)"
    )
    parser.add_argument("--workdir", default="logs/ablation", help="data, runs and figures")
    parser.add_argument("--only", nargs="+", choices=list(RUNS), metavar="NAME", help=f"some of {' '.join(RUNS)}")
    parser.add_argument("--model", choices=["residual", "basic"], default="basic", help="generator")
    parser.add_argument("--width", type=cli.limited("width"), default=0.5, help="factor on all channel counts")
    parser.add_argument("--batch_size", type=cli.integer(1), default=32, help="frames a step")
    parser.add_argument("--lr", type=cli.positive(), default=5e-4, help="Adam's learning rate, in every run")
    parser.add_argument("--steps", type=cli.limited("steps", int), default=3000, help="training steps of each run")
    parser.add_argument("--seed", type=cli.limited("seed", int), default=0, help="of every run")
    parser.add_argument("--checkpoint_freq", type=cli.integer(1), default=250, help="steps between checkpoints")
    parser.add_argument(
        "--curve",
        type=cli.integer(1),
        nargs="*",
        default=[100, 200, 300, 400, 500, 750, 1000],
        help="steps at which the learning curve has a point",
    )
    parser.add_argument(
        "--num_workers", type=cli.integer(1), default=os.cpu_count() or 1, help="processes that make the data"
    )
    parser.add_argument("--data_only", action="store_true", help="make the data, and stop")
    parser.add_argument(
        "--report",
        default=str(ROOT / "docs" / "results_puppets.md"),
        help="table to write, a .png beside it (default: docs/results_puppets.md)",
    )
    args = parser.parse_args()
    work = Path(args.workdir)
    make_data(work, args.clips, args.num_workers)
    if args.data_only:
        return
    for name in args.only or RUNS:
        train_and_judge(name, work, args)
        report(work, Path(args.report))


# ---------------------------------------------------------------------------------------------------------------- data

TEST_CLIPS = ("lrwp9a", "pwij3p")  # nothing is trained on them, nor on puppets of them
SYNTHESISED = 12  # puppets of each look of a training face; the last ones of every fourth look are held out
SPOKEN = 4  # puppets of each look that real speech moves
UNSEEN = 10  # puppets of each face that is not trained on: the first two for validation, the others for the test
VALIDATION = 2


def make_data(work: Path, clips: str | None, workers: int) -> None:
    """Videos, crops, and the lists of clips; the last list says that all is there.

    Of the folders of lists, `train` is train.py's, `puppets` and `real` have test clips in their val.txt.
    """
    from lipgan_keras.puppets import clips as puppets_clips

    lists, videos = work / "lists", work / "videos"
    if (lists / "real" / "val.txt").is_file():
        return
    train, test, shipped = faces_to_use(clips, videos)
    known = [shipped["grace_hopper"], *(photo(file, work) for file in train)]
    strangers = [shipped["astronaut"], *(photo(file, work) for file in test)]
    looks = 2 * len(known)  # with the mirror images
    synthesised = puppets_clips.make_clips(
        videos / "synthesised", looks * SYNTHESISED, seed=1, seconds=5.0, photos=known, num_workers=workers
    )
    spoken = puppets_clips.make_clips(
        videos / "spoken", looks * SPOKEN, seed=2, seconds=5.0, photos=known, speech=train, num_workers=workers
    )
    unseen = puppets_clips.make_clips(
        videos / "unseen",
        len(strangers) * UNSEEN,
        seed=3,
        seconds=4.0,
        photos=strangers,
        num_workers=workers,
        mirror=False,
    )
    run("preprocess.py", "--videos_data_root", videos, "--final_data_root", work / "crops", "--num_workers", workers)

    held_out = [path for path in synthesised if path.stem == f"{SYNTHESISED:05d}"][::4]
    validation = [path for path in unseen if int(path.stem) <= VALIDATION]
    training = list_lines([path for path in synthesised if path not in held_out] + spoken)
    training += [f"grid/{file.stem}" for file in train]
    chosen = [path for path in unseen if path not in validation]
    write_lists(lists, training, list_lines(held_out + validation), list_lines(chosen))


def faces_to_use(clips: str | None, videos: Path) -> tuple[list[Path], list[Path], dict[str, Path]]:
    """The real clips for training and for the test, copied to `videos`, and the photos that ship with packages."""
    from lipgan_keras.face import photos as face_photos

    if not clips:
        raise UserError("no real clips; give the folder that holds clips of the GRID corpus with --clips")
    if not Path(clips).is_dir():
        raise UserError(f"{clips}: no such folder; give the one that holds clips of the GRID corpus")
    files = sorted(Path(clips).glob("*.mpg"))
    test = [file for file in files if file.stem in TEST_CLIPS]
    train = [file for file in files if file.stem not in TEST_CLIPS]
    if len(test) != len(TEST_CLIPS) or not train:
        raise UserError(f"{clips}: holds not {', '.join(TEST_CLIPS)} and others as .mpg; get them from the GRID corpus")
    shipped = face_photos.shipped_photos()
    if len(shipped) < 2:
        raise UserError("matplotlib or scikit-image is not installed, whose photos are needed; pip install both")
    for file in files:
        copy = videos / "real" / "main" / "grid" / file.name
        if not copy.is_file():
            with utils_files.replacing(copy) as temporary:
                shutil.copyfile(file, temporary)
    return train, test, shipped


def write_lists(lists: Path, training: list[str], held_out: list[str], unseen: list[str]) -> None:
    """train.txt and val.txt of `train`, and of `puppets` and `real`, which have test clips in theirs;
    that of `real` last.
    """
    for name, chosen in {"train": held_out, "puppets": unseen, "real": [f"grid/{stem}" for stem in TEST_CLIPS]}.items():
        write_list(lists, name, training, chosen)


def write_list(lists: Path, name: str, training: list[str], held_out: list[str]) -> None:
    for split, lines in (("train", training), ("val", held_out)):
        with utils_files.replacing(lists / name / f"{split}.txt") as temporary:
            temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def list_lines(paths):
    return sorted({"/".join(path.with_suffix("").parts[-2:]) for path in paths})


def photo(clip: Path, work: Path) -> Path:
    """The frame of a clip whose lips are shut most, as an image."""
    from lipgan_keras.puppets import photos

    path = work / "photos" / f"{clip.stem}.png"
    if not path.is_file():
        image, _ = photos.shut_lips(clip)
        with utils_files.replacing(path) as temporary:
            cv2.imwrite(str(temporary), image)
    return path


# ---------------------------------------------------------------------------------------------------------------- runs


def train_and_judge(name: str, work: Path, args) -> None:
    """Bring the run `name` to `args.steps` steps; keep its figures in result.json after every stage."""
    logdir = work / "runs" / name
    file = logdir / "result.json"
    flags = [*RUNS[name], "--model", args.model, "--width", f"{args.width:g}", "--batch_size", str(args.batch_size)]
    flags += ["--lr", f"{args.lr:g}", "--seed", str(args.seed)]
    result = json.loads(file.read_text("utf-8")) if file.is_file() else {"flags": flags, "seconds": 0.0, "curve": []}
    if result["flags"] != flags:
        raise UserError(
            f"{file}: is of a run with {' '.join(result['flags'])}; give the same flags, or another --workdir"
        )
    checkpoint = logdir / "checkpoint.h5"
    stages = [*sorted(step for step in args.curve if step < args.steps), args.steps]
    for stage in stages:
        last = stage == stages[-1]
        if not last and any(point["step"] >= stage for point in result["curve"]):
            continue
        if last and result.get("figures", {}).get("step") == stage:
            return
        began = time.time()
        run(
            "train.py", "--data_root", work / "crops", "--filelists", work / "lists" / "train", "--logdir", logdir,
            *flags, "--checkpoint_freq", args.checkpoint_freq, "--steps", stage,
        )  # fmt: skip
        result["seconds"] += time.time() - began
        figures = in_a_process(judge, checkpoint, work, "puppets", last)
        step = figures["step"]
        result["curve"] = [point for point in result["curve"] if point["step"] != step]
        result["curve"].append({key: figures[key] for key in CURVE})
        result["curve"].sort(key=lambda point: point["step"])
        print(f"{name}, step {step}: {describe(figures)}", flush=True)
        if last:
            real = in_a_process(judge, checkpoint, work, "real", True)
            print(f"{name}, real clips: {describe(real)}", flush=True)
            sync = {kind: accuracy_of_sync(checkpoint, work, kind) for kind in ("puppets", "real")}
            quality = quality_from(checkpoint)
            found = {"step": step, "quality_from": quality, "puppets": figures, "real": real, "sync": sync}
            result |= {"figures": found, "machine": machine()}
        with utils_files.replacing(file) as temporary:
            temporary.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def run(*arguments) -> None:
    """Show a command of the project, and run it."""
    arguments = [str(argument) for argument in arguments]
    print("$ python", " ".join(arguments), flush=True)
    name = Path(arguments[0]).name
    if name.endswith(".py"):
        arguments[0] = str(ROOT / name)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    code = subprocess.run([sys.executable, *arguments], check=False, env=environment).returncode
    if code:
        raise UserError(f"{' '.join(arguments[:2])} ended with exit code {code}; see above")


def in_a_process(function: Callable, *arguments):
    """Call it where its memory, an accelerator's too, is given back afterwards."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
        return pool.submit(function, *arguments).result()


def machine() -> str:
    return f"{os.cpu_count()} cores, {processor()}, {in_a_process(device)}"


def processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return (names or [platform.machine()])[0]


def device() -> str:
    from lipgan_keras.utils import backend
    from lipgan_keras.utils.backend import keras

    found = keras.distribution.list_devices("gpu") or keras.distribution.list_devices("cpu")
    if backend.BACKEND == "jax":
        import jax

        found = [jax.devices()[0].device_kind]
    return f"Keras {keras.__version__} on {backend.BACKEND}, {found[0]}"


# ------------------------------------------------------------------------------------------------------------- figures

STRIDE = {"puppets": 2, "real": 1}  # every second frame of the puppets is judged
CURVE = ("step", "opening", "dubbed", "movement", "seen", "lip_mae", "gap")
LATE = 10  # frames by which a wrong sound is late
SYNC_PAIRS = 400  # runs of frames whose sync the discriminators judge, each in and out of sync
SEGMENT = 25  # frames of the real clips that are drawn together for an interval: there are too few clips


def load(checkpoint: Path, work: Path, kind: str) -> list:
    """A `ClipGenerator` for each test clip of the list `kind`. Keras runs the generator, in its full precision."""
    from lipgan_keras.data import clip_folder, splits
    from lipgan_keras.evaluation.generated_clips import ClipGenerator
    from lipgan_keras.inference import engine

    generator = engine.load(checkpoint, "keras", 64)
    clips = clip_folder.find_clips(work / "crops", generator.config.audio, progress=False)
    clips = splits.split_clips(clips, 0, work / "lists" / kind)[1]
    return [ClipGenerator(clip, generator.config, generator) for clip in clips]


def moved_mouths(speaker, targets: np.ndarray) -> np.ndarray:
    """(n,5,2) landmarks of the identity frame, moved by eyes and nose onto frames of the clip.

    The mouth's corners, found in the true frame, would tell how open it is.
    """
    points = speaker.data.points(0, 0)
    return np.stack([points @ pose[:, :2].T + pose[:, 2] for pose in speaker.poses(targets)])


def judge(checkpoint: Path, work: Path, kind: str, music: bool) -> dict:
    """Figures of a checkpoint on the test clips of the list `kind`, each [mean, low, high] with a 95 % interval.

    The identity frame is one of the clip, 12 frames or more from every target. Wrong sounds are another clip's and the
    clip's own, late. `mouths` are the frozen mouth's errors: the identity frame, as it is and moved by eyes and nose.

    The face detector's box moves a little with the jaw, so that the upper half of a crop tells something about its
    mouth. Hence three correlations: `opening` under the clip's own sound; `dubbed`, under another clip's, with that
    clip's mouth; and as a control `seen`, of the same images, with the mouth that they had. A correlation does not
    see how far the mouth moves: `movement` is the deviation of the generated opening as a share of the source's.
    """
    from lipgan_keras import audio
    from lipgan_keras.config import SAMPLE_RATE
    from lipgan_keras.data import music as data_music
    from lipgan_keras.data import noise
    from lipgan_keras.evaluation import statistics, sync_accuracy
    from lipgan_keras.face import aperture
    from lipgan_keras.media import audio_file

    speakers = load(checkpoint, work, kind)
    config = speakers[0].config
    waves = [audio_file.load_audio(speaker.clip.folder / "audio.wav") for speaker in speakers]
    features = [audio.features(wave, config.audio) for wave in waves]
    noisy = []
    for c, wave in enumerate(waves if music else []):
        piece = data_music.music(len(wave) / SAMPLE_RATE, np.random.default_rng([7, c]))
        noisy.append(audio.features(noise.mix(wave, piece, 0.0), config.audio))
    errors, groups, openings = [], [], []
    for c, speaker in enumerate(speakers):
        clip, targets = speaker.clip, speaker.targets[:: STRIDE[kind]]
        truth, aligned = speaker.truth(targets), speaker.aligned(targets)
        times = speaker.centres(np.arange(clip.shown))
        late = times[(np.arange(len(times)) + LATE) % len(times)]
        other = (c + 1) % len(speakers)
        sounds = [(features[c], times), (features[other], times), (features[c], late)]
        if music:
            sounds += [(noisy[c], times), (noisy[other], times)]
        results = [speaker.generate(truth, audio.windows(sound, at[targets], config.audio)) for sound, at in sounds]
        results += [np.broadcast_to(speaker.identity / 255, truth.shape), aligned / 255]
        points = np.stack([speaker.data.points(0, i) for i in targets])
        errors.append(lip_and_whole_errors(truth / 255, results, points, config.img_size))
        groups += [(c, i // SEGMENT if kind == "real" else 0) for i in targets]
        if kind == "puppets":
            folders = clip.folder, speakers[other].clip.folder
            true = [sync_accuracy.true_opening(folder, work / "crops", work / "videos") for folder in folders]
            own, heard = (opening[clip.frames[targets]] for opening in true)
            found = [truth, *(np.rint(255 * result).astype("uint8") for result in results[:-2]), aligned]
            mouths = moved_mouths(speaker, targets)
            found = [aperture.mouth_aperture(images, mouths) for images in found]
            right, dubbed, _, *with_music, frozen = found[1:]
            values = [(found[0], own), (right, own), (dubbed, heard), (dubbed, own), (frozen, own)]
            values += zip(with_music, (own, heard), strict=False)
            correlations = [correlation(*pair) for pair in values]
            openings.append([clip.folder.parent.name, np.std(right) / np.std(found[0]), *correlations])

    rows, groups = np.concatenate(errors), np.unique(groups, axis=0, return_inverse=True)[1].ravel()

    def figure(values, by=groups):
        return [float(np.mean(values)), *statistics.bootstrap_interval(values, by)]

    lip, whole = rows[:, :, 0], rows[:, :, 1]
    figures = {
        "step": config.step,
        "clips": len(speakers),
        "frames": len(rows),
        "mae": figure(whole[:, 0]),
        "lip_mae": figure(lip[:, 0]),
        "gap": figure(lip[:, 1:3].mean(1) - lip[:, 0]),
        "mouths": {"frozen": figure(lip[:, -2]), "aligned": figure(lip[:, -1])},
    }
    if music:
        figures["lip_mae_music"] = figure(lip[:, 3])
    if openings:
        names = ["movement", "ceiling", "opening", "dubbed", "seen", "opening_aligned", "opening_music", "dubbed_music"]
        names = names[: len(openings[0]) - 1]
        faces, values = np.array([row[0] for row in openings]), np.array([row[1:] for row in openings])
        figures |= {name: figure(column, None) for name, column in zip(names, values.T, strict=True)}
        figures["faces"] = {
            face: dict(zip(names, values[faces == face].mean(0).tolist(), strict=True))
            for face in np.unique(faces).tolist()
        }
    return figures


def lip_and_whole_errors(truth, results, landmarks, size):
    """(n, len(results), 2): mean absolute errors inside the lips, and of the whole crop."""
    from lipgan_keras.data import scoring
    from lipgan_keras.face import regions

    masks = np.stack([regions.lip_mask(points, size) for points in landmarks])
    pairs = [(scoring.lip_mae(masks, truth, r), np.abs(truth - r).mean(axis=(1, 2, 3))) for r in results]
    return np.moveaxis(np.array(pairs), 2, 0)


def correlation(found, truth):
    """Pearson's; 0 for a mouth that does not move at all."""
    return float(np.corrcoef(found, truth)[0, 1]) if np.ptp(found) > 0 else 0.0


def quality_from(checkpoint: Path) -> int | None:
    """The step at which the visual-quality discriminator started, if it did."""
    from lipgan_keras import checkpoints

    started = "quality" in checkpoints.read_networks(checkpoint)
    return checkpoints.read_training(checkpoint)["quality_from"] if started else None


def accuracy_of_sync(checkpoint: Path, work: Path, kind: str) -> dict:
    """What sync_accuracy measures for the discriminators of a checkpoint; nothing where it holds none."""
    from lipgan_keras import checkpoints

    if not {"discriminator", "sync"} & set(checkpoints.read_networks(checkpoint)):
        return {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sync.json"
        puppets = ["--puppets", work / "videos"] if kind == "puppets" else []
        run(
            "-m", "lipgan_keras.sync_accuracy", "--checkpoint", checkpoint, "--data_root", work / "crops",
            "--filelists", work / "lists" / kind, *puppets, "--pairs", SYNC_PAIRS, "--json", path,
        )  # fmt: skip
        return json.loads(path.read_text("utf-8"))


def describe(figures):
    text = f"lip MAE {figures['lip_mae'][0]:.4f}, gap {figures['gap'][0]:.4f}"
    if "opening" in figures:
        text += f", opening {figures['opening'][0]:.2f} of {figures['ceiling'][0]:.2f}"
        text += f", dubbed {figures['dubbed'][0]:.2f}"
    if "dubbed_music" in figures:
        text += f", with music {figures['dubbed_music'][0]:.2f}"
    return text


# -------------------------------------------------------------------------------------------------------------- report

BEGIN, END = "<!-- measured: written by benchmarks/puppet_ablation.py -->", "<!-- end of measured -->"
JUDGED = [(network, pairs) for network in ("sync", "discriminator") for pairs in ("all", "different")]
JUDGED += [("oracle", "all")]
LEVELS = (0.2, 0.4, 0.6)  # whose first step the report gives
CURVES = {
    "dubbed": "Correlation of the opening with the truth under another clip's sound (dubbed)",
    "opening": "The same under the clip's own sound",
    "movement": "Movement",
    "gap": "Lip MAE under wrong sound less that under the right one",
}


def report(work: Path, path: Path) -> None:
    """Write the tables into `path`, between two marks; what else stands there is left as it is."""
    results = {name: work / "runs" / name / "result.json" for name in RUNS}
    results = {name: json.loads(file.read_text("utf-8")) for name, file in results.items() if file.is_file()}
    results = {name: result for name, result in results.items() if "figures" in result}
    if not results:
        return
    curves(results, path.with_suffix(".png"))
    write_between(
        path, (BEGIN, END), sections(results, path.with_suffix(".png").name), "# What each part brings, on puppets\n\n"
    )
    print(f"{path}: {len(results)} runs")


def write_between(path: Path, marks: tuple[str, str], paragraphs: Iterable[str], title: str = "") -> None:
    """Put Markdown between two marks of a file; what else stands there is left as it is. `title` begins a new file."""
    begin, end = marks
    text = "\n\n".join([begin, *paragraphs, end])
    old = path.read_text("utf-8") if path.is_file() else title
    if begin in old and end in old:
        text = old.split(begin, 1)[0] + text + old.split(end, 1)[1]
    else:
        text = f"{old.rstrip()}\n\n{text}\n".lstrip()
    with utils_files.replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sections(results, plot):
    """Markdown, paragraph by paragraph."""
    from lipgan_keras.evaluation import sync_accuracy

    first = next(iter(results.values()))
    puppets, real = first["figures"]["puppets"], first["figures"]["real"]
    yield "```\npython benchmarks/puppet_ablation.py --clips GRID\n```"
    yield (
        f"Test: {puppets['clips']} puppets, of {len(puppets['faces'])} faces and as many sounds as clips that are not "
        f"in the training, {puppets['frames']} frames; and {real['clips']} real clips of strangers, {real['frames']} "
        "frames. [95 % intervals] are drawn by bootstrap over clips, those of the real clips over their seconds: they "
        "say nothing about other people."
    )
    yield "\n".join(
        table(
            ["run", "flags of train.py", "steps", "visual quality from step", "training", "machine"],
            [
                [
                    name,
                    f"`{' '.join(r['flags'])}`",
                    r["figures"]["step"],
                    r["figures"].get("quality_from") or "",
                    f"{r['seconds'] / 60:.0f} min",
                    r["machine"],
                ]
                for name, r in results.items()
            ],
        )
    )

    yield "## Puppets of faces and sounds that were not trained on"
    yield from errors_table(results, "puppets")
    yield (
        "Correlation of `mouth_aperture` with the true opening, mean over the sounds. Own: under the clip's own "
        "sound. Dubbed: under another clip's sound, with the mouth of that one. Seen: of the same pictures, with the "
        "mouth that their own clip has; what is above 0 there is not heard but seen, since the detector's box moves "
        "with the jaw, and is in `own` too. Music: mixed in at 0 dB, by the synthesiser whose music "
        "`lipsync` has in its training (other pieces of it), and `unet` and `lipgan` have not. Movement: the deviation "
        "of the generated opening as a share of the source's, which a correlation does not see."
    )
    columns = ("opening", "opening_music", "dubbed", "dubbed_music", "seen", "movement")
    rows = [[name, *(number(r["figures"]["puppets"][c], 2) for c in columns)] for name, r in results.items()]
    rows.append(["source crops (ceiling)", number(puppets["ceiling"], 2), *[""] * 5])
    rows.append(["frozen mouth, aligned", number(puppets["opening_aligned"], 2), *[""] * 5])
    yield "\n".join(table(["run", "own", "own, music", "dubbed", "dubbed, music", "seen", "movement"], rows))

    yield "By face, and as a share of the ceiling; dubbed, clean / with music:"
    faces = list(puppets["faces"])
    rows = [["ceiling", *(f"{puppets['faces'][face]['ceiling']:.2f}" for face in faces), "", ""]]
    for name, result in results.items():
        f = result["figures"]["puppets"]
        pairs = [[f["faces"][face][key] for key in ("dubbed", "dubbed_music")] for face in faces]
        for keys in (("dubbed", "dubbed_music"), ("opening", "opening_music")):
            pairs.append([f[key][0] / f["ceiling"][0] for key in keys])
        rows.append([name, *(" / ".join(f"{value:.2f}" for value in pair) for pair in pairs)])
    yield "\n".join(table(["run", *faces, "share, dubbed", "share, own"], rows))

    yield "## Real clips of strangers"
    yield from errors_table(results, "real")

    rows = []
    for name, result in results.items():
        for kind, sync in result["figures"]["sync"].items():
            if sync:
                cells = [percent(sync, *column) for column in JUDGED]
                rows.append([name, kind, f"{sync['pairs']} / {sync.get('different_pairs', '')}", *cells])
    if rows:
        yield "## Sync accuracy of the discriminators"
        yield (
            "Share of held-out pairs, half of them in sync, that are called right; the threshold is that of the "
            "training clips (`python -m lipgan_keras.sync_accuracy`). Different: those pairs of puppets whose true "
            f"openings (0..1) differ by {sync_accuracy.DIFFERENT} in the mean. The oracle knows the openings, to "
            f"{sync_accuracy.ORACLE_STEP}."
        )
        header = [f"{sync_accuracy.NAMES[network].split()[0]}, {pairs}" for network, pairs in JUDGED]
        yield "\n".join(table(["run", "clips", "pairs", *header], rows))

    yield "## How soon the lips move"
    yield f"![opening by step]({plot})"
    steps = sorted({point["step"] for result in results.values() for point in result["curve"]})
    for column, words in CURVES.items():
        rows = []
        for name, result in results.items():
            points = {point["step"]: point[column] for point in result["curve"]}
            rows.append(
                [name, *(number(points[step], 4 if column == "gap" else 2) if step in points else "" for step in steps)]
            )
        yield f"{words}, on the test puppets, by training step:"
        yield "\n".join(table(["run", *steps], rows))
    levels = [(column, level) for column in ("dubbed", "movement") for level in LEVELS]
    rows = [[name, *(reaches(result["curve"], *level) for level in levels)] for name, result in results.items()]
    yield "Step at which the correlation, dubbed, and the movement reach a level, interpolated:"
    yield "\n".join(table(["run", *(f"{column} {level}" for column, level in levels)], rows))


def errors_table(results, kind):
    yield (
        "MAE of the whole crop, and inside the lips, pixels in 0..1; gap: lip MAE under wrong sound (mean of another "
        f"clip's and its own {LATE} frames late) less that under the right one; music: mixed in at 0 dB."
    )
    columns = ("lip_mae", "gap", "lip_mae_music")
    rows = []
    for name, result in results.items():
        f = result["figures"][kind]
        rows.append([name, f"{f['mae'][0]:.4f}", *(number(f[column], 4) for column in columns)])
    mouths = next(iter(results.values()))["figures"][kind]["mouths"]
    for words, mouth in (("frozen mouth", "frozen"), ("frozen mouth, aligned", "aligned")):
        rows.append([words, "", number(mouths[mouth], 4), "", ""])
    yield "\n".join(table(["run", "MAE", "lip MAE", "gap", "lip MAE, music"], rows))


def table(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    return [f"| {' | '.join(str(cell) for cell in line)} |" for line in lines]


def number(figure, digits):
    mean, low, high = (f"{value:.{digits}f}" for value in figure)
    return f"{mean} [{low}, {high}]"


def percent(sync, network, pairs):
    value = sync.get(network, {}).get(pairs)
    return "" if value is None else f"{100 * value:.1f} %"


def reaches(curve, column, level):
    steps, values = [0] + [p["step"] for p in curve], [0.0] + [p[column][0] for p in curve]
    for i in range(1, len(steps)):
        if values[i] >= level:
            share = (level - values[i - 1]) / (values[i] - values[i - 1])
            return round(steps[i - 1] + share * (steps[i] - steps[i - 1]))
    return "not yet"


def curves(results, path):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    _, axis = plt.subplots(figsize=(7, 4), layout="constrained")
    for name, result in results.items():
        steps = [point["step"] for point in result["curve"]]
        mean, low, high = np.array([point["dubbed"] for point in result["curve"]]).T
        (line,) = axis.plot(steps, mean, marker=".", label=name)
        axis.fill_between(steps, low, high, color=line.get_color(), alpha=0.12, linewidth=0)
    ceiling = next(iter(results.values()))["figures"]["puppets"]["ceiling"][0]
    axis.axhline(ceiling, color="grey", linestyle=":", label="ceiling of the estimator")
    axis.set(xlabel="step", ylabel="correlation of the opening, dubbed", ylim=(min(0, axis.get_ylim()[0]), 1))
    axis.legend(frameon=False)
    axis.grid(alpha=0.3)
    with utils_files.replacing(path) as temporary:
        plt.savefig(temporary, dpi=90)
    plt.close()


if __name__ == "__main__":
    cli.run(main)
