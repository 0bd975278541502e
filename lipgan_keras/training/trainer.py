"""What train.py does: build, resume, drive Keras's `fit`, and the callbacks that log, validate and save."""

import contextlib
import dataclasses
import io
import os
from pathlib import Path

from .. import blocks, checkpoints, networks
from ..config import BLOCKS, CROPS, FPS, ModelConfig
from ..data import augment_audio, clip_folder, look_through, splits
from ..data.dataset import Dataset
from ..data.splits import Split
from ..gan import LipGAN, Weights
from ..utils import files, locks
from ..utils.backend import has_gpu, keras, precision
from ..utils.errors import UserError, is_out_of_memory
from ..utils.terminal import say
from . import config as training_config
from . import devices
from .callbacks import Log
from .config import TrainConfig
from .validation import Validation


def train(options: TrainConfig) -> None:
    """Train as `options` say, or go on where `options.logdir` stands.

    Raises:
        UserError: bad data, checkpoints or options, or another training that is under way in `options.logdir`, before
            training starts; later a file that cannot be read, or a loss that is not a number.
    """
    options = options.completed()
    if options.plugin:
        blocks.load_plugin(options.plugin)
    files.check_writable(options.logdir)
    with devices.opened(options.devices, options.hosts, options.host_id, options.coordinator) as place:
        place.check(options.batch_size)
        if place.leads:
            alone = locks.holding(options.logdir, "training", "choose another --logdir")
        else:
            alone = contextlib.redirect_stdout(io.StringIO())  # the first host tells
        try:
            with alone, place.scope():
                _train(options, Path(options.logdir), place)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            raise UserError(_too_little(options, isinstance(error, MemoryError))) from error


def _too_little(options, host):
    """What to lower where the memory is not enough, of the host or of the device that does the steps."""
    smaller = f"--batch_size {options.batch_size}: there is too little memory"
    if host:
        return f"{smaller}; use a smaller one, a smaller --cache_mb, or fewer --num_workers"
    parts = f" (--accumulate {2 * options.accumulate} makes it the same step)"
    return f"{smaller} on the device for a step; use half of it{parts}"


def _train(options, logdir, place):
    if place.leads:
        _check_log(logdir / "log.csv")
        _tidy(logdir)
    latest = logdir / "checkpoint.h5"
    state = _resumable(latest, options) if latest.exists() else None
    config = _config(options, latest if state else None)
    blocks.check(config)

    clips, broken = _readable(options, logdir, place)
    (train_clips, val_clips), split = _divided(options, clips, latest if state else None, state)
    if not state:
        config = dataclasses.replace(config, crop=_crop_style(train_clips))
    _warn(options, train_clips)
    data = _dataset(options, config, train_clips)
    for number, clip in enumerate(train_clips):
        data.images.mark_broken(number, broken.get(clip.folder, ()))
    samples = options.accumulate * (data.samples or data.sync_samples)  # of a step
    steps = options.steps or options.epochs * -(-len(data) // samples)
    if config.step >= steps:
        say(f"{latest}: has {config.step} steps already; ask for more with --steps or --epochs")
        return
    data.batch(config.step * options.accumulate)  # whatever is wrong with the data or the batch size is said now

    run = Run(options, config, state, latest, split, wait=bool(val_clips))
    if state:
        say(f"{logdir}: goes on from step {config.step}")
    generator = f", {config}" if options.has_generator else ""
    say(
        f"recipe {options.recipe}{generator}: {run.describe()}; {_describe(train_clips)} to train on, "
        f"{len(val_clips)} held out; log in {logdir}{place.describe()}"
    )
    judged = place.judged(run.models, config, options.precision) if val_clips else None
    validation = None
    if val_clips and place.leads:
        validation = Validation(val_clips, train_clips, config, options.seed, judged.models)
    _fit(run, data, steps, Log(run, options, steps, validation, judged, place))
    say(f"{latest}: {run.step} steps")
    if passed := data.images.passed_over():
        say(f"{options.data_root}: {passed}; {look_through.REPAIR}")


def _readable(options, logdir, place):
    """The clips, and {folder: images of it that cannot be whole}; says how many there are of what cannot be read."""
    broken = {}
    clips = clip_folder.find_clips(options.data_root, options.audio, broken=broken)
    clips = look_through.hearable(clips, broken)
    if broken:
        why = min(broken.values())
        say(f"{options.data_root}: {len(broken)} clips are left out, as they cannot be read: {why}", error=True)
    if not clips:
        raise UserError(f"{options.data_root}: none of its clips can be read; run preprocess.py again")
    # What is found later is passed over as well: one process looks.
    found, looked = look_through.look_through(clips, logdir) if place.leads else ({}, len(clips))
    if found:
        count, (first, frames) = sum(map(len, found.values())), min(found.items())
        image = clips[first].folder / f"{clips[first].frames[frames[0]]}.jpg"
        say(
            f"{options.data_root}: {count} images of {len(found)} clips cannot be read, as {image}, and are passed "
            f"over; {look_through.REPAIR}",
            error=True,
        )
    if looked < len(clips):
        say(f"{options.data_root}: {looked} of {len(clips)} clips were looked through so far; the next start goes on")
    return clips, {clips[number].folder: frames for number, frames in found.items()}


def _fit(run, data, steps, log):
    """All stages, until `steps` are done."""
    try:
        with log:
            while run.step < steps:
                run.next_stage()
                later = run.quality_from or 0  # a step ahead where that of the discriminator is set
                log.run_stage(data, min(steps, later) if later > run.step else steps)
    except OSError as error:  # a full disc: a failing write does not name its file
        if error.filename or not error.errno:
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(log.logdir)) from error


