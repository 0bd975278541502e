"""Make the checkpoint that ships in lipgan_keras/weights: data, training, export and figures, in one command.

    python benchmarks/default_checkpoint.py --clips GRID --speakers SPEAKERS --face_model FACEKIT --workdir logs/default

GRID is a folder of .mpg clips of the GRID audiovisual sentence corpus (Cooke, Barker, Cunningham, Shao 2006; Zenodo
3625687, CC BY 4.0). `lrwp9a`, `pwij3p`, their sounds and the photo of the astronaut are kept out of training; how the
astronaut looked decided which of the first and of the last runs there are. In the first the generator learns from
puppets: every other clip's face and matplotlib's photo, in every puppet as another made-up person, with synthesised
speech and the clips' own; and from these clips themselves. SPEAKERS is a folder of `<speaker>/<clip>` of the same
corpus. In the last runs the generator learns from these people, from people made of them, and in the end from some
puppets besides, a part of which a 3D face model moves (see docs/puppets.md). The speakers s30 and s34 are held out and
tell how it goes, but from `everyone` on, which sees them, too.

The command goes on where it was stopped, and says where the time went. What it makes is much like what ships, and not
the same: that was made while the puppets learned, see RUNS.
"""

import collections
import contextlib
import json
import os
import shutil
import time
from pathlib import Path

import cv2
import h5py
import numpy as np
from puppet_ablation import (
    ROOT,
    TEST_CLIPS,
    describe,
    faces_to_use,
    in_a_process,
    judge,
    list_lines,
    machine,
    run,
    write_list,
)

from lipgan_keras import checkpoints
from lipgan_keras.utils import cli, files
from lipgan_keras.utils.cli import ArgumentParser

