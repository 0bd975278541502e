"""Photos of faces as puppets: finds face and mouth in them."""

import itertools
import os
from pathlib import Path

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter1d

from ..face import detector, tracking
from ..face.detector import Face
from ..face.photos import shipped_photos
from ..utils.errors import UserError
from . import face as puppets_face
from .face import MouthGeometry, Puppet

# The photos that ship with packages. Measured by hand; the boxes are MTCNN's.
_SHIPPED = {
    "grace_hopper": MouthGeometry(
        box=(178, 110, 351, 330),
        upper=[(228.8, 281), (238, 278.7), (246, 276.6), (254.7, 276), (261.3, 277.3), (266.3, 278.7), (273, 277.7),
               (281.3, 276), (291.3, 275.7), (299.7, 276.3), (309, 280.8)],
        lower=[(228.8, 281), (238, 281.7), (246, 279.6), (254.7, 279.2), (261.3, 280.3), (266.3, 281.2), (273, 280.3),
               (281.3, 279), (291.3, 278.7), (299.7, 279.3), (309, 280.8)],
        chin=328,
        landmarks=[(218.8, 189.6), (306.2, 185.4), (265.3, 237.7), (230.3, 276.8), (301.4, 271.8)],
    ),
    "astronaut": MouthGeometry(
        box=(182, 64, 265, 171),
        upper=[(203.8, 140), (209.7, 140.8), (216.3, 141.6), (224.7, 142.4), (233, 142), (238.8, 141), (244.6, 140.4)],
        lower=[(203.8, 140), (206.5, 143.4), (209.7, 146.2), (216.3, 149.4), (224.7, 150.8), (233, 149), (239.7, 145),
               (244.6, 140.4)],
        chin=178,
        landmarks=[(202.3, 98.2), (245.8, 101.2), (222.9, 126.2), (199.6, 137.1), (243.6, 139.6)],
        rest_width=0.9,
    ),
}  # fmt: skip


def load_puppet(path: str | os.PathLike, name: str | None = None, size: int = puppets_face.FRAME_SIZE) -> Puppet:
    """The largest face of a photo. A photo with closed lips and the face straight ahead works best.

    Args:
        path: any image; those of `shipped_photos` need no face detector. From a video the frame with the lips shut
            most is taken, among the first 10 seconds.
        name: the clips' folder; default: the file's stem.
        size: of the frames.

    Raises:
        UserError: not an image, or no face in it.
    """
    from ..media import video_reader

    path = Path(path)
    name = name or "_".join(path.stem.split())
    for shipped, file in shipped_photos().items() if path.exists() else ():
        if path.samefile(file):
            return Puppet(video_reader.read_image(path), _SHIPPED[shipped], name, size)
    photo, face = find_face(path)
    return Puppet(photo, _find_mouth(photo, face.box, face.landmarks), name, size)


def find_face(path: str | os.PathLike) -> tuple[np.ndarray, Face]:
    """A photo, BGR uint8, and its largest face. From a video the frame of `shut_lips` is taken.

    Raises:
        UserError: not an image or a video, or no face in it.
    """
    from ..media import probe, video_reader

    if not probe.probe(path).is_still:
        return shut_lips(path)
    photo = video_reader.read_image(path)
    face = detector.select(detector.detect([photo])[0])
    if face is None:
        raise UserError(f"{path}: no face found; give a photo of one person looking at the camera")
    return photo, face


def shut_lips(path: str | os.PathLike) -> tuple[np.ndarray, Face]:
    """The frame with the lips shut most in a video's first 10 seconds, BGR uint8, and the face in it.

    Raises:
        UserError: no face in it, or the video cannot be read.
    """
    from ..face import aperture
    from ..media import video_reader

    frames = itertools.takewhile(lambda frame: frame.time < 10, video_reader.read_frames(path))
    seen = list(tracking.follow(frames))
    if not seen:
        raise UserError(f"{path}: no face found; give a video of one person looking at the camera")
    frame, one = seen[int(np.argmin(aperture.mouth_apertures_seen(seen)))]
    return frame.image, one.face


def _find_mouth(photo: np.ndarray, box, landmarks: np.ndarray) -> MouthGeometry:
    """The lip line: the darkest parabola near the line between the mouth's corners."""
    left, right = np.asarray(landmarks, float)[3:5]
    middle, half = (left + right) / 2, 1.1 * (right - left) / 2  # MTCNN's corners lie a little inside
    axes = np.array([[half[0], -half[1]], [half[1], half[0]]])
    x, y = np.linspace(-1, 1, 81), np.linspace(-1, 1, 101)
    u, v = np.einsum("ij,jkl->ikl", axes, np.stack(np.meshgrid(x, y))) + middle[:, None, None]
    grey = cv2.cvtColor(photo, cv2.COLOR_BGR2GRAY).astype(np.float32)
    blur = max(0.3, 0.02 * float(np.hypot(*half)))
    patch = cv2.remap(
        cv2.GaussianBlur(grey, (0, 0), blur), u.astype(np.float32), v.astype(np.float32), cv2.INTER_LINEAR
    )
    darkness = gaussian_filter1d(patch, 12, axis=0) - gaussian_filter1d(patch, 1.5, axis=0)
    inside = np.abs(x) < 0.85
    columns = np.flatnonzero(inside)

    def curve(offset, slope, bend):
        return offset + slope * x + bend * (1 - x**2)

    def score(parameters):
        rows = np.rint((curve(*parameters)[inside] + 1) * 50).astype(int).clip(0, 100)
        return darkness[rows, columns].mean() - 5 * np.abs(parameters).sum()  # in doubt, near the corners

    grid = itertools.product(np.linspace(-0.2, 0.2, 17), np.linspace(-0.1, 0.1, 5), np.linspace(-0.2, 0.4, 25))
    line = curve(*max(grid, key=score))
    border = 0.035 * np.sqrt(np.maximum(0, 1 - x**2))  # the dark line itself is painted anew
    upper, lower = ((axes @ np.stack([x, line + d]) + middle[:, None]).T for d in (-border, border))
    points = (np.asarray(landmarks, float) - 0.5).tolist()
    return MouthGeometry(tuple(float(v) for v in box), upper.tolist(), lower.tolist(), float(box[3]), points)
