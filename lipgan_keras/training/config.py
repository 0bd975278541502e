"""What a training run is told: recipes, and what goes together."""

import dataclasses

from ..config import ADVERSARIAL_WEIGHT
from ..data import augment as data_augment
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
    "unet": Recipe(lr=1e-3),
    "lipgan": Recipe(lr=1e-4, disc_weight=ADVERSARIAL_WEIGHT),
    "lipsync": Recipe(lr=1e-4, lip_weight=6.0, sync_weight=2e-4, quality_weight=1e-3, augment=data_augment.NAMES),
    "sync": Recipe(lr=1e-4, sync_weight=1.0, augment=data_augment.NAMES, generator=False),
}
# A run cannot go on with other values of these.
FIXED = ("recipe", "model", "audio", "width", "img_size", "batch_size", "seed")
PARTS = ("lip_weight", "lip_share", "disc_weight", "sync_weight", "sync_frames", "sync_mode", "quality_weight")
PARTS += ("quality_start", "augment", "noise_dir", "ema", "lr_schedule", "warmup", "clipnorm", "freeze_norm")
# In runs of before these
LATER = {"img_size": 96, "sync_mode": "joint", "ema": 0.0, "lr_schedule": "constant", "warmup": 0, "freeze_norm": False}


def complete(args) -> Recipe:
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
    args.augment = sorted(set(args.augment) - {"none"}, key=data_augment.NAMES.index)
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