WEIGHTS = ROOT / "lipgan_keras" / "weights" / "lipsync.h5"
FLAGS = [
    "--recipe", "lipsync", "--model", "basic", "--width", "0.5", "--batch_size", "32", "--precision", "mixed_bfloat16",
    "--ema", "0.999",
]  # fmt: skip
SHARPER = ["--quality_start", "300", "--quality_weight", "0.002", "--sync_weight", "0.0001"]
ALONE = ["--freeze_norm", "--sync_mode", "expert"]  # the generator, under a lip-sync discriminator that has learned
TEETH = [*ALONE, "--sync_weight", "0.00003", "--quality_weight", "0.002", "--quality_start", "0"]
JOINT = ["--freeze_norm", "--sync_weight", "0.0001", "--quality_weight", "0.002", "--quality_start", "0"]
# By run: its puppets, learning rate, steps, and flags of its own. Each begins with the generator's and the lip-sync
# discriminator's weights of the one before. In the first lips learn to follow the sound, of all sorts of people, in the
# second to be sharper. The others go by what is to be seen in the end: teeth that an identity frame does not tell come
# out as their median, the paler the less alike they are. What ships was made while `puppets` learned: before "smiles"
# the clear ones did not smile, before "lips" their lips were as thick and red as the photos', before "grins" none
# showed its teeth.
RUNS = {
    "run": ("people", 5e-4, 9000, ["--seed", "0", "--quality_start", "3000"]),
    "sharper": ("people", 2e-4, 3500, ["--seed", "1", *SHARPER]),
    "clear": ("clear", 3e-4, 2000, ["--seed", "2", *SHARPER]),
    "fine": (
        "clear",
        3e-4,
        6000,
        ["--seed", "3", *ALONE, "--sync_weight", "0.0001", "--quality_weight", "0", "--warmup", "100"],
    ),
    "teeth": ("clear", 2e-4, 6000, ["--seed", "4", *TEETH]),
    "smiles": ("clear", 2e-4, 3000, ["--seed", "5", *TEETH]),
    "joint": ("clear", 2e-4, 2500, ["--seed", "6", *JOINT]),
    "lips": ("clear", 3e-4, 1000, ["--seed", "7", *JOINT]),
    "grins": ("clear", 3e-4, 2000, ["--seed", "8", *JOINT]),
}
# Runs on speakers, each from the one before; the second and third are one training, to which puppets are added. From
# `moving` on the generator learns to move the identity frame's pixels, and to go by the audio alone.
ON_SPEAKERS = ["--freeze_norm", "--balance", "speakers", "--sync_weight", "0.0001", "--warmup", "100"]
SHARP = ["--seed", "21", "--quality_weight", "0.003", "--quality_start", "0"]
VARIED = ["--augment", "flip", "crop", "colour", "blur", "gain", "noise", "upper"]
MOVING = [*SHARP, "--seed", "51", "--decoder", "warp", *VARIED]
# The same on all thirteen speakers, none of whom is left to choose by, and in more voices; then with more edges.
EVERYONE = [*MOVING, *VARIED, "voice", "--seed", "71", "--sync_weight", "0.0004"]
EDGES = [*EVERYONE, "--seed", "72", "--quality_weight", "0.009"]
# The mean of the weights after these steps of the last run (as Izmailov et al. 2018, arXiv 1803.05407): on the speakers
# that were held out of `moving` such a mean was better than each.
AVERAGED = (500, 750, 1000, 1250)
# Runs beside each other, each from that mean: three in which the pictures count more and more, and the lip-sync
# discriminator alone. What ships is the mean of the named networks of these and of what they began with (as Wortsman et
# al. 2022, arXiv 2203.05482). On a CPU they take many hours.
SOFT = [*ON_SPEAKERS, *EVERYONE, "--ema", "0.9995", "--seed", "103", "--quality_weight", "0.002"]
EVEN = [*SOFT, "--seed", "101", "--quality_weight", "0.006", "--sync_weight", "0.0008"]
ALONE_ON_SPEAKERS = ["--recipe", "sync", "--balance", "speakers", "--warmup", "100", *VARIED, "voice"]
BESIDE = {
    "soft": ("generator", 12000, SOFT),
    "even": ("sync", 12000, EVEN),
    "hard": ("sync", 12000, [*EVEN, "--seed", "102", "--quality_weight", "0.02"]),
    "listen": ("sync", 18500, [*ALONE_ON_SPEAKERS, "--ema", "0.9995", "--batch_size", "64", "--seed", "100"]),
}
# The lip-sync discriminator alone once more, with 3D heads besides that smile as they say other sentences. The one that
# ships is the mean of it and of what it began with.
LISTEN_ON = 3000, [*BESIDE["listen"][2], "--seed", "204"]
# Last, teeth of smiles: three runs beside each other on real people and heads that smile, from what `listen_on` gives;
# one from the mean of it and of these, with flat puppets besides; and one from the mean of that and of what it began
# with, in which no flat puppet has grins, and heads and puppets besides smile with their lips shut. It ships but for
# its audio encoder, in whose place that of `listen_on` follows the sound better.
SMILING = {
    "smile_1": (2000, 3e-4, [*SOFT, "--seed", "201", "--sync_weight", "0.0001"]),
    "smile_2": (3000, 3e-4, [*SOFT, "--seed", "202", "--quality_weight", "0.006", "--sync_weight", "0.0008"]),
    "smile_3": (3000, 1e-4, [*SOFT, "--seed", "203"]),
}
OPENING = [*ON_SPEAKERS, *EVERYONE, "--warmup", "50", "--ema", "0.998", "--quality_weight", "0.004"]
LAST = {"flat": ("flat", 700, [*OPENING, "--seed", "301"]), "shut": ("shut", 500, [*OPENING, "--seed", "302"])}
# So many speakers each kind of puppet counts as where speakers are drawn equally often
SHARES = {"smiles": 6, "heads": 2, "synth": 5, "shut_flat": 4, "shut_heads": 3}
SHUT_FLAT, SHUT_HEADS = 90, 56
# The convolution whose output, after a sigmoid, is the mask of the decoder `warp`. Where it is not sure, the mean of a
# moved and a painted pixel shows, which is soft. So in the end its logits are scaled, and the mask is surer; and they
# are shifted, so that it paints sooner: where lips part, painted teeth show rather than a moved lip.
MASK, MASK_SCALE, MASK_SHIFT = "conv2d_28", 3.75, -1.0
# The layers of the basic audio encoder
AUDIO_ENCODER = frozenset(f"{kind}_{number}" for kind in ("conv2d", "batch_normalization") for number in range(9, 23))
SPEAKER_RUNS = [
    ("speakers", "speakers", 4e-4, 1250, ["--seed", "20", "--quality_weight", "0"]),
    ("sharp", "speakers", 3e-4, 2000, SHARP),
    ("sharp", "mixed", 2e-4, 3300, SHARP),
    ("moving", "mixed", 3e-4, 2250, MOVING),
    ("everyone", "everyone", 3e-4, 2250, EVERYONE),
    *(("edges", "everyone", 3e-4, steps, EDGES) for steps in AVERAGED),
]
BEGINS_WITH = {"everyone": "sharp"}  # the generator of another run than the one before
KEPT_OUT = ("s30", "s34")  # of SPEAKERS, to watch the training by
RECAST = 6, 40  # people made of each clip: of a speaker with many, and of one with a single clip
SYNTHESISED, HEADS = 60, 18  # puppets of 5 s that babble, and 3D heads of 3 s that say SENTENCES
SMILING_HEADS, SMILING_PHOTOS = 112, ("s3", "s5", "s10", "s20", "s22", "s31")  # of 3 s, of these and matplotlib's photo
PUPPET_PHOTOS = ("s20", "s22")  # of whose first clips these are made, and of matplotlib's photo
SENTENCES = (
    "Please put the big blue box by the window.",
    "Who knows why the music was so loud this morning?",
    "We will move the piano to the other room on Friday.",
    "Every voice over the bridge was heard by the farmer.",
    "My mother makes the best apple pie in town.",
    "The weather will be fine, with some clouds in the west.",
    "Should I call you back after the meeting?",
    "A good book is worth more than gold.",
    "He spoke about five problems and their solutions.",
    "Thank you very much for coming all this way.",
    "The children laughed and jumped into the water.",
    "Would you mind opening that door for me?",
)
SAID_SMILING = (
    *SENTENCES,
    "Nine green bottles were standing on the kitchen shelf.",
    "She sold her old bicycle to a boy from the next village.",
    "How far away is the nearest hospital from here?",
    "Wash your hands before you sit down to eat.",
    "The judge asked them to speak up and be brief.",
    "Fresh coffee always smells better than it tastes.",
    "Put both chairs over there, beside the fireplace.",
    "I have never been to a place as quiet as this one.",
    "Two thirds of the people voted for a new school.",
    "Warm wind blows the leaves across the empty road.",
    "You should have told me about it yesterday.",
    "The cheapest tickets are sold out by noon.",
    "Our teacher drew a perfect circle on the board.",
    "What would you do with a million dollars?",
    "Some birds fly thousands of miles without a rest.",
    "Take the first street on the left, then go up the hill.",
    "He wrote a long letter and forgot to post it.",
    "Milk, butter, flour and three fresh eggs, please.",
    "The lawyer whispered something that nobody understood.",
    "Few of us believe all that the papers say.",
    "Mild soap is enough for most of these stains.",
    "The gentle giraffe chewed on a juicy branch.",
    "Vera Morgan works for a small firm in Boston.",
    "Both of them arrived half an hour too early.",
    "It was so foggy that we could not see the harbour lights.",
    "Why would anybody pay more for the same product?",
    "The young couple bought a house with a wide porch.",
    "Bring me a map, a rope and a pair of boots.",
)
PEOPLE = 60  # puppets of each look of a face, in each set of them
SECONDS = 5.0  # of each
REAL = 16  # copies of the real clips among them, some 7 % of all frames
VALIDATION = 8  # puppets that are held out to watch the training by
UNSEEN = 24  # puppets of the astronaut that are judged on, each with a sound of its own
UNSEEN_SECONDS = 4.0


