"""Measure and show the checkpoint that ships: the tables and the picture of docs/model_card.md, in one command.

    python benchmarks/model_card.py --clips GRID --workdir logs/default

GRID is what benchmarks/default_checkpoint.py takes. Judged is on what no part of the training saw: puppets of the
astronaut with sounds of their own, and the real clips `lrwp9a` and `pwij3p`. The test data are made where they are not
there yet. The puppets that speak English and German need flite and espeak-ng.
"""

import json
import os
import tempfile
from pathlib import Path

import cv2
import free_speech
import numpy as np
import strip
from compare import COLUMNS
from default_checkpoint import make_test_data
from lip_masks import turn
from puppet_ablation import (
    ROOT,
    SEGMENT,
    TEST_CLIPS,
    in_a_process,
    judge,
    lip_and_whole_errors,
    load,
    moved_mouths,
    number,
    run,
    table,
    write_between,
)

from lipgan_keras import checkpoints
from lipgan_keras.data.preprocess import VIDEO_SUFFIXES
from lipgan_keras.evaluation import jobs
from lipgan_keras.inference import flags
from lipgan_keras.utils import cli, files
from lipgan_keras.utils.cli import ArgumentParser
from lipgan_keras.utils.errors import UserError

BEGIN, END = "<!-- measured: written by benchmarks/model_card.py -->", "<!-- end of measured -->"
SHIFTS = (-15, -12, -9, -7, -5, 5, 7, 9, 12, 15)  # frames by which a clip's own sound is wrong
HUSH = 1e-3  # root mean square of the noise of a quiet room, -60 dB of full scale
MEASURES = ("psnr", "ssim", "psnr_mouth", "ssim_mouth", "lmd", "lmd_5", "lip_mae", "sharpness_ratio", "spurious_motion")
MEASURES += ("opening_correlation", "sync_preference", "murmur")
WORDS = {name: title for name, (title, _) in COLUMNS.items()} | {
    "ssim_mouth": "SSIM, mouth",
    "spurious_motion": "spurious motion",
}
TURNED = 30  # degrees


def main():
    parser = ArgumentParser(description="Measure and show the checkpoint that ships.")
    parser.add_argument(
        "--clips", default=os.environ.get("LIPGAN_CLIPS"), help="folder of GRID clips (default: LIPGAN_CLIPS)"
    )
    parser.add_argument(
        "--strangers", type=cli.existing, help="folder of <speaker>/<clip> of more people to show (default: none)"
    )
    parser.add_argument("--workdir", default="logs/default", help="test data, and what is measured")
    parser.add_argument(
        "--checkpoint_path", type=cli.existing, default=str(checkpoints.SHIPPED), help="(default: the one that ships)"
    )
    parser.add_argument(
        "--raw", type=cli.existing, help="the checkpoint of train.py that it was exported of, for what float16 costs"
    )
    parser.add_argument(
        "--judge", type=cli.existing, help="checkpoint with another lip-sync discriminator, to judge sync by"
    )
    parser.add_argument(
        "--num_workers", type=cli.integer(1), default=os.cpu_count() or 1, help="processes that make the data"
    )
    parser.add_argument(
        "--report", default=str(ROOT / "docs" / "model_card.md"), help="file to write the tables to, a .jpg beside it"
    )
    args = parser.parse_args()
    work, report, checkpoint = Path(args.workdir), Path(args.report), Path(args.checkpoint_path)
    make_test_data(work, args.clips, args.num_workers)
    languages = free_speech.make(work, args.num_workers)
    out = work / "card"
    run(
        "evaluate.py", "--checkpoint", checkpoint, "--data_root", work / "crops",
        "--filelists", work / "lists" / "real", "--out", out, "--sync_checkpoint", args.judge or checkpoint, "--report",
    )  # fmt: skip
    figures = {
        "puppets": in_a_process(judge, checkpoint, work, "puppets", True),
        **{name: in_a_process(judge, checkpoint, folder, "puppets", False) for name, folder in languages.items()},
        "stillness": in_a_process(stillness, checkpoint, work),
        "real": in_a_process(wrong_sounds, checkpoint, work),
        "evaluate": json.loads((out / "results.json").read_text("utf-8")),
        "raw": in_a_process(cost_of_half, checkpoint, args.raw, work) if args.raw else None,
        "strangers": [path.parent.name for path in first_clips(args.strangers)],
        "judge": checkpoints.read_config(args.judge).step if args.judge else None,
    }
    with files.replacing(work / "card.json") as temporary:
        temporary.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    picture = report.with_suffix(".jpg")
    with files.replacing(picture) as temporary:
        cv2.imwrite(str(temporary), sheet(checkpoint, work, args.strangers), [cv2.IMWRITE_JPEG_QUALITY, 88])
    write_between(report, (BEGIN, END), sections(figures, picture.name), "# The checkpoint that ships\n\n")
    print(f"{report}, {picture}")


