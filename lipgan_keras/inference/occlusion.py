"""Hands and other things before the mouth, which stay."""

import numpy as np

from ..face.cropping import extract
from ..face.regions import between
from . import blend
from .blend import face_axes

# Whether a hand is before the mouth, seen in a small upright image of the face: PATCH pixels a side, in the unit
# above
PATCH, PATCH_SIDE, PATCH_MIDDLE = 24, 1.7, -0.2
CHANGED = 30.0  # grey levels
# Changed part of the skin beside the lips from which on nothing new shows, up to which all; docs/compositing.md
SKIN = 0.34, 0.2
MARK = 0.25, 0.4  # likewise, what is left of the lips' mark
FAINT = 0.03  # root mean square of a mark from which on it tells anything
LEARN, RELEARN = 0.4, 3.0  # seconds in which a look is got used to, if it hardly changed, if it did
FORGET = 10.0  # seconds in which the mark of covered lips is given up
RETURN = 0.2  # seconds in which the new mouth comes back
MOST_PEOPLE = 64


class OcclusionDetector:
    """Says how much of a new mouth may show: 0 where a hand or a cup is before the old one.

    `detector(image, face, time)` gives that share, 0..1.

    Two signs tell, both against what the same person looked like a moment ago: that the skin above and beside the lips
    changed, where a falling jaw changes little, in the light that there is now; and that nothing is left of the lips'
    mark, colour and brightness unlike that skin's, be it of lips, teeth or a mouth's dark. To be asked for every frame
    in turn.
    """

    def __init__(self):
        self._people: dict[int, _MouthAppearance] = {}
        place = PATCH_SIDE * ((np.arange(PATCH) + 0.5) / PATCH - 0.5)
        q, p = place[:, None] + PATCH_MIDDLE, place[None]
        outer, inner = (
            np.square(p / (blend.LIPS[1] + wider)) + np.square((q - blend.LIPS[0] - lower) / (blend.LIPS[2] + wider))
            < 1
            for wider, lower in ((0.02, 0.0), (-0.08, -0.05))
        )
        self._skin = (q > -0.25) & (q < 0.6) & (np.abs(p) < 0.5) & ~outer
        self._still = (q > -0.25) & (q < 0.2) & (np.abs(p) < 0.55) & ~outer
        self._lips = inner
        self._eyes = (q < -0.3) & (np.abs(p) < 0.7)

    def __call__(self, image: np.ndarray, face, time: float) -> float:
        """
        Args:
            image: (H,W,3) uint8, the source.
            face: a `tracking.TrackedFace`.
            time: of the frame, seconds.
        """
        _, mouth, across, down, length = face_axes(face.face.landmarks)
        middle, half = mouth + PATCH_MIDDLE * length * down, max(PATCH_SIDE * length / 2, 1.0)
        box = np.concatenate([middle - half, middle + half])
        patch = extract(image, box, PATCH, float(np.arctan2(across[1], across[0]))).astype(np.float32)
        mark = self._mark(patch)
        look = self._people.pop(face.track, None) or _MouthAppearance(patch, mark, time)
        while len(self._people) >= MOST_PEOPLE:
            self._people.pop(next(iter(self._people)))
        self._people[face.track] = look
        seen, then = patch[self._eyes], look.patch[self._eyes]
        expected = look.patch * ((seen * then).sum(0) / np.maximum((then * then).sum(0), 1.0))
        # In the dark a change is as large as it would be in the light.
        level = float(np.clip(expected[self._skin].mean() / 128, 0.1, 1.0))
        changed = np.abs(patch - expected).max(axis=-1) > CHANGED * level
        strength = float(np.linalg.norm(look.mark))
        clear = strength > FAINT * len(mark) ** 0.5  # drawings may have no lips to be seen
        left = float(np.linalg.norm(mark)) / strength if clear else 1.0
        skin, eyes = (float(changed[part].mean()) for part in (self._still, self._eyes))
        skin -= eyes  # a flash changes all of the face
        return look.update(patch, mark, time, changed, float(between(skin, SKIN)), float(between(left, MARK)))

    def _mark(self, patch):
        """Redness and brightness of the lips' pixels, less those of the skin."""
        sums = patch.sum(axis=-1) + 1
        red = 3 * (patch[..., 2] - patch[..., 1]) / sums
        light = sums / max(float(sums[self._skin].mean()), 1.0)
        return np.concatenate([x[self._lips] - x[self._skin].mean() for x in (red, light)])


class _MouthAppearance:
    """What one person looked like until now."""

    def __init__(self, patch, mark, time):
        self.patch, self.mark, self.time = patch, mark, time
        self.seconds = 0.0
        self.answer = 1.0

    def update(self, patch, mark, time, changed, skin, lips) -> float:
        passed = abs(time - self.time)
        self.time = time
        self.answer = min(skin, lips, self.answer + passed / RETURN)
        rate = 1 - np.exp(-passed / np.where(changed, RELEARN, LEARN))
        self.patch = self.patch + rate[..., None].astype(np.float32) * (patch - self.patch)
        # The mark is a mean over the seconds at first: it may begin with a yawn.
        self.seconds += passed
        slow = min(self.seconds, RELEARN) if lips > 0.5 else FORGET
        self.mark = self.mark + passed / max(slow, passed, 1e-6) * (mark - self.mark)
        return self.answer
