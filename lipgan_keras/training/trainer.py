"""What train.py does: build, resume, drive Keras's `fit`, and the callbacks that log, validate and save."""

import argparse
import dataclasses
import os
from pathlib import Path

from .. import checkpoints
from ..config import FPS, ModelConfig
from ..data import clip_folder, splits
from ..data.augment_audio import Sound
from ..data.dataset import Dataset
from ..gan import LipGAN, Weights
from ..utils import files
from ..utils.backend import has_gpu, keras, precision
from ..utils.errors import UserError
from . import config as training_config
from .callbacks import Log
from .config import complete
from .validation import Validation


def train(args: argparse.Namespace) -> None:
    """Train as the flags of train.py say, or go on where `args.logdir` stands.

    Raises:
        UserError: bad data, checkpoints or flags, before training starts; later a file that cannot be read, or a loss
            that is not a number.
    """
    recipe = complete(args)
    logdir = Path(args.logdir)
    files.check_writable(logdir)
    for pattern in (".checkpoint.*.tmp.h5", ".log.*.tmp.csv", "samples/.step_*.tmp.png"):
        for left in logdir.glob(pattern):  # of a run killed while it saved
            left.unlink(missing_ok=True)
    latest = logdir / "checkpoint.h5"
    state = _resumable(latest, args) if latest.exists() else None
    config = _config(args, latest if state else None)
    sound = _sound(args)

    clips = clip_folder.find_clips(args.data_root, args.audio)
    train_clips, val_clips = splits.split_clips(clips, args.val_fraction, args.seed, args.filelists)
    if not state:
        # Folders of other programs hold the rectangles of their detectors: dlib's, or one much like it.
        ours = sum(clip.shown for clip in train_clips if clip.layout == "lipgan_keras")
        config.crop = "lipgan_keras" if 2 * ours >= sum(clip.shown for clip in train_clips) else "dlib"
    _warn(args, train_clips)
    data = Dataset(
        train_clips,
        config,
        args.batch_size,
        args.seed,
        generator=recipe.generator,
        pairs=args.disc_weight > 0,
        sync=args.sync_weight > 0,
        sync_runs=0 if args.sync_mode == "expert" else None,
        augmentation=args.augment,
        sound=sound,
        shared=has_gpu(),
    )
    steps = args.steps or args.epochs * -(-len(data) // (data.samples or data.sync_samples))
    if config.step >= steps:
        print(f"{latest}: has {config.step} steps already; ask for more with --steps or --epochs")
        return
    data.batch(config.step)  # whatever is wrong with the data or the batch size is said now

    run = Run(args, config, state, latest, wait=bool(val_clips))
    if state:
        print(f"{logdir}: goes on from step {config.step}")
    seconds = sum(clip.shown for clip in train_clips) / FPS
    generator = f", {config}" if recipe.generator else ""
    print(
        f"recipe {args.recipe}{generator}: {run.describe()}; {len(train_clips)} clips ({seconds / 60:.1f} min) to "
        f"train on, {len(val_clips)} held out; log in {logdir}"
    )
    validation = Validation(val_clips, train_clips, config, args.seed, run.models) if val_clips else None
    log = Log(run, config, args, steps, validation)
    try:
        with log:
            while config.step < steps:
                run.next_stage()
                later = run.quality_from or 0  # a step ahead where that of the discriminator is set
                log.run_stage(data, min(steps, later) if later > config.step else steps)
    except OSError as error:  # a full disc: a failing write does not name its file
        if error.filename or not error.errno:
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(logdir)) from error
    print(f"{latest}: {config.step} steps")


def _sound(args):
    """What augments the sound; None where nothing does."""
    names = [name for name in args.augment if name in ("gain", "noise")]
    return Sound(names, args.noise_dir, args.seed) if names else None


