"""The flags of train.py."""

from ..config import ALIGNMENTS, BLOCKS, IMG_SIZES, VARIANTS, WINDOW_SHAPE
from ..data.augment import NAMES
from ..data.order import BALANCES
from ..utils import cli, original_flags
from .config import ALL, LR_SCHEDULES, PRECISIONS, RECIPES, SYNC_MODES, TrainConfig

MOST_BATCH = 8192
MOST_DEVICES, MOST_HOSTS = 1024, 1024
ORIGINAL = {
    "--all_images": "no list of images is kept here, the folder is looked through each time",
    "--checkpoint_name": "is checkpoint.h5 here, in --logdir",
}


def main() -> None:
    _train("Train LipGAN on preprocessed clips.")


def main_unet() -> None:
    """train_unet.py, the original's script that trains the generator alone."""
    _train("Train LipGAN's generator alone on preprocessed clips: train.py --recipe unet.", recipe="unet")


def _train(description, **defaults):
    parser = cli.ArgumentParser(description=description)
    _add_run(parser)
    _add_checkpoints(parser)
    _add_losses(
        parser.add_argument_group("parts of the loss", "each with a weight; 0 turns it off; defaults are the recipe's")
    )
    _add_optimizer(parser.add_argument_group("how it is optimised", "by Keras's own means"))
    _add_data(parser.add_argument_group("variations of the data"))
    _add_devices(
        parser.add_argument_group("several devices and hosts", "with KERAS_BACKEND=jax; see docs/howto/cluster.md")
    )
    original_flags.add(parser, ORIGINAL)
    cli.set_defaults(parser, TrainConfig)
    parser.set_defaults(**defaults)
    options = TrainConfig(**vars(parser.parse_args()))
    options.completed().check_files()

    from . import trainer  # loads Keras

    trainer.train(options)


def _add_run(parser):
    parser.add_argument(
        "--data_root",
        type=cli.path,
        required=True,
        help="folder of preprocessed clips (any LipGAN's or Wav2Lip's), or what preprocess.py --pack made of it",
    )
    parser.add_argument(
        "--filelists", type=cli.path, help="folder with train.txt and maybe val.txt of <video>/<clip> lines"
    )
    parser.add_argument(
        "--val_fraction", type=cli.fraction(), help="share of the clips to hold out, by a hash of <video>/<clip>"
    )
    parser.add_argument(
        "--recipe",
        choices=list(RECIPES),
        help="lipgan: the paper's; unet: generator only, MAE; lipsync: lip-weighted loss, lip-sync and visual-quality "
        "discriminator; sync: the lip-sync discriminator alone, on real pairs",
    )
    parser.add_argument("--model", choices=VARIANTS, help="generator: which blocks it is made of, but for those named")
    for kind, names in BLOCKS.items():
        known = ", ".join(names)
        parser.add_argument(
            f"--{kind}",
            type=cli.word,
            metavar="NAME",
            help=f"of the generator: {known}, or one of --plugin (default: --model's)",
        )
    cli.add_plugin_flag(parser)
    parser.add_argument("--audio", choices=list(WINDOW_SHAPE), help="audio front end")
    parser.add_argument("--width", type=cli.limited("width"), help="factor on all channel counts")
    parser.add_argument("--img_size", type=int, choices=IMG_SIZES, help="side of the face crops in pixels")
    parser.add_argument(
        "--batch_size", type=cli.integer(1, MOST_BATCH), help="frames a step (with --recipe sync: runs of frames)"
    )
    parser.add_argument("--lr", type=cli.positive(), help="Adam's learning rate (default: 1e-4, with unet 1e-3)")
    parser.add_argument("--epochs", type=cli.integer(1), help="passes over all frames")
    parser.add_argument("--steps", type=cli.limited("steps", int), help="training steps in all, in place of --epochs")
    parser.add_argument(
        "--num_workers",
        type=cli.integer(1, cli.MOST_PROCESSES),
        help="threads that make batches, or processes for a GPU (default: one a core, at most 2 or 8)",
    )
    parser.add_argument(
        "--cache_mb",
        type=cli.at_least(0),
        metavar="MB",
        help="memory for decoded images; as much again for features, and for augmented audio",
    )
    parser.add_argument("--seed", type=cli.limited("seed", int), help="decides weights, batches and coins")


def _add_checkpoints(parser):
    parser.add_argument("--logdir", type=cli.path, help="checkpoint and logs; the same command goes on from there")
    parser.add_argument(
        "--resume_gen",
        "--resume",  # train_unet.py's name for it
        type=_checkpoint,
        help="checkpoint to take the generator's weights from",
    )
    parser.add_argument("--resume_disc", type=_checkpoint, help="checkpoint to take the paper's discriminator from")
    parser.add_argument("--resume_sync", type=cli.path, help="checkpoint to take the lip-sync discriminator from")
    parser.add_argument(
        "--alignment",
        choices=ALIGNMENTS,
        help="which audio window belongs to a frame: centred on it, or as the original's mel code has it in inference "
        "(released) or training (default: of --resume_gen, or centred; see docs/paper.md)",
    )
    parser.add_argument(
        "--audio_offset_ms",
        type=cli.limited("audio_offset_ms"),
        help="shift of the audio windows (default: of --resume_gen, or 0)",
    )
    parser.add_argument("--checkpoint_freq", type=cli.integer(1), help="steps between checkpoints")


