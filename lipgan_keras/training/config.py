"""What a training run is told: recipes, and what goes together."""

import dataclasses
import os
from collections.abc import Sequence

from .. import checkpoints
from ..config import ADVERSARIAL_WEIGHT, ALIGNMENTS, BLOCKS, IMG_SIZES, VARIANTS, WINDOW_SHAPE, ModelConfig
from ..data import augment as data_augment
from ..data import pack, splits
from ..data.order import BALANCES
from ..utils import kinds, limits
from ..utils.errors import UserError


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
    "lipgan": Recipe(lr=1e-4, disc_weight=ADVERSARIAL_WEIGHT),
    "unet": Recipe(lr=1e-3),
    "lipsync": Recipe(lr=1e-4, lip_weight=6.0, sync_weight=2e-4, quality_weight=1e-3, augment=data_augment.USUAL),
    "sync": Recipe(lr=1e-4, sync_weight=1.0, augment=data_augment.USUAL, generator=False),
}
SYNC_MODES = ("joint", "expert")  # whether the lip-sync discriminator learns beside the generator, or is frozen
PRECISIONS = ("float32", "mixed_bfloat16")
LR_SCHEDULES = ("constant", "cosine")
ALL = "all"  # devices
# A run cannot go on with other values of these.
FIXED = ("recipe", "model", *BLOCKS, "audio", "width", "img_size", "batch_size", "seed")
PARTS = ("lip_weight", "lip_share", "disc_weight", "sync_weight", "sync_frames", "sync_mode", "quality_weight")
PARTS += ("quality_start", "augment", "noise_dir", "balance", "ema", "lr_schedule", "warmup", "clipnorm", "freeze_norm")
PARTS += ("accumulate",)
# In runs of before these
LATER = {"img_size": 96, "sync_mode": "joint", "ema": 0.0, "lr_schedule": "constant", "warmup": 0, "freeze_norm": False}
LATER |= {"balance": "frames", "accumulate": 1}


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """What `train` is told; the flags of train.py have the same names.

    Attributes:
        data_root: folder or pack of preprocessed clips.
        filelists: folder with train.txt and maybe val.txt; None: the clips are divided by `val_fraction`.
        val_fraction: share of the clips to hold out, 0 to below 1; see `data.splits`.
        recipe: of RECIPES.
        model: variant of the generator, of `config.VARIANTS`.
        face_encoder, audio_encoder, decoder: names of the generator's blocks (see `blocks`); None: those of `model`.
        plugin: Python file that registers blocks; the code in it is run.
        audio: front end, "mel" or "mfcc".
        width: factor on all channel counts, above 0.
        img_size: side of the face crops in pixels, of `config.IMG_SIZES`.
        batch_size: frames a batch; with recipe "sync" runs of frames.
        accumulate: batches a step, whose gradients are averaged.
        lr: Adam's learning rate; None: the recipe's.
        epochs: passes over all frames, where `steps` is None.
        steps: training steps in all.
        logdir: checkpoint and logs; a run goes on from there.
        resume_gen, resume_disc, resume_sync: checkpoints to take weights from.
        alignment: which audio window belongs to a frame, of `config.ALIGNMENTS`; None: that of `resume_gen`, or
            "centred".
        audio_offset_ms: shift of the audio windows; None: that of `resume_gen`, or 0.
        checkpoint_freq: steps between checkpoints.
        num_workers: threads, or processes for a GPU, that make batches; None: by the number of cores.
        cache_mb: memory for decoded images, in MiB; as much again for features, and for augmented audio.
        seed: decides weights, batches and coins.
        lip_weight, lip_share, disc_weight, sync_weight, quality_weight: see `gan.Weights`; None: the recipe's.
        sync_frames: frames that the lip-sync discriminator sees; None: 5, or those of `resume_sync`.
        sync_mode: of SYNC_MODES.
        quality_start: steps before the visual-quality discriminator begins; None: as soon as the audio is used.
        precision: of PRECISIONS.
        ema: momentum of running means of the weights; 0: none.
        lr_schedule: of LR_SCHEDULES.
        warmup: steps in which the learning rate rises from near 0.
        freeze_norm: keep the batch normalisation of `resume_gen` as it is.
        clipnorm: largest norm of the gradients of a network; None: any.
        augment: names of `data.augment.NAMES`, or "none"; None: the recipe's.
        noise_dir: folder of sounds to mix in; None: synthesised music.
        balance: what is drawn equally often, of `data.order.BALANCES`.
        devices: that share each batch, of each host: a number, or "all".
        hosts, host_id, coordinator: see `devices.opened`.
    """

    data_root: str
    filelists: str | None = None
    val_fraction: float = 0.05
    recipe: str = "lipgan"
    model: str = "residual"
    audio: str = "mel"
    width: float = 1.0
    img_size: int = 96
    batch_size: int = 96
    accumulate: int = 1
    lr: float | None = None
    epochs: int = 20_000_000
    steps: int | None = None
    logdir: str = "logs/"
    resume_gen: str | None = None
    resume_disc: str | None = None
    resume_sync: str | None = None
    alignment: str | None = None
    audio_offset_ms: float | None = None
    checkpoint_freq: int = 1000
    num_workers: int | None = None
    cache_mb: float = 2048
    seed: int = 0
    lip_weight: float | None = None
    lip_share: float | None = None
    disc_weight: float | None = None
    sync_weight: float | None = None
    quality_weight: float | None = None
    sync_frames: int | None = None
    sync_mode: str = "joint"
    quality_start: int | None = None
    precision: str = "float32"
    ema: float = 0.0
    lr_schedule: str = "constant"
    warmup: int = 0
    freeze_norm: bool = False
    clipnorm: float | None = None
    augment: Sequence[str] | None = None
    noise_dir: str | None = None
    balance: str = "frames"
    face_encoder: str | None = None
    audio_encoder: str | None = None
    decoder: str | None = None
    plugin: str | None = None
    devices: int | str = 1
    hosts: int | None = None
    host_id: int | None = None
    coordinator: str | None = None

    @property
    def has_generator(self) -> bool:
        return RECIPES[self.recipe].generator

    def completed(self) -> "TrainConfig":
        """The same, with what the recipe decides filled in.

        Raises:
            UserError: values that do not go together, an unknown name, or a value of the wrong kind or out of range.
        """
        config = kinds.checked(self)
        _check_choices(config)
        _check_ranges(config)
        recipe = RECIPES[config.recipe]
        if not recipe.generator:
            _check_only_sync(config)
        if config.augment and "none" in config.augment and len(config.augment) > 1:
            raise UserError("--augment none: goes with no other name; leave it away, or them")
        if config.lip_share is not None and config.lip_weight is not None:
            raise UserError("--lip_share makes its own --lip_weight; give one of the two")
        names = [field.name for field in dataclasses.fields(recipe) if field.name != "generator"]
        known = {name: getattr(config, name) for name in names}
        filled = {name: getattr(recipe, name) if value is None else value for name, value in known.items()}
        filled["augment"] = sorted(set(filled["augment"]) - {"none"}, key=data_augment.NAMES.index)
        filled["lip_weight"] = filled["lip_weight"] or 1.0  # 0 turns it off, like the other weights
        config = dataclasses.replace(config, **filled)
        _check_together(config)
        return config

    def check_files(self) -> None:
        """Refuse files that cannot be what they are named for; without Keras, which takes seconds to load.

        Raises:
            UserError: no clips below `data_root`, no list in `filelists`, or something else than a checkpoint to
                resume from.
        """
        pack.check_root(self.data_root)
        if self.filelists:
            splits.check_lists(self.filelists)
        if os.path.exists(os.path.join(self.logdir, "checkpoint.h5")):
            return  # it goes on from there, and needs the others no more
        for path in filter(None, (self.resume_gen, self.resume_disc, self.resume_sync)):
            checkpoints.read_config(path)