def _check_log(path):
    """Refuse a log that no training wrote, as rows that do not belong to the run are cut away."""
    files.check_outfile(path, suffix=None, mark=lambda path: path.read_bytes()[:5] == b"step,")


def _tidy(logdir):
    """Remove what a run that was killed while it saved has left."""
    for pattern in (".checkpoint.*.tmp.h5", ".log.*.tmp.csv", ".looked_through.*.tmp.json", "samples/.step_*.tmp.png"):
        for left in logdir.glob(pattern):
            left.unlink(missing_ok=True)


def _describe(clips):
    """How many people and minutes there are of each kind of clip."""
    minutes = sum(clip.shown for clip in clips) / FPS / 60
    parts = []
    for kind in sorted({clip.kind for clip in clips}, key=("real", "recast", "puppet").index):
        some = [clip for clip in clips if clip.kind == kind]
        count = len({clip.speaker for clip in some})
        speakers = f"{count} speaker{'s' * (count != 1)}"
        people = speakers if kind == "real" else f"{len(some)} made-up people of {speakers}"
        parts.append(f"{kind}: {people}, {sum(clip.shown for clip in some) / FPS / 60:.1f} min")
    return f"{len(clips)} clips ({minutes:.1f} min; {'; '.join(parts)})"


def _crop_style(clips):
    """The style of most frames."""
    frames = {style: sum(clip.shown for clip in clips if clip.crop == style) for style in CROPS}
    style = max(CROPS, key=frames.__getitem__)
    if others := [other for other in CROPS if frames[other] and other != style]:
        say(
            f"{sum(clip.crop != style for clip in clips)} of {len(clips)} clips have {' and '.join(others)} crops and "
            f"not {style} ones; preprocess all with one --crop",
            error=True,
        )
    return style


def _dataset(options, config, clips):
    return Dataset(
        clips,
        config,
        options.batch_size,
        options.seed,
        generator=options.has_generator,
        pairs=options.disc_weight > 0,
        sync=options.sync_weight > 0,
        sync_runs=0 if options.sync_mode == "expert" else None,
        augmentation=options.augment,
        sound=_sound(options),
        shared=has_gpu(),
        balance=options.balance,
        cache_bytes=round(options.cache_mb * 2**20),
    )


def _sound(options):
    """What augments the audio; None where nothing does."""
    names = [name for name in options.augment if name in augment_audio.NAMES]
    return augment_audio.Sound(names, options.noise_dir, options.seed) if names else None


def _warn(options, clips):
    bare = sum(clip.landmarks is None for clip in clips)
    if bare:
        say(
            f"{options.data_root}: {bare} of {len(clips)} clips have no landmarks; a default region stands for "
            "their lips"
        )
    enlarged = [clip.saved_size for clip in clips if clip.saved_size and clip.saved_size < options.img_size]
    if enlarged:
        say(
            f"{options.data_root}: {len(enlarged)} of {len(clips)} clips are enlarged from {min(enlarged)} pixels, "
            f"which sharpens nothing; preprocess.py --img_size {options.img_size} makes better ones"
        )
    mute = sum(not clip.has_sound for clip in clips)
    if mute and set(augment_audio.NAMES) & set(options.augment):
        say(f"{options.data_root}: {mute} of {len(clips)} clips hold features and no sound; theirs is not augmented")


