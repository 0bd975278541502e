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

from . import checkpoints, cli, dataset, faces, metrics
from .backend import BACKEND, keras
from .checkpoints import ModelConfig
from .cli import UserError
from .gan import LipGAN
from .networks import predict

# What a recipe trains, and the reference's learning rate for it.
RECIPES = {
    "unet": {"discriminator": False, "lr": 1e-3},
    "lipgan": {"discriminator": True, "lr": 1e-4},
}
LOG_FREQ = 50  # steps between rows of the log
VAL_SAMPLES = 256
FIXED = ("recipe", "model", "audio", "width", "batch_size", "seed")  # a run cannot go on with other values of these


def train(args: argparse.Namespace) -> None:
    """Train as the flags of train.py say, or go on where `args.logdir` stands.

    Raises:
        UserError: bad data, checkpoints or flags, before training starts; later a file that cannot be read, or a loss
            that is not a number.
    """
    recipe = RECIPES[args.recipe]
    lr = args.lr or recipe["lr"]
    logdir = Path(args.logdir)
    cli.check_writable(logdir)
    for pattern in (".checkpoint.*.tmp.h5", ".log.*.tmp.csv", "samples/.step_*.tmp.png"):
        for left in logdir.glob(pattern):  # of a run killed while it saved
            left.unlink(missing_ok=True)
    latest = logdir / "checkpoint.h5"
    state = _resumable(latest, args) if latest.exists() else None
    config = _config(args, latest if state else None)
    if args.resume_disc and not recipe["discriminator"]:
        raise UserError(f"--resume_disc {args.resume_disc}: --recipe {args.recipe} has no discriminator; leave it away")

    clips = dataset.find_clips(args.data_root, args.audio)
    train_clips, val_clips = dataset.split_clips(clips, args.val_fraction, args.seed, args.filelists)
    if not state:
        # Folders of other programs hold the rectangles of their detectors: dlib's, or one much like it.
        ours = sum(len(clip.frames) for clip in train_clips if clip.layout == "lipgan_keras")
        config.crop = "lipgan_keras" if 2 * ours >= sum(len(clip.frames) for clip in train_clips) else "dlib"
    data = dataset.Dataset(train_clips, config, args.batch_size, args.seed, pairs=recipe["discriminator"])
    steps = args.steps or args.epochs * -(-len(data) // args.batch_size)
    if config.step >= steps:
        print(f"{latest}: has {config.step} steps already; ask for more with --steps or --epochs")
        return
    data.batch(config.step)  # whatever is wrong with the data or the batch size is said now

    keras.utils.set_random_seed(args.seed)
    generator = config.build_generator()
    discriminator = config.build_discriminator() if recipe["discriminator"] else None
    model = LipGAN(generator, discriminator, lr=lr, seed=args.seed)
    if state:
        for network in model.models.values():
            checkpoints.load_weights(network, latest)
        checkpoints.load_optimizers(model.optimizers, latest)
        for optimizer in model.optimizers.values():
            optimizer.learning_rate = lr
        print(f"{logdir}: goes on from step {config.step}")
    else:
        if args.resume_gen:
            checkpoints.load_weights(generator, args.resume_gen)
        if args.resume_disc and discriminator is not None:
            checkpoints.load_weights(discriminator, args.resume_disc)

    seconds = sum(len(clip.frames) for clip in train_clips) / dataset.FPS
    print(
        f"recipe {args.recipe}, {config}: {generator.count_params():,} parameters; {len(train_clips)} clips "
        f"({seconds / 60:.1f} min) to train on, {len(val_clips)} held out; log in {logdir}"
    )
    validation = Validation(val_clips, config, args.seed) if val_clips else None
    settings = {name: getattr(args, name) for name in FIXED} | {"lr": lr}
    log = Log(model, config, logdir, args.checkpoint_freq, steps, settings, validation)
    # One Keras epoch: Keras's epochs would have to begin where checkpoints do, and a resumed run need not.
    left = steps - config.step
    try:
        with log, dataset.Loader(data, config.step) as loader:
            model.fit(iter(loader), steps_per_epoch=left, epochs=1, shuffle=False, verbose=0, callbacks=[log])
    except OSError as error:  # a full disc: a failing write does not name its file
        if error.filename or not error.errno:
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(logdir)) from error
    print(f"{latest}: {config.step} steps")