# ------------------------------------------------------------------------------------------------------------- figures


def stillness(checkpoint: Path, work: Path) -> dict:
    """How far mouths move in silence and under music, as a share of how far they move in speech; [mean, low, high] over
    the puppets.

    Movement is the deviation over time of `aperture.mouth_aperture`. `photo`: the puppet's first frame, as where a
    photo speaks. `video`: its frames, which speak themselves, so that what they tell of their mouths counts too; of it
    `still` is what is measured of a mouth that does not move, the first frame's, moved with the head.
    """
    from lipgan_keras import audio
    from lipgan_keras.config import SAMPLE_RATE
    from lipgan_keras.data import music as data_music
    from lipgan_keras.evaluation import statistics
    from lipgan_keras.face import aperture
    from lipgan_keras.media import audio_file

    rng, found = np.random.default_rng(0), {}
    for speaker in load(checkpoint, work, "puppets"):
        kind, targets = speaker.config.audio, speaker.targets[::2]
        truth, mouths = speaker.truth(targets), moved_mouths(speaker, targets)
        speech = audio_file.load_audio(speaker.clip.folder / "audio.wav")
        waves = {
            "speech": speech,
            "silence": 0 * speech,
            "quiet": HUSH * rng.standard_normal(len(speech)).astype(np.float32),
            "music": 0.5 * data_music.music(len(speech) / SAMPLE_RATE, rng)[: len(speech)],
        }
        at_rest = np.broadcast_to(speaker.identity, truth.shape)
        for face, pictures, corners in (
            ("video", truth, mouths),
            ("photo", at_rest, np.broadcast_to(speaker.data.points(0, 0), mouths.shape)),
        ):
            moved = {}
            for name, wave in waves.items():
                windows = audio.windows(audio.features(wave, kind), speaker.centres(targets), kind)
                made = np.rint(255 * speaker.generate(pictures, windows)).astype(np.uint8)
                moved[name] = np.std(aperture.mouth_aperture(made, corners))
            if face == "video":
                moved["still"] = np.std(aperture.mouth_aperture(speaker.aligned(targets), corners))
            for name in moved.keys() - {"speech"}:
                found.setdefault(f"{face}, {name}", []).append(moved[name] / moved["speech"])
    return {name: [float(np.mean(v)), *statistics.bootstrap_interval(v)] for name, v in found.items()}