class Run:
    """The networks of a training run, and the model that trains them in the present stage.

    Attributes:
        lipgan: `gan.LipGAN`.
        models: the networks by name.
        split: of the clips, for its checkpoints.
        step: training steps that they have seen.
        quality_from: the step at which the visual-quality discriminator starts; None: not yet known.
    """

    def __init__(self, options, config, state, latest, split, wait):
        self.options, self.config, self.split, self.step = options, config, split, config.step
        self.quality_from = options.quality_start
        if state:
            self.quality_from = state.get("quality_from")
        elif self.quality_from is None and not wait:
            self.quality_from = 0
        self.models = {}
        keras.utils.set_random_seed(options.seed)
        with precision(options.precision):
            if options.has_generator:
                self.models["generator"] = networks.build(config)
            if options.disc_weight:
                self.models["discriminator"] = networks.build(config, "discriminator")
            if options.sync_weight:
                self.models["sync"] = networks.build(config, "sync")
        if state and options.quality_weight and "quality" in checkpoints.read_networks(latest):
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
            if self._schedule() == options.lr:
                for optimizer in self.lipgan.optimizers.values():
                    optimizer.learning_rate = options.lr
        else:
            for name, path in (
                ("generator", options.resume_gen),
                ("discriminator", options.resume_disc),
                ("sync", options.resume_sync),
            ):
                if path:
                    self._take(name, path)

    def _take(self, name, path):
        """The weights of a checkpoint; a generator's may be those of another decoder that this one begins with."""
        theirs, ours = (config.blocks["decoder"] for config in (checkpoints.read_config(path), self.config))
        grown = name == "generator" and theirs != ours
        checkpoints.load_weights(self.models[name], path, grown)
        if grown:
            say(f"{path}: has the decoder {theirs}; what {ours} has besides begins anew")

    def _add_quality(self):
        keras.utils.set_random_seed(self.options.seed + 1)  # the same weights whenever it starts
        with precision(self.options.precision):
            self.models["quality"] = networks.build(self.config, "quality")

    def _schedule(self):
        """The learning rate, or how it goes."""
        options, schedules = self.options, keras.optimizers.schedules
        first = options.lr / max(1, options.warmup)
        if options.lr_schedule == "cosine":
            target = options.lr if options.warmup else None
            return schedules.CosineDecay(
                first, options.steps - options.warmup, warmup_target=target, warmup_steps=options.warmup
            )
        return schedules.PolynomialDecay(first, options.warmup, options.lr) if options.warmup else options.lr

    def _assemble(self):
        options = self.options
        weights = Weights(
            options.lip_weight, options.lip_share, options.disc_weight, options.sync_weight, options.quality_weight
        )
        train_sync = options.sync_mode == "joint"
        models = {"generator": None} | self.models
        more = {name: getattr(options, name) for name in ("seed", "ema", "clipnorm", "freeze_norm")}
        return LipGAN(**models, lr=self._schedule(), weights=weights, train_sync=train_sync, **more)

    def describe(self) -> str:
        return ", ".join(f"{name} {model.count_params():,} parameters" for name, model in self.models.items())

    def next_stage(self) -> None:
        """Start the visual-quality discriminator if it is time."""
        begun = "quality" in self.models or not self.options.quality_weight
        if begun or self.quality_from is None or self.step < self.quality_from:
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
        say(f"step {self.step}: the visual-quality discriminator starts")

    def save(self, path, leads: bool = True) -> None:
        """Write a checkpoint; a process that does not lead takes part, as the weights lie on its devices, too."""
        options = self.options
        training = {name: getattr(options, name) for name in training_config.FIXED + training_config.PARTS} | {
            "lr": options.lr,
            "precision": options.precision,
            "data_root": os.path.abspath(options.data_root),
            "lip_means": [float(value) for value in keras.ops.convert_to_numpy(self.lipgan.lip_means)],
            "quality_from": self.quality_from,
        }
        with self.lipgan.averaged() as raw:
            config = dataclasses.replace(self.config, step=self.step)
            optimizers, split = self.lipgan.optimizers, self.split.stored()
            if leads:
                checkpoints.save_checkpoint(path, self.models, config, optimizers, training, raw, split)