def _config(args, latest):
    if latest:
        config = checkpoints.read_config(latest)
        if args.audio_offset_ms not in (None, config.audio_offset_ms):
            raise UserError(
                f"{latest}: belongs to a run with --audio_offset_ms {config.audio_offset_ms:g}, not "
                f"{args.audio_offset_ms:g}; give the same command, or another --logdir"
            )
        return config
    config = ModelConfig(args.model, args.audio, args.width, args.img_size)
    if args.resume_gen:
        # The new run hears what the weights are used to hearing.
        known = checkpoints.read_config(args.resume_gen)
        config = dataclasses.replace(config, alignment=known.alignment, audio_offset_ms=known.audio_offset_ms)
    if args.audio_offset_ms is not None:
        config.audio_offset_ms = args.audio_offset_ms
    return config


def _resumable(latest, args):
    state = checkpoints.read_training(latest)
    if state is None:
        raise UserError(f"{latest}: was not written by train.py; choose another --logdir")
    for name in FIXED:
        if state.get(name) != getattr(args, name):
            raise UserError(
                f"{latest}: belongs to a run with --{name} {state.get(name)}, not {getattr(args, name)}; "
                "give the same command, or another --logdir"
            )
    return state


class Validation:
    """Fixed samples of the held-out clips: errors under their own sound and under another's."""

    def __init__(self, clips: list[dataset.Clip], config: ModelConfig, seed: int, samples: int = VAL_SAMPLES):
        data = dataset.Dataset(clips, config, batch_size=1, pairs=False)
        rng = np.random.default_rng([seed, 2])
        chosen = np.unique(np.linspace(0, len(data) - 1, min(samples, len(data))).astype(int))
        self.faces, self.audio, self.wrong, self.targets, self.masks = [], [], [], [], []
        self.clip = data.clip_of[chosen]
        for clip, frame in zip(self.clip, data.frame_of[chosen], strict=True):
            face, audio, target = data.sample(clip, frame, rng)
            self.faces.append(face)
            self.audio.append(audio)
            self.targets.append(target)
            self.wrong.append(self._wrong(data, clip, frame, rng))
            points = data.clips[clip].landmarks
            points = faces.default_landmarks(config.img_size, "dlib") if points is None else points[frame]
            self.masks.append(faces.lip_mask(points, config.img_size))
        self.faces, self.audio, self.wrong, self.targets, self.masks = map(
            np.stack, (self.faces, self.audio, self.wrong, self.targets, self.masks)
        )

    @staticmethod
    def _wrong(data, clip, frame, rng):
        """The window of another clip, or of another time where there is one clip only."""
        if len(data.clips) == 1:
            count = len(data.clips[clip].frames)
            return data.window(clip, (frame + count // 2) % count)
        other = (clip + 1 + int(rng.integers(len(data.clips) - 1))) % len(data.clips)
        return data.window(other, int(rng.integers(len(data.clips[other].frames))))

    def __call__(self, generator: keras.Model) -> dict[str, float]:
        """`val_mae`, `val_lip_mae` and `val_lip_mae_wrong_sound`; keeps the predictions for `grid`.

        Raises:
            FloatingPointError: a prediction is not a number.
        """
        size = min(64, len(self.faces))
        self.predictions = predict(generator, self.faces, self.audio, size)
        if not np.isfinite(self.predictions).all():
            raise FloatingPointError("the generator's output is not a number")
        wrong = predict(generator, self.faces, self.wrong, size)
        return {
            "val_mae": float(np.abs(self.targets - self.predictions).mean()),
            "val_lip_mae": float(np.nanmean(metrics.lip_mae(self.masks, self.targets, self.predictions))),
            "val_lip_mae_wrong_sound": float(np.nanmean(metrics.lip_mae(self.masks, self.targets, wrong))),
        }

    def grid(self, rows: int = 8) -> np.ndarray:
        """(rows * H, 4 * W, 3) uint8 BGR: identity, masked target, truth, output of the last call."""
        chosen = np.linspace(0, len(self.faces) - 1, min(rows, len(self.faces))).astype(int)
        columns = self.faces[..., :3], self.faces[..., 3:], self.targets, self.predictions
        picture = np.concatenate([np.concatenate(list(column[chosen])) for column in columns], axis=1)
        return np.clip(np.rint(picture * 255), 0, 255).astype("uint8")


class Log(keras.callbacks.Callback):
    """Progress bar, `log.csv`, TensorBoard events, picture grids, validation and `checkpoint.h5`.

    Rows are means since the row before. A row is written at every checkpoint, before it is saved: a resumed run cuts
    the log back to its checkpoint, and so ends with the rows of a run that was never killed.
    """

    def __init__(self, lipgan, config, logdir, checkpoint_freq, steps, settings, validation):
        super().__init__()
        self.lipgan = lipgan
        self.config = config
        self.logdir = Path(logdir)
        self.checkpoint_freq = checkpoint_freq
        self.steps = steps
        self.settings = settings
        self.validation = validation
        names = ["disc", "unsync", "sync", "total", "mae", "adv"] if lipgan.discriminator else ["total", "mae"]
        self.columns = ["step", *names]
        if validation:
            self.columns += ["val_mae", "val_lip_mae", "val_lip_mae_wrong_sound"]
        self.values = []

    def __enter__(self):
        self._cut_log()
        # Not SummaryWriter: its thread takes a failing write (a full disc) to its grave, and the run waits for it forever.
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

    def on_train_batch_end(self, batch, logs=None):
        self.config.step += 1
        step = self.config.step
        self.values.append({name: float(value) for name, value in logs.items()})
        recent = self.values[-20:]
        self.bar.set_postfix({k: f"{np.mean([v[k] for v in recent]):.4f}" for k in recent[-1]}, refresh=False)
        self.bar.update()
        if not np.isfinite(list(self.values[-1].values())).all():
            self._diverged()
        last = step == self.steps
        if last or step % self.checkpoint_freq == 0:
            self._row(self._validate())
            self._save()
        elif step % LOG_FREQ == 0:
            self._row({})

    def _diverged(self):
        raise UserError(f"{self.logdir}: the loss is not a number at step {self.config.step}; use a smaller --lr")

    def _validate(self):
        if BACKEND == "jax":
            self.lipgan.jax_state_sync()  # `fit` keeps the weights to itself between the steps
        if not all(np.isfinite(v).all() for model in self.lipgan.models.values() for v in model.get_weights()):
            self._diverged()  # the next loss would not be a number
        if not self.validation:
            return {}
        try:
            values = self.validation(self.lipgan.generator)
        except FloatingPointError:
            self._diverged()
        picture = self.validation.grid()
        path = self.logdir / "samples" / f"step_{self.config.step:08d}.png"
        png = cv2.imencode(".png", picture)[1].tobytes()
        with cli.replacing(path) as temporary:
            temporary.write_bytes(png)
        image = Summary.Image(height=len(picture), width=picture.shape[1], colorspace=3, encoded_image_string=png)
        self._event(summary=Summary(value=[Summary.Value(tag="samples", image=image)]))
        self.bar.write(f"step {self.config.step}: " + ", ".join(f"{k} {v:.5f}" for k, v in values.items()))
        return values

    def _row(self, validation):
        means = {name: float(np.mean([v[name] for v in self.values])) for name in self.values[0]}
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
        checkpoints.save_checkpoint(
            self.logdir / "checkpoint.h5", self.lipgan.models, self.config, self.lipgan.optimizers, self.settings
        )

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


def _step(row):
    whole = None not in row.values()  # else a line cut short, by a full disc
    return int(row["step"]) if whole and row.get("step", "").isdecimal() else float("inf")
