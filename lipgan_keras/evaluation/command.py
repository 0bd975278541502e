"""The flags of evaluate.py."""

from ..inference import models
from ..utils import cli
from .config import BASELINES, IDENTITIES, ORDERS, EvalConfig
from .protocols import PROTOCOLS

OF_CLIPS = ("filelists", "split", "identity", "baseline")  # flags of the second way alone


def main() -> None:
    parser = cli.ArgumentParser(
        description="Measure lip-sync: results against their truth, in the field's figures and in our own."
    )
    _add_results(
        parser.add_argument_group(
            "what is measured: videos, a generator on preprocessed clips, or one on pairs of videos"
        )
    )
    _add_how(parser.add_argument_group("by which measures"))
    _add_out(parser.add_argument_group("where to"))
    args = parser.parse_args()
    _check(parser, args)
    if args.checkpoint:
        models.read_config(args.checkpoint)  # refuses what is none before Keras is loaded

    from . import run  # loads the measures

    run.evaluate(EvalConfig(**vars(args)))


def _add_results(results):
    results.add_argument(
        "--generated", type=cli.existing, metavar="DIR", help="folder of results, each named as its truth is"
    )
    results.add_argument("--truth", type=cli.existing, metavar="DIR", help="folder of the true videos")
    results.add_argument(
        "--checkpoint", type=cli.existing, metavar="FILE", help="a generator, of train.py or of the original LipGAN"
    )
    results.add_argument(
        "--data_root",
        type=cli.existing,
        metavar="DIR",
        help="folder or pack of preprocessed clips; with --filelist, folder of videos",
    )
    _add_which(results)
    results.add_argument(
        "--audio_offset_ms",
        type=cli.limited("audio_offset_ms"),
        help="shift of the audio windows (default: the checkpoint's)",
    )
    results.add_argument("--max_videos", type=cli.integer(1), metavar="N", help="measure N of them, evenly spread")
    cli.add_plugin_flag(results)


def _add_which(results):
    results.add_argument(
        "--filelists",
        type=cli.existing,
        metavar="DIR",
        help="folder with a val.txt, whose clips are measured (default: those that training held out, or all where it "
        "knew none)",
    )
    results.add_argument(
        "--split",
        type=cli.word,
        metavar="NAME",
        help="measure what <NAME>.txt in --filelists names, or without lists the clips in folders of that name, such "
        "as LRW's test; all: every clip (default: val.txt of --filelists)",
    )
    results.add_argument(
        "--identity",
        choices=list(IDENTITIES),
        help="the frame that the generator is shown beside the hidden one: the clip's first, a random one as in the "
        "paper, or for each frame the one furthest away (default: first)",
    )
    results.add_argument(
        "--filelist",
        type=cli.existing,
        metavar="FILE",
        help="Wav2Lip's list for evaluation: lines <clip of the sound> <clip of the face>, paths below --data_root "
        "without .mp4",
    )
    results.add_argument(
        "--order",
        choices=ORDERS,
        default=ORDERS[0],
        help="of the columns of --filelist: Wav2Lip's lists have the sound first, ReSyncED's the face",
    )
    results.add_argument(
        "--protocol",
        choices=list(PROTOCOLS),
        help="measure as a paper did: table 5 of LipGAN, table 1 of Wav2Lip, or its ReSyncED; fixes other flags, and "
        "says which",
    )
    results.add_argument(
        "--baseline",
        choices=list(BASELINES),
        help="in place of the generator's mouth: the identity frame, the same moved with the head, or the true frame",
    )


def _add_how(how):
    how.add_argument(
        "--metrics", type=cli.word, nargs="+", metavar="NAME", help="some of them (default: all that can be had)"
    )
    how.add_argument(
        "--syncnet",
        type=cli.existing,
        metavar="WEIGHTS",
        help="for LSE-D and LSE-C, of python -m lipgan_keras.syncnet convert",
    )
    how.add_argument(
        "--whole_frames",
        action="store_true",
        help="SyncNet sees whole frames of videos, squeezed, and not what its pipeline cuts around the face",
    )
    how.add_argument(
        "--inception", type=cli.existing, metavar="WEIGHTS", help="for the FID: Keras's InceptionV3 without its top"
    )
    how.add_argument("--lpips", type=cli.existing, metavar="FILE.onnx", help="for LPIPS: its network, on two images")
    how.add_argument(
        "--arcface", type=cli.existing, metavar="FILE.onnx", help="for identity_similarity: ArcFace's network"
    )
    how.add_argument(
        "--sync_checkpoint",
        type=cli.existing,
        metavar="FILE",
        help="with a discriminator of ours (default: --checkpoint)",
    )


def _add_out(out):
    out.add_argument(
        "--out",
        type=cli.path,
        metavar="DIR",
        help="for results.json, results.csv and videos (default: results/evaluation/<name>)",
    )
    out.add_argument("--report", action="store_true", help="write report.html there too")
    out.add_argument(
        "--num_workers", type=cli.integer(1, cli.MOST_PROCESSES), help="processes (default: one a core, at most 4)"
    )


def _check(parser, args):
    """Refuse flags that do not go together."""
    if args.generated or args.truth:
        names = ("checkpoint", "data_root", "filelist", *OF_CLIPS, "audio_offset_ms")
        wrong = [name for name in names if getattr(args, name) is not None]
        if wrong:
            parser.error(f"--{wrong[0]}: --generated and --truth say what is measured; leave one of the two away")
        if not (args.generated and args.truth):
            parser.error("--generated and --truth go together")
    elif not (args.checkpoint and args.data_root):
        parser.error("--generated and --truth are needed, or --checkpoint and --data_root")
    elif args.filelist:
        for name in OF_CLIPS:
            if getattr(args, name):
                parser.error(f"--{name}: --filelist says what is measured; leave one of the two away")
    if args.order != ORDERS[0] and not args.filelist:
        parser.error(f"--order {args.order}: is for the columns of --filelist; give that, or leave it away")
    if args.whole_frames and args.data_root and not args.filelist:
        parser.error("--whole_frames: is for videos, and preprocessed clips are crops of faces; leave it away")


def script() -> None:
    cli.run(main)