def windows_of(known: ModelConfig, config: ModelConfig) -> ModelConfig:
    """`config` with the audio windows that the weights of `known`'s checkpoint were trained with."""
    if known.alignment == "released" and not known.step:  # the original's mel code: its inference hears others
        return dataclasses.replace(config, alignment="released_training", audio_offset_ms=0.0)
    return dataclasses.replace(config, alignment=known.alignment, audio_offset_ms=known.audio_offset_ms)


def _check_choices(config):
    choices = {
        "recipe": RECIPES,
        "model": VARIANTS,
        "audio": WINDOW_SHAPE,
        "img_size": IMG_SIZES,
        "sync_mode": SYNC_MODES,
        "precision": PRECISIONS,
        "lr_schedule": LR_SCHEDULES,
        "balance": BALANCES,
        "alignment": (None, *ALIGNMENTS),
    }
    for name, known in choices.items():
        if getattr(config, name) not in known:
            raise UserError(f"--{name} {getattr(config, name)}: is none of {', '.join(map(str, filter(None, known)))}")
    for name in config.augment or ():
        if name not in (*data_augment.NAMES, "none"):
            raise UserError(f"--augment {name}: is none of {', '.join(data_augment.NAMES)}, none")


def _check_ranges(config):
    """The flags check the same; this is for those who call from Python."""
    names = [field.name for field in dataclasses.fields(config) if field.name in limits.LIMITS]
    limits.checked(**{name: getattr(config, name) for name in names})
    for names, allowed, words in (
        (("val_fraction", "ema"), lambda value: 0 <= value < 1, "at least 0 and below 1"),
        (("lip_share",), lambda value: 0 < value < 1, "above 0 and below 1"),
        (("lr", "clipnorm"), lambda value: value > 0, "above 0"),
        (
            ("batch_size", "epochs", "checkpoint_freq", "num_workers", "hosts", "accumulate"),
            lambda n: n >= 1,
            "1 or more",
        ),
        (("devices",), lambda n: n == ALL or (isinstance(n, int) and n >= 1), '1 or more, or "all"'),
        (("lip_weight", "disc_weight", "sync_weight", "quality_weight"), lambda value: value >= 0, "0 or more"),
        (("quality_start", "warmup", "host_id", "cache_mb"), lambda n: n >= 0, "0 or more"),
    ):
        for name in names:
            value = getattr(config, name)
            if value is not None and not allowed(value):
                raise UserError(f"--{name} {value}: is out of range; give a number {words}")