def _warn(args, clips):
    bare = sum(clip.landmarks is None for clip in clips)
    if bare:
        print(
            f"{args.data_root}: {bare} of {len(clips)} clips have no landmarks; a default region stands for their lips"
        )
    enlarged = [clip.saved_size for clip in clips if clip.saved_size and clip.saved_size < args.img_size]
    if enlarged:
        print(
            f"{args.data_root}: {len(enlarged)} of {len(clips)} clips are enlarged from {min(enlarged)} pixels, which "
            f"sharpens nothing; preprocess.py --img_size {args.img_size} makes better ones"
        )
    mute = sum(not clip.has_sound for clip in clips)
    if mute and {"gain", "noise"} & set(args.augment):
        print(f"{args.data_root}: {mute} of {len(clips)} clips hold features and no sound; theirs is not augmented")


class Run:
    """The networks of a training run, and the model that trains them in the present stage.

    Attributes:
        lipgan: `gan.LipGAN`.
        models: the networks by name.
        quality_from: the step at which the visual-quality discriminator starts; None: not yet known.
    """

    def __init__(self, args, config, state, latest, wait):
        self.args, self.config = args, config
        self.quality_from = args.quality_start
        if state:
            self.quality_from = state.get("quality_from")
        elif self.quality_from is None and not wait:
            self.quality_from = 0
        self.models = {}
        keras.utils.set_random_seed(args.seed)
        with precision(args.precision):
            if training_config.RECIPES[args.recipe].generator:
                self.models["generator"] = config.build_generator()
            if args.disc_weight:
                self.models["discriminator"] = config.build_discriminator()
            if args.sync_weight:
                self.models["sync"] = config.build_sync_discriminator()
        if state and args.quality_weight and "quality" in checkpoints.read_networks(latest):
            self._add_quality()
        self.lipgan = self._assemble()
        if state:
            for network in self.models.values():
                checkpoints.load_weights(network, latest)
            checkpoints.load_optimizers(self.lipgan.optimizers, latest)
            self.lipgan.lip_means.assign(state.get("lip_means", [0.0, 0.0]))
            for name, averages in self.lipgan.statistics.items():
                for average, variable in zip(averages, self.models[name].non_trainable_weights, strict=True):
                    average.assign(variable)
            checkpoints.load_raw({name: self.models[name] for name in self.lipgan.statistics}, latest)
            if self._schedule() == args.lr:
                for optimizer in self.lipgan.optimizers.values():
                    optimizer.learning_rate = args.lr
        else:
            for name, path in (
                ("generator", args.resume_gen),
                ("discriminator", args.resume_disc),
                ("sync", args.resume_sync),
            ):
                if path:
                    checkpoints.load_weights(self.models[name], path)

    def _add_quality(self):
        keras.utils.set_random_seed(self.args.seed + 1)  # the same weights whenever it starts
        with precision(self.args.precision):
            self.models["quality"] = self.config.build_quality_discriminator()

    def _schedule(self):
        """The learning rate, or how it goes."""
        args, schedules = self.args, keras.optimizers.schedules
        first = args.lr / max(1, args.warmup)
        if args.lr_schedule == "cosine":
            target = args.lr if args.warmup else None
            return schedules.CosineDecay(
                first, args.steps - args.warmup, warmup_target=target, warmup_steps=args.warmup
            )
        return schedules.PolynomialDecay(first, args.warmup, args.lr) if args.warmup else args.lr

    def _assemble(self):
        args = self.args
        weights = Weights(args.lip_weight, args.lip_share, args.disc_weight, args.sync_weight, args.quality_weight)
        train_sync = args.sync_mode == "joint"
        models = {"generator": None} | self.models
        options = {name: getattr(args, name) for name in ("seed", "ema", "clipnorm", "freeze_norm")}
        return LipGAN(**models, lr=self._schedule(), weights=weights, train_sync=train_sync, **options)

    def describe(self) -> str:
        return ", ".join(f"{name} {model.count_params():,} parameters" for name, model in self.models.items())

    def next_stage(self) -> None:
        """Start the visual-quality discriminator if it is time."""
        begun = "quality" in self.models or not self.args.quality_weight
        if begun or self.quality_from is None or self.config.step < self.quality_from:
            return
        self._add_quality()
        before, self.lipgan = self.lipgan, self._assemble()
        for name, optimizer in before.optimizers.items():
            for mine, theirs in zip(self.lipgan.optimizers[name].variables, optimizer.variables, strict=True):
                mine.assign(theirs)
        self.lipgan.lip_means.assign(before.lip_means)
        for name, averages in before.statistics.items():
            for mine, theirs in zip(self.lipgan.statistics[name], averages, strict=True):
                mine.assign(theirs)
        print(f"step {self.config.step}: the visual-quality discriminator starts")

    def save(self, path) -> None:
        args = self.args
        training = {name: getattr(args, name) for name in training_config.FIXED + training_config.PARTS} | {
            "lr": args.lr,
            "precision": args.precision,
            "filelists": args.filelists and os.path.abspath(args.filelists),
            "val_fraction": args.val_fraction,
            "lip_means": [float(value) for value in keras.ops.convert_to_numpy(self.lipgan.lip_means)],
            "quality_from": self.quality_from,
        }
        with self.lipgan.averaged() as raw:
            checkpoints.save_checkpoint(path, self.models, self.config, self.lipgan.optimizers, training, raw)


