"""What train.py does: build, resume, drive Keras's `fit`, and the callbacks that log, validate and save."""

import argparse
import csv
import dataclasses
import io
import os
import time
from pathlib import Path

import cv2
import numpy as np
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary
from tqdm import tqdm

from . import augment, checkpoints, cli, dataset, loading, metrics, sync_accuracy
from .backend import BACKEND, has_gpu, keras, precision
from .checkpoints import ModelConfig
from .cli import UserError
from .gan import ADVERSARIAL_WEIGHT, LipGAN, Weights
from .networks import predict


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A preset of train.py: each field but the last is the default of the flag of that name."""

    lr: float
    lip_weight: float = 1.0  # of a pixel inside the lips
    disc_weight: float = 0.0  # of the contrastive discriminator's loss; 0: without it, and likewise
    sync_weight: float = 0.0  # the lip-sync discriminator's
    quality_weight: float = 0.0  # the visual-quality discriminator's
    augment: tuple[str, ...] = ()
    generator: bool = True


RECIPES = {
    "unet": Recipe(lr=1e-3),
    "lipgan": Recipe(lr=1e-4, disc_weight=ADVERSARIAL_WEIGHT),
    "lipsync": Recipe(lr=1e-4, lip_weight=6.0, sync_weight=2e-4, quality_weight=1e-3, augment=augment.NAMES),
    "sync": Recipe(lr=1e-4, sync_weight=1.0, augment=augment.NAMES, generator=False),
}
LOG_FREQ = 50  # steps between rows of the log
VAL_SAMPLES = 256
# The visual-quality discriminator starts when the lip error under a wrong sound is so many times that under the right
# one.
SOUND_USED = 1.1
# A run cannot go on with other values of these.
FIXED = ("recipe", "model", "audio", "width", "img_size", "batch_size", "seed")
PARTS = ("lip_weight", "lip_share", "disc_weight", "sync_weight", "sync_frames", "sync_mode", "quality_weight")
PARTS += ("quality_start", "augment", "noise_dir", "ema", "lr_schedule", "warmup", "clipnorm", "freeze_norm")
# In runs of before these
LATER = {"img_size": 96, "sync_mode": "joint", "ema": 0.0, "lr_schedule": "constant", "warmup": 0, "freeze_norm": False}
FLUSH = 10  # steps of which the losses are fetched at once, so that a step need not wait for the one before


def train(args: argparse.Namespace) -> None:
    """Train as the flags of train.py say, or go on where `args.logdir` stands.

    Raises:
        UserError: bad data, checkpoints or flags, before training starts; later a file that cannot be read, or a loss
            that is not a number.
    """
    recipe = _complete(args)
    logdir = Path(args.logdir)
    cli.check_writable(logdir)
    for pattern in (".checkpoint.*.tmp.h5", ".log.*.tmp.csv", "samples/.step_*.tmp.png"):
        for left in logdir.glob(pattern):  # of a run killed while it saved
            left.unlink(missing_ok=True)
    latest = logdir / "checkpoint.h5"
    state = _resumable(latest, args) if latest.exists() else None
    config = _config(args, latest if state else None)
    sound = _sound(args)

    clips = dataset.find_clips(args.data_root, args.audio)
    train_clips, val_clips = dataset.split_clips(clips, args.val_fraction, args.seed, args.filelists)
    if not state:
        # Folders of other programs hold the rectangles of their detectors: dlib's, or one much like it.
        ours = sum(clip.shown for clip in train_clips if clip.layout == "lipgan_keras")
        config.crop = "lipgan_keras" if 2 * ours >= sum(clip.shown for clip in train_clips) else "dlib"
    _warn(args, train_clips)
    data = dataset.Dataset(
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
    seconds = sum(clip.shown for clip in train_clips) / dataset.FPS
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


def _complete(args) -> Recipe:
    """Fill in what the recipe decides where no flag does, and refuse what does not go together."""
    recipe = RECIPES[args.recipe]
    if not recipe.generator:
        for name in ("lip_weight", "lip_share", "disc_weight", "quality_weight", "quality_start"):
            if getattr(args, name) is not None:
                raise UserError(
                    f"--{name}: --recipe {args.recipe} trains the lip-sync discriminator alone; leave it away"
                )
    if args.augment and "none" in args.augment and len(args.augment) > 1:
        raise UserError("--augment none: goes with no other name; leave it away, or them")
    if args.lip_share is not None and args.lip_weight is not None:
        raise UserError("--lip_share makes its own --lip_weight; give one of the two")
    for field in dataclasses.fields(recipe):
        if field.name != "generator" and getattr(args, field.name) is None:
            setattr(args, field.name, getattr(recipe, field.name))
    args.augment = sorted(set(args.augment) - {"none"}, key=augment.NAMES.index)
    args.lip_weight = args.lip_weight or 1.0  # 0 turns it off, like the other weights
    if args.noise_dir is not None and "noise" not in args.augment:
        raise UserError(f"--noise_dir {args.noise_dir}: noise is not mixed in here; add --augment noise")
    if not recipe.generator:
        if not args.sync_weight:
            raise UserError("--recipe sync: trains the lip-sync discriminator; leave --sync_weight 0 away")
        if args.sync_mode == "expert":
            raise UserError(
                "--recipe sync: trains the lip-sync discriminator; --sync_mode expert is for one that is frozen"
            )
        if args.freeze_norm:
            raise UserError("--freeze_norm: --recipe sync has no generator; leave it away")
        if args.resume_gen:
            raise UserError(f"--resume_gen {args.resume_gen}: --recipe sync has no generator; leave it away")
    if args.freeze_norm and not args.resume_gen:
        raise UserError(
            "--freeze_norm: keeps the statistics of a generator that has learned; name it with --resume_gen"
        )
    if args.resume_disc and not args.disc_weight:
        raise UserError(
            f"--resume_disc {args.resume_disc}: --recipe {args.recipe} has no contrastive discriminator here; leave it "
            "away, or add --disc_weight"
        )
    if args.resume_sync and not args.sync_weight:
        raise UserError(f"--resume_sync {args.resume_sync}: there is no lip-sync discriminator; add --sync_weight")
    if args.lr_schedule == "cosine" and not args.steps:
        raise UserError("--lr_schedule cosine: ends with the last step; say which with --steps")
    if args.steps and args.warmup >= args.steps:
        raise UserError(f"--warmup {args.warmup}: is not over within --steps {args.steps}; use fewer")
    if args.quality_start is not None and not args.quality_weight:
        raise UserError("--quality_start: there is no visual-quality discriminator; add --quality_weight")
    if args.sync_mode == "expert" and not args.sync_weight:
        raise UserError("--sync_mode expert: there is no lip-sync discriminator; add --sync_weight")
    if args.sync_mode == "expert" and not args.resume_sync:
        raise UserError(
            "--sync_mode expert: needs the checkpoint of one (train.py --recipe sync); name it with --resume_sync"
        )
    return recipe


def _sound(args):
    """What augments the sound; None where nothing does."""
    names = [name for name in args.augment if name in ("gain", "noise")]
    return augment.Sound(names, args.noise_dir, args.seed) if names else None


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
            if RECIPES[args.recipe].generator:
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
                for average, variable in zip(averages, self.models[name].non_trainable_variables, strict=True):
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
        training = {name: getattr(args, name) for name in FIXED + PARTS} | {
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
    if state.get("recipe") in RECIPES:
        # Runs of before a part was there had what their recipe says now.
        recipe = dataclasses.asdict(RECIPES[state["recipe"]])
        recipe["augment"] = list(recipe["augment"])
        state = LATER | {k: recipe[k] for k in recipe if k in PARTS} | state
    for name in FIXED + PARTS:
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


class Validation:
    """Fixed samples of the held-out clips: errors under their own sound and under another's, and the sync accuracy of
    the discriminators, whose thresholds come from clips that are trained on.

    Attributes:
        columns: names of what a call returns.
        sound_used: whether the generator's lips, when last judged, were much worse under a wrong sound.
    """

    def __init__(
        self,
        clips: list[dataset.Clip],
        train_clips: list[dataset.Clip],
        config: ModelConfig,
        seed: int,
        models: dict[str, keras.Model],
        samples: int = VAL_SAMPLES,
    ):
        self.columns, self.sound_used = [], False
        self.models = models
        if "generator" in models:
            self.columns += ["val_mae", "val_lip_mae", "val_lip_mae_wrong_sound"]
            self._draw(dataset.Dataset(clips, config, batch_size=1, pairs=False), seed, samples)
        judges = {"sync": "val_sync_accuracy", "discriminator": "val_disc_accuracy"}
        self.judges = {name: column for name, column in judges.items() if name in models}
        self.columns += self.judges.values()
        if self.judges:
            sides = [sync_accuracy.pairs_of(side, config, models, seed) for side in (train_clips, clips)]
            self.pairs = [list(sync_accuracy.draw(side, samples, seed)) for side in sides]

    def _draw(self, data, seed, samples):
        rng = np.random.default_rng([seed, 2])
        chosen = np.unique(np.linspace(0, len(data) - 1, min(samples, len(data))).astype(int))
        drawn, wrong = [], []
        for clip, frame in zip(data.clip_of[chosen], data.frame_of[chosen], strict=True):
            drawn.append(data.sample(clip, frame, rng))
            wrong.append(self._wrong(data, clip, frame, rng))
        self.wrong = np.stack(wrong)
        self.faces, self.audio, self.targets, self.masks = (
            np.concatenate([sample[name] for sample in drawn]) for name in ("faces", "audio", "targets", "masks")
        )

    @staticmethod
    def _wrong(data, clip, frame, rng):
        """The window of another clip, or of another time where there is one clip only."""
        if len(data.clips) == 1:
            count = data.clips[clip].shown
            return data.window(clip, (frame + count // 2) % count)
        other = (clip + 1 + int(rng.integers(len(data.clips) - 1))) % len(data.clips)
        return data.window(other, int(rng.integers(data.clips[other].shown)))

    def __call__(self) -> dict[str, float]:
        """The values of `columns`; keeps the predictions for `grid`.

        Raises:
            FloatingPointError: a prediction is not a number.
        """
        values = {}
        if "generator" in self.models:
            size = min(64, len(self.faces))
            self.predictions = predict(self.models["generator"], self.faces, self.audio, size)
            if not np.isfinite(self.predictions).all():
                raise FloatingPointError("the generator's output is not a number")
            wrong = predict(self.models["generator"], self.faces, self.wrong, size)
            masks = self.masks[..., 0]
            values = {
                "val_mae": float(np.abs(self.targets - self.predictions).mean()),
                "val_lip_mae": float(np.nanmean(metrics.lip_mae(masks, self.targets, self.predictions))),
                "val_lip_mae_wrong_sound": float(np.nanmean(metrics.lip_mae(masks, self.targets, wrong))),
            }
            self.sound_used = values["val_lip_mae_wrong_sound"] >= SOUND_USED * values["val_lip_mae"]
        if self.judges:
            found = sync_accuracy.held_out_accuracy(*(sync_accuracy.score(self.models, drawn) for drawn in self.pairs))
            values |= {column: found[name] for name, column in self.judges.items()}
        return values

    def grid(self, rows: int = 8) -> np.ndarray | None:
        """(rows * H, 4 * W, 3) uint8 BGR: identity, masked target, truth, output of the last call."""
        if "generator" not in self.models:
            return None
        chosen = np.linspace(0, len(self.faces) - 1, min(rows, len(self.faces))).astype(int)
        columns = self.faces[..., :3], self.faces[..., 3:], self.targets, self.predictions
        picture = np.concatenate([np.concatenate(list(column[chosen])) for column in columns], axis=1)
        return np.clip(np.rint(picture * 255), 0, 255).astype("uint8")


class Log(keras.callbacks.Callback):
    """Progress bar, `log.csv`, TensorBoard events, picture grids, validation and `checkpoint.h5`.

    Rows are means since the row before. A row is written at every checkpoint, before it is saved: a resumed run cuts
    the log back to its checkpoint, and so ends with the rows of a run that was never killed.
    """

    def __init__(self, run, config, args, steps, validation):
        super().__init__()
        self.run = run
        self.config = config
        self.logdir = Path(args.logdir)
        self.checkpoint_freq = args.checkpoint_freq
        self.num_workers = args.num_workers
        self.steps = steps
        self.validation = validation
        self.columns = ["step", *_columns(args), *(validation.columns if validation else [])]
        self.values, self.pending = [], []

    def __enter__(self):
        self._cut_log()
        # Not SummaryWriter: its thread takes a failing write (a full disc) to its grave, and the run waits for it
        # forever.
        self.events = EventsWriter(str(self.logdir / "events"))
        self._event(session_log=SessionLog(status=SessionLog.START), step=self.config.step + 1)  # hides what came after
        self.bar = tqdm(
            initial=self.config.step, total=self.steps, unit="step", dynamic_ncols=True, smoothing=0.05, mininterval=0.5
        )
        return self

    def __exit__(self, kind, value, traceback):
        self.bar.close()
        try:
            self.events.close()
        except OSError:  # the disc is full: an error on its way out says so
            if kind is None:
                raise

    def run_stage(self, data: dataset.Dataset, until: int) -> None:
        """Train to step `until`, or until the visual-quality discriminator may start."""
        # One Keras epoch: Keras's epochs would have to begin where checkpoints do, and a resumed run need not.
        left = until - self.config.step
        with loading.Loader(data, self.config.step, self.num_workers, processes=has_gpu()) as loader:
            self.run.lipgan.fit(
                iter(loader), steps_per_epoch=left, epochs=1, shuffle=False, verbose=0, callbacks=[self]
            )

    def on_train_batch_end(self, batch, logs=None):
        self.config.step += 1
        step = self.config.step
        self.pending.append(dict(logs))
        last = step == self.steps
        if last or len(self.pending) >= FLUSH or step % LOG_FREQ == 0 or step % self.checkpoint_freq == 0:
            self._flush()
        self.bar.update()
        if last or step % self.checkpoint_freq == 0:
            self._row(self._validate())
            self._save()
        elif step % LOG_FREQ == 0:
            self._row({})

    def _flush(self):
        """Fetch the losses of the last steps."""
        self.values += [{name: float(value) for name, value in logs.items()} for logs in self.pending]
        self.pending = []
        recent = self.values[-20:]
        shown = [name for name in SHOWN if name in recent[-1]]
        means = {name: np.mean([v[name] for v in recent if name in v]) for name in shown}
        self.bar.set_postfix({name: f"{mean:.4f}" for name, mean in means.items()}, refresh=False)
        if not all(np.isfinite(list(values.values())).all() for values in recent):
            self._diverged()

    def _diverged(self):
        raise UserError(f"{self.logdir}: the loss is not a number at step {self.config.step}; use a smaller --lr")

    def _validate(self):
        if BACKEND == "jax":
            self.run.lipgan.jax_state_sync()  # `fit` keeps the weights to itself between the steps
        if not all(np.isfinite(v).all() for model in self.run.models.values() for v in model.get_weights()):
            self._diverged()  # the next loss would not be a number
        if not self.validation:
            return {}
        try:
            with self.run.lipgan.averaged():
                values = self.validation()
        except FloatingPointError:
            self._diverged()
        picture = self.validation.grid()
        if picture is not None:
            path = self.logdir / "samples" / f"step_{self.config.step:08d}.png"
            png = cv2.imencode(".png", picture)[1].tobytes()
            with cli.replacing(path) as temporary:
                temporary.write_bytes(png)
            image = Summary.Image(height=len(picture), width=picture.shape[1], colorspace=3, encoded_image_string=png)
            self._event(summary=Summary(value=[Summary.Value(tag="samples", image=image)]))
        self.bar.write(f"step {self.config.step}: " + ", ".join(f"{k} {v:.5f}" for k, v in values.items()))
        return values

    def _row(self, validation):
        names = [name for name in self.columns if any(name in v for v in self.values)]
        means = {name: float(np.mean([v[name] for v in self.values if name in v])) for name in names}
        row = {"step": self.config.step} | means | validation
        with open(self.logdir / "log.csv", "a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.columns)
            if file.tell() == 0:
                writer.writeheader()
            writer.writerow(row)
        scalars = [Summary.Value(tag=name, simple_value=value) for name, value in row.items() if name != "step"]
        self._event(summary=Summary(value=scalars))
        self.values = []

    def _event(self, step=None, **what):
        step = self.config.step if step is None else step
        self.events.write_event(Event(wall_time=time.time(), step=step, **what))
        self.events.flush()

    def _save(self):
        if self.validation and self.validation.sound_used and self.run.quality_from is None:
            self.run.quality_from = self.config.step
            self.model.stop_training = bool(self.run.args.quality_weight)  # this stage is over
        self.run.save(self.logdir / "checkpoint.h5")

    def _cut_log(self):
        """Drop the rows after the checkpoint, which this run will write again."""
        path = self.logdir / "log.csv"
        if not path.exists():
            return
        text = io.StringIO(path.read_text("utf-8", errors="replace"))
        rows = [row for row in csv.DictReader(text) if _step(row) <= self.config.step]
        with cli.replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)


SHOWN = ("disc", "sync", "mae", "lip_mae", "match", "match_adv", "quality")  # beside the progress bar


def _columns(args):
    """What each step logs, in the order of the log."""
    names = []
    if args.disc_weight:
        names += ["disc", "unsync", "sync"]
    if args.sync_weight and args.sync_mode == "joint":
        names += ["match"]
    if args.quality_weight:
        names += ["quality"]
    if RECIPES[args.recipe].generator:
        names += ["total", "mae", "lip_mae", "lip_share"]
        names += ["lip_weight"] if args.lip_share is not None else []
        names += ["adv"] if args.disc_weight else []
        names += ["match_adv"] if args.sync_weight else []
        names += ["quality_adv"] if args.quality_weight else []
    return names


def _step(row):
    whole = None not in row.values()  # else a line cut short, by a full disc
    return int(row["step"]) if whole and row.get("step", "").isdecimal() else float("inf")