def main():
    parser = ArgumentParser(description="Train and export the checkpoint that ships.")
    parser.add_argument(
        "--clips", default=os.environ.get("LIPGAN_CLIPS"), help="folder of GRID clips (default: LIPGAN_CLIPS)"
    )
    parser.add_argument(
        "--speakers", required=True, type=cli.existing, help="folder of <speaker>/<clip> of the GRID corpus"
    )
    parser.add_argument("--face_model", required=True, type=cli.existing, help="3D face model, see docs/puppets.md")
    parser.add_argument("--workdir", default="logs/default", help="data, checkpoint and figures")
    parser.add_argument(
        "--stop_at", type=cli.integer(1), help="steps of `edges` to stop at this time (default: go on to the end)"
    )
    parser.add_argument("--checkpoint_freq", type=cli.integer(1), default=500, help="steps between checkpoints")
    parser.add_argument(
        "--num_workers", type=cli.integer(1), default=os.cpu_count() or 1, help="processes that make the data"
    )
    parser.add_argument(
        "--out", default=str(WEIGHTS), help="the exported file, once all is done (default: the one that ships)"
    )
    args = parser.parse_args()
    work = Path(args.workdir)
    make_data(work, args.clips, args.num_workers)
    checkpoint = None
    for name, (people, lr, steps, flags) in RUNS.items():
        before, checkpoint = checkpoint, work / name / "checkpoint.h5"
        flags = [*flags, "--lr", f"{lr:g}", "--checkpoint_freq", args.checkpoint_freq]
        flags += ["--resume_gen", before, "--resume_sync", before] if before else []
        train(work, checkpoint, work / "crops", work / "lists" / people, steps, ["--warmup", "200", *flags])
    checkpoint, copies = train_on_speakers(work, args, checkpoint)
    whole = len(copies) == len(AVERAGED) and not args.stop_at
    averaged = {}
    if whole:
        checkpoint, averaged = train_beside(work, args, copies)
        checkpoint, averaged = listen_on(work, args, checkpoint, averaged)
        shut = smile(work, args, checkpoint)
    out = Path(args.out) if whole else work / "unfinished.h5"
    export(checkpoint, averaged, out, "--float16", rest=shut if whole else None)
    figures = {kind: in_a_process(judge, out, work, kind, True) for kind in ("puppets", "real")}
    for kind, found in figures.items():
        print(f"{kind}: {describe(found)}", flush=True)
    with files.replacing(work / "figures.json") as temporary:
        temporary.write_text(json.dumps(figures | {"time": spent(work)}, indent=1) + "\n", encoding="utf-8")