def _config(args, latest):
    if latest:
        config = checkpoints.read_config(latest)
        if args.audio_offset_ms not in (None, config.audio_offset_ms):
            raise UserError(
                f"{latest}: belongs to a run with --audio_offset_ms {config.audio_offset_ms:g}, not "
                f"{args.audio_offset_ms:g}; give the same command, or another --logdir"
            )
        return config
    config = ModelConfig(args.model, args.audio, args.width, args.img_size, sync_width=args.width)
    config.sync_frames = args.sync_frames or config.sync_frames
    if args.resume_gen:
        # The new run hears what the weights are used to hearing.
        known = checkpoints.read_config(args.resume_gen)
        config = dataclasses.replace(config, alignment=known.alignment, audio_offset_ms=known.audio_offset_ms)
    if args.audio_offset_ms is not None:
        config.audio_offset_ms = args.audio_offset_ms
    if args.resume_sync:
        checkpoints.check_holds(args.resume_sync, "sync")
        known = checkpoints.read_config(args.resume_sync)
        if args.sync_frames not in (None, known.sync_frames):
            raise UserError(
                f"{args.resume_sync}: was trained with --sync_frames {known.sync_frames}, not {args.sync_frames}"
            )
        for name in ("audio", "alignment", "audio_offset_ms"):
            if getattr(known, name) != getattr(config, name):
                raise UserError(
                    f"{args.resume_sync}: was trained with {name} {getattr(known, name)}, this run has "
                    f"{getattr(config, name)}; train an expert that hears the same"
                )
        config = dataclasses.replace(config, sync_frames=known.sync_frames, sync_width=known.sync_width)
    return config


def _resumable(latest, args):
    state = checkpoints.read_training(latest)
    if state is None:
        raise UserError(f"{latest}: was not written by train.py; choose another --logdir")
    if state.get("recipe") in training_config.RECIPES:
        # Runs of before a part was there had what their recipe says now.
        recipe = dataclasses.asdict(training_config.RECIPES[state["recipe"]])
        recipe["augment"] = list(recipe["augment"])
        state = training_config.LATER | {k: recipe[k] for k in recipe if k in training_config.PARTS} | state
    for name in training_config.FIXED + training_config.PARTS:
        theirs, ours = state.get(name), getattr(args, name)
        if theirs != ours:
            raise UserError(
                f"{latest}: belongs to a run with --{name} {_words(theirs)}, not {_words(ours)}; "
                "give the same command, or another --logdir"
            )
    return state


def _words(value):
    if value in (None, []):
        return "unset" if value is None else "none"
    return " ".join(value) if isinstance(value, list) else value