def _add_losses(parts):
    parts.add_argument(
        "--lip_weight", type=cli.at_least(0), help="weight of a pixel inside the lips against 1 outside; 0 as 1"
    )
    parts.add_argument(
        "--lip_share",
        type=cli.fraction(above=True),
        help="share of the lips in the loss, 0 to 1, in place of a fixed --lip_weight",
    )
    parts.add_argument("--disc_weight", type=cli.at_least(0), help="weight of the paper's contrastive discriminator")
    parts.add_argument("--sync_weight", type=cli.at_least(0), help="weight of the lip-sync discriminator")
    parts.add_argument(
        "--sync_frames",
        type=cli.limited("sync_frames", int),
        help="frames that it sees at once (default: 5, or of --resume_sync)",
    )
    parts.add_argument(
        "--sync_mode",
        choices=SYNC_MODES,
        help="whether it learns beside the generator, or is frozen",
    )
    parts.add_argument("--quality_weight", type=cli.at_least(0), help="weight of the visual-quality discriminator")
    parts.add_argument(
        "--quality_start",
        type=cli.integer(0),
        metavar="STEP",
        help="steps before it begins (default: until the held-out lip error is 1.1 times as large under a wrong "
        "sound; none, if no clip is held out)",
    )


def _add_optimizer(speed):
    speed.add_argument(
        "--precision",
        choices=PRECISIONS,
        help="of the networks' arithmetic; weights and losses are float32",
    )
    speed.add_argument(
        "--ema",
        type=cli.fraction(),
        metavar="MOMENTUM",
        help="keep running means of the weights, such as 0.999, which validation and inference then use; 0: none",
    )
    speed.add_argument(
        "--lr_schedule",
        choices=LR_SCHEDULES,
        help="cosine: --lr falls to 0 until the last of --steps",
    )
    speed.add_argument("--warmup", type=cli.integer(0), metavar="STEPS", help="steps in which --lr rises from near 0")
    speed.add_argument(
        "--freeze_norm",
        action="store_true",
        help="keep the batch normalisation of --resume_gen as it is, which is less noise: to end a training with",
    )
    speed.add_argument(
        "--accumulate",
        type=cli.integer(1, MOST_BATCH),
        metavar="K",
        help="batches a step, run one after another, whose gradients are averaged, as those of a large batch",
    )
    speed.add_argument(
        "--clipnorm", type=cli.positive(), help="largest norm of the gradients of a network (default: any)"
    )


def _add_data(data):
    data.add_argument(
        "--augment",
        nargs="+",
        choices=[*NAMES, "none"],
        metavar="NAME",
        help="flip, crop, colour (of pictures), blur (of the mouths that the lip-sync discriminator learns from), "
        "gain, noise (of sound), upper (the upper half from another moment), voice (other formants and another "
        "tone), or none (default: the first six with lipsync and sync, else none)",
    )
    data.add_argument(
        "--balance",
        choices=BALANCES,
        help="what is drawn equally often: every frame, or every speaker, the first part of <speaker>/<clip>",
    )
    data.add_argument(
        "--noise_dir", type=cli.path, help="folder of sounds to mix in at 0 to 20 dB (default: synthesised music)"
    )


def _add_devices(devices):
    devices.add_argument(
        "--devices",
        "--n_gpu",  # the original's name for it
        type=_devices,
        metavar="N|all",
        help="devices of each host that share each batch; --batch_size is that of all of them",
    )
    devices.add_argument(
        "--hosts",
        type=cli.integer(1, MOST_HOSTS),
        help="processes, one a host, that train together (default: KERAS_DISTRIBUTION_NUM_PROCESSES, or 1)",
    )
    devices.add_argument(
        "--host_id",
        type=cli.integer(0, MOST_HOSTS),
        help="which of them this is, from 0; number 0 logs, validates and writes "
        "(default: KERAS_DISTRIBUTION_PROCESS_ID)",
    )
    devices.add_argument(
        "--coordinator",
        type=cli.word,
        metavar="HOST:PORT",
        help="address of number 0, with a free port (default: KERAS_DISTRIBUTION_JOB_ADDRESSES)",
    )


def _checkpoint(text):
    return original_flags.checkpoint(cli.path(text))


def _devices(text):
    return text if text == ALL else cli.integer(1, MOST_DEVICES)(text)


def script() -> None:
    cli.run(main)