def train_on_speakers(work: Path, args, checkpoint: Path) -> tuple[Path, list[Path]]:
    """The last runs; returns the checkpoint, and copies of it at the steps AVERAGED."""
    began = time.time()
    try:
        make_speakers(work, Path(args.speakers), args.face_model, args.num_workers)
    finally:
        note_time(work, "data", began)
    before, copies = checkpoint, []
    for name, lists, lr, steps, flags in SPEAKER_RUNS:
        if checkpoint.parent.name != name:
            before, checkpoint = checkpoint, work / name / "checkpoint.h5"
        generator = work / BEGINS_WITH[name] / "checkpoint.h5" if name in BEGINS_WITH else before
        flags = [*ON_SPEAKERS, *flags, "--lr", f"{lr:g}", "--checkpoint_freq", args.checkpoint_freq]
        flags += ["--resume_gen", generator, "--resume_sync", before]
        last = name == SPEAKER_RUNS[-1][0]
        stop = min(steps, args.stop_at or steps) if last else steps
        train(work, checkpoint, work / "speakers_crops", work / "lists" / lists, stop, flags)
        copy = work / f"{name}_{steps}.h5"
        if last and not copy.is_file() and checkpoints.read_config(checkpoint).step == steps:
            run("-m", "lipgan_keras.checkpoints", "export", checkpoint, copy, "--sync")
        copies += [copy] if copy.is_file() else []
    return checkpoint, copies


def train_beside(work: Path, args, copies: list[Path]) -> tuple[Path, dict[str, list[Path]]]:
    """The runs BESIDE, from the mean of `copies`; returns the mean, and by network what to average."""
    mean = work / "mean.h5"
    if not mean.is_file():
        export(copies[-1], dict.fromkeys(("generator", "sync"), copies), mean)
    averaged = {"generator": [mean], "sync": [mean]}
    for name, (network, steps, flags) in BESIDE.items():
        flags = [*flags, "--lr", "0.0003", "--checkpoint_freq", args.checkpoint_freq, "--resume_sync", mean]
        flags += [] if "--recipe" in flags else ["--resume_gen", mean]
        checkpoint = work / name / "checkpoint.h5"
        train(work, checkpoint, work / "speakers_crops", work / "lists" / "everyone", steps, flags)
        averaged[network].append(checkpoint)
    return mean, averaged


def listen_on(work: Path, args, mean: Path, averaged: dict[str, list[Path]]) -> tuple[Path, dict[str, list[Path]]]:
    """The run LISTEN_ON; returns what it began with, the means of `averaged`, and by network what to average."""
    before, checkpoint = work / "beside.h5", work / "listen_on" / "checkpoint.h5"
    if not before.is_file():
        export(mean, averaged, before)
    steps, flags = LISTEN_ON
    flags = [*flags, "--lr", "0.0003", "--checkpoint_freq", args.checkpoint_freq, "--resume_sync", before]
    train(work, checkpoint, work / "speakers_crops", work / "lists" / "smiling", steps, flags)
    return before, {"sync": [before, checkpoint]}


