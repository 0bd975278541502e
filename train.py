"""Train LipGAN on preprocessed clips."""

from lipgan_keras import cli


def main():
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("--data_root", required=True, help="folder of preprocessed clips (any LipGAN's or Wav2Lip's)")
    parser.add_argument("--filelists", help="folder with train.txt and maybe val.txt of <video>/<clip> lines")
    parser.add_argument("--val_fraction", type=cli.fraction, default=0.05, help="share of the clips to hold out")
    parser.add_argument("--recipe", choices=["lipgan", "unet"], default="lipgan", help="unet: generator only, MAE")
    parser.add_argument("--model", choices=["residual", "basic"], default="residual", help="generator")
    parser.add_argument("--audio", choices=["mel", "mfcc"], default="mel", help="audio front end")
    parser.add_argument("--width", type=cli.positive(), default=1.0, help="factor on all channel counts")
    parser.add_argument("--img_size", type=int, choices=[96], default=96, help="side of the face crops")
    parser.add_argument("--batch_size", type=cli.integer(1), default=96, help="samples a step")
    parser.add_argument("--lr", type=cli.positive(), help="Adam's learning rate (default: 1e-4, with unet 1e-3)")
    parser.add_argument("--epochs", type=cli.integer(1), default=20_000_000, help="passes over all frames")
    parser.add_argument("--steps", type=cli.integer(1), help="training steps in all, in place of --epochs")
    parser.add_argument("--logdir", default="logs/", help="checkpoint and logs; the same command goes on from there")
    parser.add_argument("--resume_gen", help="checkpoint to take the generator's weights from")
    parser.add_argument("--resume_disc", help="checkpoint to take the discriminator's weights from")
    parser.add_argument("--audio_offset_ms", type=cli.finite, help="shift of the audio windows (default: of --resume_gen, or 0)")
    parser.add_argument("--checkpoint_freq", type=cli.integer(1), default=1000, help="steps between checkpoints")
    parser.add_argument("--seed", type=cli.integer(0), default=0, help="decides weights, batches and coins")
    args = parser.parse_args()

    from lipgan_keras import training

    training.train(args)


if __name__ == "__main__":
    cli.run(main)