def wrong_sounds(checkpoint: Path, work: Path) -> dict:
    """The lip error of each real clip under its own sound, under those of all others, and under its own, shifted.

    `ratio` is right / wrong with a bootstrap interval over segments of `SEGMENT` frames.
    """
    from lipgan_keras import audio
    from lipgan_keras.evaluation import statistics
    from lipgan_keras.media import audio_file

    speakers = load(checkpoint, work, "real")
    config = speakers[0].config
    folder = work / "crops" / "real" / "main" / "grid"
    features = {
        path.name: audio.features(audio_file.load_audio(path / "audio.wav"), config.audio)
        for path in sorted(folder.iterdir())
    }
    rows, groups = [], []
    for c, speaker in enumerate(speakers):
        own, targets, truth = speaker.clip.folder.name, speaker.targets, speaker.truth(speaker.targets)
        heard = [(own, 0), *((name, 0) for name in features if name != own), *((own, shift) for shift in SHIFTS)]
        results = [
            speaker.generate(truth, audio.windows(features[name], _later(speaker, shift), config.audio))
            for name, shift in heard
        ]
        results.append(np.broadcast_to(speaker.identity / 255, truth.shape))
        points = np.stack([speaker.data.points(0, i) for i in targets])
        errors = lip_and_whole_errors(truth / 255, results, points, config.img_size)[..., 0]
        wrong = errors[:, 1 : len(features)], errors[:, len(features) : -1]
        rows.append(np.stack([errors[:, 0], *(part.mean(1) for part in wrong), errors[:, -1]]))
        groups += [(c, i // SEGMENT) for i in targets]
    values = dict(zip(("right", "others", "shifted", "frozen"), np.concatenate(rows, axis=1), strict=True))
    values["wrong"] = (values["others"] + values["shifted"]) / 2
    names = [speaker.clip.folder.name for speaker in speakers]
    clip_of = np.array([c for c, _ in groups])
    groups = np.unique(groups, axis=0, return_inverse=True)[1].ravel()
    result = {"frames": len(groups), "sounds": len(features) - 1, "rows": {}}
    for name, chosen in [("both", clip_of >= 0), *((name, clip_of == c) for c, name in enumerate(names))]:
        right = values["right"][chosen]
        result["rows"][name] = {"right": float(right.mean())} | {
            other: {
                "error": float(values[other][chosen].mean()),
                "ratio": statistics.ratio_interval(right, values[other][chosen], groups[chosen]),
            }
            for other in ("wrong", "others", "shifted", "frozen")
        }
    return result


def cost_of_half(checkpoint: Path, raw: str, work: Path) -> float:
    """PSNR (dB) that the shipped file loses against float32 weights, on the real clips under their own sound."""
    from lipgan_keras import audio
    from lipgan_keras.media import audio_file

    psnr = []
    for path in (Path(raw), checkpoint):
        squares = []
        for speaker in load(path, work, "real"):
            kind, truth = speaker.config.audio, speaker.truth(speaker.targets)
            features = audio.features(audio_file.load_audio(speaker.clip.folder / "audio.wav"), kind)
            pictures = speaker.generate(truth, audio.windows(features, speaker.centres(speaker.targets), kind))
            squares.append(((pictures - truth / 255) ** 2).mean(axis=(1, 2, 3)))
        psnr.append(float(np.mean(-10 * np.log10(np.concatenate(squares)))))
    return psnr[0] - psnr[1]


def _later(speaker, shift):
    """When the targets' sound is, so many frames late, from the beginning again at the end."""
    return speaker.centres((speaker.targets + shift) % speaker.clip.shown)


# ---------------------------------------------------------------------------------------------------------------- look


def first_clips(speakers: str | None) -> list[Path]:
    """The first video of each folder in `speakers`; None: nobody's."""
    return [clips[0] for clips in clips_of(speakers).values()] if speakers else []


def clips_of(speakers: str) -> dict[str, list[Path]]:
    """The videos of a folder of `<speaker>/<clip>`, by speaker."""
    found: dict[str, list[Path]] = {}
    for clip in sorted(Path(speakers).glob("*/*")):
        if clip.suffix.lower() in VIDEO_SUFFIXES:
            found.setdefault(clip.parent.name, []).append(clip)
    return found


def add_clips(parser: ArgumentParser, most: int) -> None:
    """What `clips_to_judge` takes: the folder, and how many clips of a speaker, `most` where it is not said."""
    parser.add_argument("speakers", type=cli.existing, help="folder of <speaker>/<clip>")
    parser.add_argument("--clips", type=cli.integer(1), default=most, help="of a speaker, at most")


def clips_to_judge(args, least: int = 1) -> dict[str, list[Path]]:
    """The clips that the flags of `add_clips` name, by speaker, with the detector under way for them.

    Raises:
        UserError: there are fewer than `least` speakers.
    """
    found = {speaker: clips[: args.clips] for speaker, clips in clips_of(args.speakers).items()}
    if len(found) < least:
        raise UserError(
            f"{args.speakers}: needs <speaker>/<clip> of {least} speakers or more; give a folder that has them"
        )
    flags.start_detector(next(iter(found.values()))[0])
    return found


def sheet(checkpoint: Path, work: Path, strangers: str | None = None) -> np.ndarray:
    """Rows of frames: faces that the generator was not trained on, as it makes them speak;
    the real clip also as it was. At the top the first clip of each of `strangers`.
    """
    from lipgan_keras import LipSync
    from lipgan_keras.face import photos, tracking
    from lipgan_keras.media import video_reader

    grid = work / "videos" / "real" / "main" / "grid"
    first, second = (grid / f"{stem}.mpg" for stem in TEST_CLIPS)
    astronaut = cv2.imread(str(photos.shipped_photos()["astronaut"]))
    lipsync = LipSync(checkpoint)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        frame, one = next(tracking.follow(video_reader.read_frames(second)))
        pictures = {
            "photo": astronaut,
            "turned": turn(frame.image, one.face.landmarks.astype(np.float64), TURNED),
            "painting": cv2.edgePreservingFilter(
                cv2.pyrMeanShiftFiltering(astronaut, 9, 28), flags=1, sigma_s=12, sigma_r=0.3
            ),
            "drawing": cv2.pencilSketch(astronaut, sigma_s=40, sigma_r=0.08, shade_factor=0.06)[0],
        }
        made = Path(folder) / "made.mp4"
        for clip in first_clips(strangers):
            lipsync.run(clip, second, made)
            seen, opening = strip.look(made)
            rows.append(strip.row([seen[i] for i in strip.extremes(opening)]))
        for name in ("photo", "real", "turned", "painting", "drawing"):
            face = second
            if name != "real":
                face = Path(folder) / f"{name}.png"
                cv2.imwrite(str(face), pictures[name])
            lipsync.run(face, first, made)
            seen, opening = strip.look(made)
            chosen = strip.extremes(opening)
            if name == "real":
                source = list(tracking.follow(video_reader.read_frames(second)))
                rows.append(strip.row([source[min(i, len(source) - 1)] for i in chosen]))
            rows.append(strip.row([seen[i] for i in chosen]))
    return np.concatenate(rows)


# -------------------------------------------------------------------------------------------------------------- report


def sections(figures, picture):
    """Markdown, paragraph by paragraph."""
    puppets, real, still, results = (figures[name] for name in ("puppets", "real", "stillness", "evaluate"))
    flags = "".join(f" --{name} {name.upper()}" for name in ("raw", "judge") if figures[name])
    flags += " --strangers SPEAKERS" * bool(figures["strangers"])
    yield f"```\npython benchmarks/model_card.py --clips GRID{flags}\n```"
    yield (
        f"### Puppets of a face that was not trained on\n\n{puppets['clips']} puppets of the astronaut, each with a "
        f"sound of its own that no training clip has, {puppets['frames']} frames. Correlation of the mouth's opening "
        "with the truth; ceiling: of the puppets' own pictures; dubbed: under another puppet's sound, with that one's "
        "truth, so that nothing but the sound can tell; music: mixed in at 0 dB; seen: of the dubbed pictures with the "
        "mouth that the frame had. Movement: the deviation of the opening as a share of the source's. [95 % intervals] "
        "by bootstrap over the puppets."
    )
    columns = {
        "ceiling": "ceiling",
        "opening": "own sound",
        "opening_music": "own, music",
        "dubbed": "dubbed",
        "dubbed_music": "dubbed, music",
        "seen": "seen",
        "movement": "movement",
    }
    cells = [number(puppets[name], 2) for name in columns]
    shares = [
        "share of the ceiling",
        *(f"{puppets[name][0] / puppets['ceiling'][0]:.2f}" for name in list(columns)[1:5]),
        "",
        "",
    ]
    yield "\n".join(table(["", *columns.values()], [["correlation", *cells], [shares[0], "", *shares[1:]]]))
    rows = []
    for name, what in {"english": "English, flite", "german": "German, espeak-ng"}.items():
        found = figures[name]
        share = f"{found['opening'][0] / found['ceiling'][0]:.2f}, {found['dubbed'][0] / found['ceiling'][0]:.2f}"
        keys = ("ceiling", "opening", "dubbed", "seen", "movement")
        rows.append([what, *(number(found[key], 2) for key in keys), share])
    yield (
        f"Other words than the corpus has, and another language: {figures['english']['clips']} puppets of the "
        f"astronaut each, whose mouths move by the phones of their speech (benchmarks/free_speech.py, "
        f"{figures['english']['frames']} and {figures['german']['frames']} frames). The voices are flite's, recorded "
        "from people, and espeak-ng's, which is a machine's."
    )
    heads = ["speech", "ceiling", "own audio", "dubbed", "seen", "movement", "own, dubbed / ceiling"]
    yield "\n".join(table(heads, rows))
    yield (
        f"In silence the mouth of a photo (a puppet's first frame) moves {percent(still['photo, silence'])} as far as "
        f"under speech, and {percent(still['photo, quiet'])} in the noise of a quiet room (-60 dB). That of a video "
        f"whose own mouth speaks moves {percent(still['video, silence'])} as far, {percent(still['video, quiet'])} in "
        f"the noise; of a mouth that does not move at all {percent(still['video, still'])} are measured. Music alone "
        f"moves the photo's mouth {percent(still['photo, music'])} as far as speech, and the video's "
        f"{percent(still['video, music'])}: what moves it there is what the video's own face tells."
    )
    yield (
        f"### Real strangers\n\nThe two clips of GRID, {real['frames']} frames; the generator sees the clip's first "
        f"frame as the identity, and no frame within {jobs.IDENTITY_DISTANCE} of it is judged. Mean absolute error "
        "inside the lips, pixels in 0..1, and right / wrong. Others: the mean under the sounds of the "
        f"{real['sounds']} other clips; "
        f"shifted: under its own, {', '.join(str(s) for s in SHIFTS if s > 0)} frames early and late; wrong: the mean "
        "of both; frozen: the identity frame. [95 % intervals] by bootstrap over six seconds: rather too narrow, and "
        "they say nothing about other people."
    )
    names = {"wrong": "wrong", "others": "others", "shifted": "shifted", "frozen": "frozen mouth"}
    rows = [
        [
            name,
            f"{row['right']:.4f}",
            *(f"{row[other]['error']:.4f}: {ratio(row[other]['ratio'], name == 'both')}" for other in names),
        ]
        for name, row in real["rows"].items()
    ]
    yield "\n".join(table(["clip", "right sound", *names.values()], rows))
    known = [name for name in MEASURES if results["summary"].get(name, {}).get("mean") is not None]
    judge = (
        f"JUDGE, a discriminator that was trained apart for {figures['judge']} steps"
        if figures["judge"]
        else "its own discriminator"
    )
    yield f"By evaluate.py, means of the two; sync is judged by {judge}:"
    yield "\n".join(
        table([WORDS[name] for name in known], [[f"{results['summary'][name]['mean']:.3f}" for name in known]])
    )
    if figures["raw"] is not None:
        yield (
            f"Half precision (RAW: the checkpoint that it was exported of) changes the PSNR by {-figures['raw']:+.4f} "
            "dB there."
        )
    more = "".join(f"{name}, " for name in figures["strangers"])
    yield (
        f"### The look\n\n![Faces that speak]({picture})\n\n*From the top: {more}a photo; a real clip as it was, and "
        f"below it as it says the other clip's sentence; a frame of it turned by {TURNED} degrees; a painting and a "
        "drawing made of the photo. Of eight pieces of the sentence in turn the frame with the mouth most closed and "
        "the one with it widest open. The clips are of the GRID corpus (Cooke, Barker, Cunningham, Shao 2006; CC BY "
        "4.0).*"
    )


def ratio(figure, interval):
    """Of a clip alone there are too few seconds for an interval."""
    return number(figure, 3) if interval else f"{figure[0]:.3f}"


def percent(figure):
    mean, low, high = (f"{100 * value:.1f}" for value in figure)
    return f"{mean} % [{low}, {high}]"


if __name__ == "__main__":
    cli.run(main)