def smile(work: Path, args, before: Path) -> Path:
    """The runs SMILING and LAST; returns the last one's checkpoint."""
    began = time.time()
    try:
        make_smiles(work, Path(args.speakers), args.face_model, args.num_workers)
    finally:
        note_time(work, "data", began)
    runs = []
    for name, (steps, lr, flags) in SMILING.items():
        runs.append(work / name / "checkpoint.h5")
        flags = [*flags, "--lr", f"{lr:g}", "--resume_gen", before, "--resume_sync", before]
        train(work, runs[-1], work / "speakers_crops", work / "lists" / "smiling_people", steps, flags)
    begin, others = before, [before, *runs]
    for name, (lists, steps, flags) in LAST.items():
        mean, checkpoint = work / f"{name}_begins_with.h5", work / name / "checkpoint.h5"
        if not mean.is_file():
            export(begin, {"generator": others}, mean)
        flags = [*flags, "--lr", "0.0003", "--resume_gen", mean, "--resume_sync", before, "--precision", "float32"]
        train(work, checkpoint, work / "grouped", work / "lists" / lists, steps, flags)
        begin, others = mean, [mean, checkpoint]
    return checkpoint


def make_smiles(work: Path, speakers: Path, face_model: str, workers: int) -> None:
    """Heads that smile with their lips shut, flat puppets of pictures of such heads, flat puppets without grins, and
    the lists of the last runs; the puppets in these are in so many folders as SHARES says.
    """
    from lipgan_keras.face.photos import shipped_photos
    from lipgan_keras.puppets import clips as puppets_clips
    from lipgan_keras.puppets import heads

    crops, lists, grouped = work / "speakers_crops", work / "lists", work / "grouped"
    everyone = (lists / "everyone" / "train.txt").read_text("utf-8").split()
    smiling = (lists / "smiling" / "train.txt").read_text("utf-8").split()
    held_out = (lists / "everyone" / "val.txt").read_text("utf-8").split()
    people = [line for line in everyone if not line.startswith(("synth/", "heads/"))]
    write_list(lists, "smiling_people", [*people, *sorted(set(smiling) - set(everyone))], held_out)
    folders = sorted(folder for folder in speakers.iterdir() if folder.is_dir())
    photos = [shipped_photos()["grace_hopper"], *(min(folder.iterdir()) for folder in folders)]
    rng = np.random.default_rng(5)
    pictures = []
    for photo in photos:
        look = heads.HeadLook.load(photo, face_model)
        head = heads.Head(look.photo, look.fit, heads.load_model(look.path), 360)
        for smile in (0.45, 0.7, 0.95):
            turn = rng.normal(0, (5.0, 2.0, 1.5))
            picture = work / "shut" / f"{Path(photo).parent.name}_{Path(photo).stem}_{smile:g}.png"
            with files.replacing(picture) as temporary:
                cv2.imwrite(str(temporary), head.render({"smile": smile + rng.uniform(-0.1, 0.05)}, turn))
            pictures.append(picture)
    options = {"crops": True, "clear": True, "num_workers": workers}
    hers = [shipped_photos()["grace_hopper"], *(min((speakers / name).iterdir()) for name in PUPPET_PHOTOS)]
    kinds = {
        "synth": puppets_clips.make_clips(
            crops / "plain", SYNTHESISED, seed=41, seconds=5.0, photos=hers, grins=False, **options
        ),
        "shut_flat": puppets_clips.make_clips(
            crops / "shut_flat", SHUT_FLAT, seed=71, seconds=4.0, photos=pictures, **options
        ),
        "shut_heads": puppets_clips.make_clips(
            crops / "shut_heads", SHUT_HEADS, seed=72, seconds=3.0, varied=True, photos=photos, texts=SAID_SMILING,
            face_model=face_model, **options,
        ),
        "smiles": [crops / line for line in smiling if line.startswith("smiles/")],
        "heads": [crops / line for line in everyone if line.startswith("heads/")],
        "with_grins": [crops / line for line in everyone if line.startswith("synth/")],
    }  # fmt: skip
    for kind, clips in kinds.items():
        for number, clip in enumerate(clips):
            link(
                clip,
                grouped / f"{kind}{number % SHARES.get(kind, SHARES['synth'])}" / f"{clip.parent.name}_{clip.name}",
            )
    for line in [*people, *held_out]:
        link(crops / line, grouped / line)
    for clip in sorted((crops / "recast").glob("*/*")):  # a list that names a clip names these, too
        link(clip, grouped / clip.relative_to(crops))
    known = [*people, *held_out]
    there = sorted(path.relative_to(grouped).as_posix() for path in grouped.glob("*/*"))
    there = [line for line in there if line not in known and not line.startswith("recast/")]
    left_out = {"flat": ("shut_", "synth"), "shut": ("with_grins",)}
    for name, kind in left_out.items():
        write_list(lists, name, sorted([*people, *(line for line in there if not line.startswith(kind))]), held_out)