def _config(options, latest):
    if latest:
        config = checkpoints.read_config(latest)
        for name in ("alignment", "audio_offset_ms"):
            if getattr(options, name) is not None:
                _check_same(latest, name, getattr(config, name), getattr(options, name))
        return config
    config = ModelConfig(
        options.model,
        options.audio,
        options.width,
        options.img_size,
        sync_frames=options.sync_frames or ModelConfig.sync_frames,
        sync_width=options.width,
        **{kind: getattr(options, kind) or "" for kind in BLOCKS},
    )
    if options.resume_gen:
        config = training_config.windows_of(checkpoints.read_config(options.resume_gen), config)
    if options.alignment:
        config = dataclasses.replace(config, alignment=options.alignment)
    config = config.with_audio_offset(options.audio_offset_ms)
    if options.resume_sync:
        checkpoints.check_holds(options.resume_sync, "sync")
        known = checkpoints.read_config(options.resume_sync)
        if options.sync_frames not in (None, known.sync_frames):
            raise UserError(
                f"{options.resume_sync}: was trained with --sync_frames {known.sync_frames}, not {options.sync_frames}"
            )
        for name in ("audio", "alignment", "audio_offset_ms"):
            if getattr(known, name) != getattr(config, name):
                raise UserError(
                    f"{options.resume_sync}: was trained with {name} {getattr(known, name)}, this run has "
                    f"{getattr(config, name)}; train an expert that hears the same"
                )
        config = dataclasses.replace(config, sync_frames=known.sync_frames, sync_width=known.sync_width)
    return config


def _divided(options, clips, latest, state):
    """((training, validation) clips, Split), of a new run or of one that goes on; says what is odd about them."""
    if latest is None:
        return _newly_divided(options, clips)
    stored, arguments = checkpoints.read_split(latest), (options.val_fraction, options.filelists, latest)
    if stored is None:
        sides, split, lines = splits.resumed_before(clips, state, *arguments)
    else:
        sides, split, lines = splits.resumed_split(clips, Split.restored(stored, latest), *arguments)
    theirs, ours = state.get("data_root"), os.path.abspath(options.data_root)
    if theirs not in (None, ours):
        lines.insert(0, f"was trained on clips below {theirs}, not {ours}; those of the same names count as the same")
    for line in lines:
        say(f"{options.logdir}: {line}")
    return sides, split


def _newly_divided(options, clips):
    sides = splits.split_clips(clips, options.val_fraction, options.filelists)
    split = Split.of(sides, options.val_fraction, options.filelists)
    both = sum(split.trains_on(clip) for clip in sides[1])
    if both:
        say(f"{options.filelists}: {both} of the {len(sides[1])} clips that val.txt names are trained on too")
    for flag in ("resume_gen", "resume_disc", "resume_sync"):
        path = getattr(options, flag)
        if path:
            stored = checkpoints.read_split(path)
            before = stored and Split.restored(stored, path)
            known = before and before.among(clips)
            seen = sum(known.has_seen(clip) for clip in sides[1]) if known else 0
            if seen:
                say(f"{path}: was trained on {seen} of the {len(sides[1])} clips that are held out now")
            split = split.after(before)
    return sides, split


def _resumable(latest, options):
    state = checkpoints.read_training(latest)
    if state is None:
        raise UserError(f"{latest}: was not written by train.py; choose another --logdir")
    checkpoints.check_training(state, TrainConfig, latest)
    checkpoints.check_training(state, {"lip_means": tuple[float, float], "quality_from": int | None}, latest)
    if state.get("recipe") in training_config.RECIPES:
        # Runs of before a part was there had what their recipe says now.
        recipe = dataclasses.asdict(training_config.RECIPES[state["recipe"]])
        recipe["augment"] = list(recipe["augment"])
        state = training_config.LATER | {k: recipe[k] for k in recipe if k in training_config.PARTS} | state
    for name in training_config.FIXED + training_config.PARTS:
        _check_same(latest, name, state.get(name), getattr(options, name))
    return state


def _check_same(latest, name, theirs, ours):
    """A run goes on with no other value of a flag."""
    if theirs != ours:
        raise UserError(
            f"{latest}: belongs to a run with --{name} {_words(theirs)}, not {_words(ours)}; "
            "give the same command, or another --logdir"
        )


def _words(value):
    if value in (None, []):
        return "unset" if value is None else "none"
    return " ".join(value) if isinstance(value, list) else value