def _check_only_sync(config):
    """Refuse what a recipe without a generator has no use for."""
    for name in ("lip_weight", "lip_share", "disc_weight", "quality_weight", "quality_start", *BLOCKS):
        if getattr(config, name) is not None:
            raise UserError(
                f"--{name}: --recipe {config.recipe} trains the lip-sync discriminator alone; leave it away"
            )


def _check_together(config):
    """Refuse what does not go together once the recipe has filled in the rest."""
    if config.noise_dir is not None and "noise" not in config.augment:
        raise UserError(f"--noise_dir {config.noise_dir}: noise is not mixed in here; add --augment noise")
    if "voice" in config.augment and config.audio != "mel":
        raise UserError(f"--augment voice: changes mel spectrograms; leave it away with --audio {config.audio}")
    if config.alignment not in (None, "centred") and config.audio != "mel":
        raise UserError(f"--alignment {config.alignment}: is of mel spectrograms; leave it away with --audio mfcc")
    if not config.has_generator:
        if not config.sync_weight:
            raise UserError("--recipe sync: trains the lip-sync discriminator; leave --sync_weight 0 away")
        if config.sync_mode == "expert":
            raise UserError(
                "--recipe sync: trains the lip-sync discriminator; --sync_mode expert is for one that is frozen"
            )
        if config.freeze_norm:
            raise UserError("--freeze_norm: --recipe sync has no generator; leave it away")
        if config.resume_gen:
            raise UserError(f"--resume_gen {config.resume_gen}: --recipe sync has no generator; leave it away")
    if config.freeze_norm and not config.resume_gen:
        raise UserError(
            "--freeze_norm: keeps the statistics of a generator that has learned; name it with --resume_gen"
        )
    if config.lr_schedule == "cosine" and not config.steps:
        raise UserError("--lr_schedule cosine: ends with the last step; say which with --steps")
    if config.steps and config.warmup >= config.steps:
        raise UserError(f"--warmup {config.warmup}: is not over within --steps {config.steps}; use fewer")
    _check_discriminators(config)


def _check_discriminators(config):
    if config.resume_disc and not config.disc_weight:
        raise UserError(
            f"--resume_disc {config.resume_disc}: --recipe {config.recipe} has no contrastive discriminator here; "
            "leave it away, or add --disc_weight"
        )
    if config.resume_sync and not config.sync_weight:
        raise UserError(f"--resume_sync {config.resume_sync}: there is no lip-sync discriminator; add --sync_weight")
    if config.quality_start is not None and not config.quality_weight:
        raise UserError("--quality_start: there is no visual-quality discriminator; add --quality_weight")
    if config.sync_mode == "expert" and not config.sync_weight:
        raise UserError("--sync_mode expert: there is no lip-sync discriminator; add --sync_weight")
    if config.sync_mode == "expert" and not config.resume_sync:
        raise UserError(
            "--sync_mode expert: needs the checkpoint of one (train.py --recipe sync); name it with --resume_sync"
        )