def link(clip: Path, place: Path) -> None:
    """A clip under another name, which takes no more disc."""
    if not place.is_dir():
        partial = place.with_name(f".{place.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(clip, partial, copy_function=os.link)
        partial.rename(place)


def export(checkpoint: Path, averaged: dict[str, list[Path]], out: Path, *flags: str, rest: Path | None = None) -> None:
    """The two networks that ship of a checkpoint; those that `averaged` names are means of other files'. `rest`: where
    the generator's weights come from, but for its audio encoder; its mask is sharpened then.
    """
    with files.replacing(out) as temporary:
        run("-m", "lipgan_keras.checkpoints", "export", checkpoint, temporary, "--sync", *flags)
        for network, paths in averaged.items():
            average(network, paths, temporary)
        if rest:
            average("generator", [rest], temporary, but=AUDIO_ENCODER)
            sharpen_mask(temporary)


def sharpen_mask(out: Path) -> None:
    """Scale the logits of the generator's mask by MASK_SCALE, and shift them by MASK_SHIFT."""
    with h5py.File(out, "r+") as file:
        mask = file["generator"][MASK]
        assert mask["kernel"].shape[-1] == 1, "the mask's convolution has another name now"
        mask["kernel"][...] = mask["kernel"][...] * MASK_SCALE
        mask["bias"][...] = mask["bias"][...] * MASK_SCALE + MASK_SHIFT


def average(network: str, paths: list[Path], out: Path, but: frozenset[str] = frozenset()) -> None:
    """Replace a network's weights in the file `out` by the mean of those in others, but for some layers."""
    with contextlib.ExitStack() as stack:
        others = [stack.enter_context(h5py.File(path)) for path in paths]
        file = stack.enter_context(h5py.File(out, "r+"))
        names = []
        file[network].visititems(lambda _, item: names.append(item.name) if isinstance(item, h5py.Dataset) else None)
        for name in (name for name in names if name.split("/")[2] not in but):
            mean = np.mean([np.asarray(one[name], np.float64) for one in others], axis=0)
            file[name][...] = mean.astype(file[name].dtype)


def make_speakers(work: Path, speakers: Path, face_model: str, workers: int) -> None:
    """Crops of the speakers, of people made of them, and of some puppets, and the lists of these."""
    from lipgan_keras.data import clip_folder
    from lipgan_keras.face.photos import shipped_photos
    from lipgan_keras.puppets import clips as puppets_clips
    from lipgan_keras.puppets.recast import recast

    crops, lists = work / "speakers_crops", work / "lists"
    run("preprocess.py", "--videos_data_root", speakers, "--final_data_root", crops, "--num_workers", workers)
    real = [clip for clip in clip_folder.find_clips(crops, "mel") if clip.kind == "real"]
    count = collections.Counter(clip.speaker for clip in real)
    recast(crops, lambda clip: RECAST[count[clip.speaker] == 1], workers)
    photos = [shipped_photos()["grace_hopper"], *(min((speakers / name).iterdir()) for name in PUPPET_PHOTOS)]
    options = {"photos": photos, "crops": True, "num_workers": workers}
    puppets = puppets_clips.make_clips(crops / "synth", SYNTHESISED, seed=41, seconds=5.0, clear=True, **options)
    options |= {"texts": SENTENCES, "face_model": face_model}
    puppets += puppets_clips.make_clips(crops / "heads", HEADS, seed=42, seconds=3.0, varied=True, **options)
    held_out = sorted(clip.name for clip in real if clip.speaker in KEPT_OUT)
    training = sorted(clip.name for clip in real if clip.speaker not in KEPT_OUT)
    write_list(lists, "speakers", training, held_out)
    puppets = sorted(path.relative_to(crops).as_posix() for path in puppets)
    write_list(lists, "mixed", training + puppets, held_out)
    everyone = training + held_out[:-1] + puppets
    write_list(lists, "everyone", everyone, held_out[-1:])
    photos = [shipped_photos()["grace_hopper"], *(min((speakers / name).iterdir()) for name in SMILING_PHOTOS)]
    options |= {"photos": photos, "texts": SAID_SMILING, "seconds": 3.0}
    smiling = puppets_clips.make_clips(crops / "smiles", SMILING_HEADS, seed=7, clear=True, **options)
    smiling = sorted(path.relative_to(crops).as_posix() for path in smiling)
    write_list(lists, "smiling", everyone + smiling, held_out[-1:])


def make_data(work: Path, clips: str | None, workers: int) -> None:
    """Crops and lists; what is there and would be made in the same way is kept."""
    began = time.time()
    try:
        make_training_data(work, clips, workers)
    finally:
        note_time(work, "data", began)


def make_training_data(work: Path, clips: str | None, workers: int) -> None:
    from lipgan_keras.puppets import clips as puppets_clips

    lists, crops = work / "lists", work / "crops"
    make_test_data(work, clips, workers)
    train, _, shipped = faces_to_use(clips, work / "videos")
    for number in range(2, REAL + 1):
        for file in train:
            link(crops / "real" / "main" / "grid" / file.stem, crops / "copies" / f"grid_{number}" / file.stem)
    known = [shipped["grace_hopper"], *train]
    real = [f"grid{f'_{number}' if number > 1 else ''}/{file.stem}" for number in range(1, REAL + 1) for file in train]
    for seed, name in enumerate(("people", "clear"), 1):
        made = puppets_clips.make_clips(
            crops / name,
            2 * len(known) * PEOPLE,
            seed=seed,
            seconds=SECONDS,
            photos=known,
            speech=train,
            num_workers=workers,
            varied=True,
            crops=True,
            clear=name == "clear",
        )
        lines = [path.relative_to(crops).as_posix() for path in made]  # both sets have the same faces and numbers
        write_list(lists, name, sorted(lines[:-VALIDATION]) + real, sorted(lines[-VALIDATION:]))


def make_test_data(work: Path, clips: str | None, workers: int) -> None:
    """Crops of the real clips and of the puppets to judge on. The val.txt of the lists `puppets` and `real` name the
    latter and the two real clips that are kept out; that of `real` says that all is there.
    """
    from lipgan_keras.puppets import clips as puppets_clips

    lists, videos = work / "lists", work / "videos"
    if (lists / "real" / "val.txt").is_file():
        return
    train, _, shipped = faces_to_use(clips, videos)
    unseen = puppets_clips.make_clips(
        videos / "unseen",
        UNSEEN,
        seed=3,
        seconds=UNSEEN_SECONDS,
        photos=[shipped["astronaut"]],
        num_workers=workers,
        mirror=False,
    )
    run("preprocess.py", "--videos_data_root", videos, "--final_data_root", work / "crops", "--num_workers", workers)
    known = [f"grid/{file.stem}" for file in train]
    write_list(lists, "puppets", known, list_lines(unseen))
    write_list(lists, "real", known, [f"grid/{stem}" for stem in TEST_CLIPS])


def train(work: Path, checkpoint: Path, crops: Path, lists: Path, steps: int, flags: list) -> None:
    if checkpoint.is_file() and checkpoints.read_config(checkpoint).step >= steps:
        return
    began = time.time()
    try:
        run(
            "train.py", "--data_root", crops, "--filelists", lists, "--logdir", checkpoint.parent,
            *FLAGS, *flags, "--steps", steps,
        )  # fmt: skip
    finally:
        note_time(work, "training", began)


def note_time(work: Path, what: str, began: float) -> None:
    """One line for each stretch of work, also where it was stopped."""
    with open(work / "time.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps({"what": what, "seconds": round(time.time() - began), "on": machine()}) + "\n")


def spent(work: Path) -> dict:
    """Hours by what they were spent on, and the machines."""
    lines = [json.loads(line) for line in (work / "time.jsonl").read_text("utf-8").splitlines()]
    hours = {
        what: round(sum(x["seconds"] for x in lines if x["what"] == what) / 3600, 2)
        for what in {x["what"] for x in lines}
    }
    return hours | {"machines": sorted({line["on"] for line in lines})}


if __name__ == "__main__":
    cli.run(main)
