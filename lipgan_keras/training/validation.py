"""Fixed samples of the held-out clips."""

from collections.abc import Iterable

import numpy as np

from ..config import FPS, ModelConfig
from ..data import scoring
from ..data.clip_folder import Clip
from ..data.dataset import SAME_SOUND, Dataset
from ..unsynced import rounded
from ..utils.backend import keras
from ..utils.batching import run_in_batches
from ..utils.errors import UserError

VAL_SAMPLES = 256
# The visual-quality discriminator starts when the lip error under wrong audio is so many times that under the right
# one.
SOUND_USED = 1.1
MAX_DRAWS = 20  # until wrong audio is looked for in turn


JUDGES = {"sync": "val_sync_accuracy", "discriminator": "val_disc_accuracy"}


def columns_of(models: Iterable[str]) -> list[str]:
    """What a `Validation` of the networks of these names returns."""
    ours = ["val_mae", "val_lip_mae", "val_lip_mae_wrong_sound"] if "generator" in models else []
    return ours + [column for name, column in JUDGES.items() if name in models]


class Validation:
    """Fixed samples of the held-out clips: errors under their own audio and under another's, and the sync accuracy of
    the discriminators, whose thresholds come from clips that are trained on.

    Attributes:
        columns: names of what a call returns.
        sound_used: whether the generator's lips, when last judged, were much worse under wrong audio.
        wrong: (n,80,27,1) or (n,12,35,1), wrong audio for each sample; None where the clips hold but one sound, whose
            error is not a number then.
    """

    def __init__(
        self,
        clips: list[Clip],
        train_clips: list[Clip],
        config: ModelConfig,
        seed: int,
        models: dict[str, keras.Model],
        samples: int = VAL_SAMPLES,
    ):
        self.columns, self.sound_used = columns_of(models), False
        self.models = models
        if "generator" in models:
            self._draw(Dataset(clips, config, batch_size=1, pairs=False), seed, samples)
        self.judges = {name: column for name, column in JUDGES.items() if name in models}
        if self.judges:
            sides = [scoring.pairs_of(side, config, models, seed) for side in (train_clips, clips)]
            self.pairs = [list(scoring.draw(side, samples, seed)) for side in sides]

    def _draw(self, data, seed, samples):
        rng = np.random.default_rng([seed, 2])
        chosen = scoring.spread(len(data), samples)
        chosen = [i for i in chosen if data.usable(int(data.clip_of[i]), int(data.frame_of[i]))]
        if not chosen:
            raise UserError(f"{data.images.trouble} (and hardly anything else of the held-out clips can be read)")
        drawn, wrong = [], []
        for clip, frame in zip(data.clip_of[chosen], data.frame_of[chosen], strict=True):
            drawn.append(data.sample(clip, frame, rng))
            wrong.append(_wrong_window(data, int(clip), int(frame), rng))
        self.wrong = None if any(window is None for window in wrong) else np.stack(wrong)
        self.faces, self.audio, self.targets, self.masks = (
            np.concatenate([sample[name] for sample in drawn]) for name in ("faces", "audio", "targets", "masks")
        )

    def __call__(self) -> dict[str, float]:
        """The values of `columns`; keeps the predictions for `grid`.

        Raises:
            FloatingPointError: a prediction is not a number.
        """
        values = {}
        if "generator" in self.models:
            run, size = self.models["generator"].predict_on_batch, min(64, len(self.faces))
            self.predictions = run_in_batches(run, self.faces, self.audio, size)
            if not np.isfinite(self.predictions).all():
                raise FloatingPointError("the generator's output is not a number")
            masks = self.masks[..., 0]
            values = {
                "val_mae": float(np.abs(self.targets - self.predictions).mean()),
                "val_lip_mae": float(np.nanmean(scoring.lip_mae(masks, self.targets, self.predictions))),
                "val_lip_mae_wrong_sound": float("nan"),
            }
            if self.wrong is not None:
                wrong = run_in_batches(run, self.faces, self.wrong, size)
                values["val_lip_mae_wrong_sound"] = float(np.nanmean(scoring.lip_mae(masks, self.targets, wrong)))
            self.sound_used = values["val_lip_mae_wrong_sound"] >= SOUND_USED * values["val_lip_mae"]
        if self.judges:
            found = scoring.held_out_accuracy(*(scoring.score(self.models, drawn) for drawn in self.pairs))
            values |= {column: found[name] for name, column in self.judges.items()}
        return values

    def grid(self, rows: int = 8) -> np.ndarray | None:
        """(rows * H, 4 * W, 3) uint8 BGR: identity, masked target, truth, output of the last call."""
        if "generator" not in self.models:
            return None
        chosen = np.linspace(0, len(self.faces) - 1, min(rows, len(self.faces))).astype(int)
        columns = self.faces[..., :3], self.faces[..., 3:], self.targets, self.predictions
        image = np.concatenate([np.concatenate(list(column[chosen])) for column in columns], axis=1)
        return np.clip(np.rint(image * 255), 0, 255).astype("uint8")


def _wrong_window(data, clip, frame, rng):
    """The window of a random frame of another clip, or of another time of the same one; None: all sound alike."""
    right = rounded(data.windows(clip, [frame]))
    for other, at in _candidates(data, clip, frame, rng):
        if not data.can_hear(other):
            continue
        if other == clip:
            start = data.clips[clip].start
            in_sync = abs(start[at] - start[frame]) < (SAME_SOUND - 0.5) / FPS
        else:
            in_sync = _is_copy(data, clip, other)
        window = None if in_sync else data.windows(other, [at])
        if window is not None and rounded(window) != right:
            return window[0]
    return None


def _is_copy(data, clip, other):
    """Whether one says what the other does, as where one is the other mirrored."""
    return data.clips[clip].source == data.clips[other].source or data.soundtrack(clip) == data.soundtrack(other)


def _candidates(data, clip, frame, rng):
    """(clip, frame): random ones of the other clips, then all, those of the same clip first."""
    count = len(data.clips)
    for _ in range(MAX_DRAWS if count > 1 else 0):
        other = (clip + 1 + int(rng.integers(count - 1))) % count
        yield other, int(rng.integers(data.clips[other].shown))
    for other in (clip, *(c for c in range(count) if c != clip)):
        shown = data.clips[other].shown
        yield from ((other, (frame + shown // 2 + step) % shown) for step in range(shown))
