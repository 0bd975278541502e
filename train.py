"""Train LipGAN on preprocessed clips."""

from lipgan_keras.utils import cli
from lipgan_keras.utils.cli import ArgumentParser


def main():
    parser = ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data_root",
        required=True,
        help="folder of preprocessed clips (any LipGAN's or Wav2Lip's), or what preprocess.py --pack made of it",
    )
    parser.add_argument("--filelists", help="folder with train.txt and maybe val.txt of <video>/<clip> lines")
    parser.add_argument("--val_fraction", type=cli.fraction, default=0.05, help="share of the clips to hold out")
    parser.add_argument(
        "--recipe",
        choices=["lipgan", "unet", "lipsync", "sync"],
        default="lipgan",
        help="lipgan: the paper's; unet: generator only, MAE; lipsync: lip-weighted loss, lip-sync and visual-quality "
        "discriminator; sync: the lip-sync discriminator alone, on real pairs",
    )
    parser.add_argument("--model", choices=["residual", "basic"], default="residual", help="generator")
    parser.add_argument("--audio", choices=["mel", "mfcc"], default="mel", help="audio front end")
    parser.add_argument("--width", type=cli.positive(), default=1.0, help="factor on all channel counts")
    parser.add_argument("--img_size", type=int, choices=[96, 192], default=96, help="side of the face crops in pixels")
    parser.add_argument(
        "--batch_size", type=cli.integer(1), default=96, help="frames a step (with --recipe sync: runs of frames)"
    )
    parser.add_argument("--lr", type=cli.positive(), help="Adam's learning rate (default: 1e-4, with unet 1e-3)")
    parser.add_argument("--epochs", type=cli.integer(1), default=20_000_000, help="passes over all frames")
    parser.add_argument("--steps", type=cli.integer(1), help="training steps in all, in place of --epochs")
    parser.add_argument("--logdir", default="logs/", help="checkpoint and logs; the same command goes on from there")
    parser.add_argument("--resume_gen", help="checkpoint to take the generator's weights from")
    parser.add_argument("--resume_disc", help="checkpoint to take the paper's discriminator from")
    parser.add_argument("--resume_sync", help="checkpoint to take the lip-sync discriminator from")
    parser.add_argument(
        "--audio_offset_ms", type=cli.finite, help="shift of the audio windows (default: of --resume_gen, or 0)"
    )
    parser.add_argument("--checkpoint_freq", type=cli.integer(1), default=1000, help="steps between checkpoints")
    parser.add_argument(
        "--num_workers",
        type=cli.integer(1),
        help="threads that make batches, or processes for a GPU (default: one a core, at most 2 or 8)",
    )
    parser.add_argument("--seed", type=cli.integer(0), default=0, help="decides weights, batches and coins")
    parts = parser.add_argument_group(
        "parts of the loss", "each with a weight; 0 turns it off; defaults are the recipe's"
    )
    parts.add_argument(
        "--lip_weight", type=cli.at_least(0), help="weight of a pixel inside the lips against 1 outside; 0 as 1"
    )
    parts.add_argument(
        "--lip_share", type=cli.share, help="share of the lips in the loss, 0 to 1, in place of a fixed --lip_weight"
    )
    parts.add_argument("--disc_weight", type=cli.at_least(0), help="weight of the paper's contrastive discriminator")
    parts.add_argument("--sync_weight", type=cli.at_least(0), help="weight of the lip-sync discriminator")
    parts.add_argument(
        "--sync_frames", type=cli.integer(1), help="frames that it sees at once (default: 5, or of --resume_sync)"
    )
    parts.add_argument(
        "--sync_mode",
        choices=["joint", "expert"],
        default="joint",
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
    speed = parser.add_argument_group("how it is optimised", "by Keras's own means")
    speed.add_argument(
        "--precision",
        choices=["float32", "mixed_bfloat16"],
        default="float32",
        help="of the networks' arithmetic; weights and losses are float32",
    )
    speed.add_argument(
        "--ema",
        type=cli.fraction,
        default=0.0,
        metavar="MOMENTUM",
        help="keep running means of the weights, such as 0.999, which validation and inference then use; 0: none",
    )
    speed.add_argument(
        "--lr_schedule",
        choices=["constant", "cosine"],
        default="constant",
        help="cosine: --lr falls to 0 until the last of --steps",
    )
    speed.add_argument(
        "--warmup", type=cli.integer(0), default=0, metavar="STEPS", help="steps in which --lr rises from near 0"
    )
    speed.add_argument(
        "--freeze_norm",
        action="store_true",
        help="keep the batch normalisation of --resume_gen as it is, which is less noise: to end a training with",
    )
    speed.add_argument(
        "--clipnorm", type=cli.positive(), help="largest norm of the gradients of a network (default: any)"
    )
    data = parser.add_argument_group("variations of the data")
    data.add_argument(
        "--augment",
        nargs="+",
        choices=["flip", "crop", "colour", "blur", "gain", "noise", "none"],
        metavar="NAME",
        help="flip, crop, colour (of pictures), blur (of the mouths that the lip-sync discriminator learns from), "
        "gain, noise (of sound), or none (default: all with lipsync and sync, else none)",
    )
    data.add_argument("--noise_dir", help="folder of sounds to mix in at 0 to 20 dB (default: synthesised music)")
    args = parser.parse_args()

    from lipgan_keras.training import trainer

    trainer.train(args)


if __name__ == "__main__":
    cli.run(main)
