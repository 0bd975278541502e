"""A photo's skin: how bright it is by the way it faces, and where it is."""

import cv2
import numpy as np


class Light:
    """How bright skin is in a photo, by the direction that it faces: a constant and a direction.

    Args:
        normals: (n, 3) of skin, y down.
        grey: (n,) 0..255.
    """

    _USUAL = np.array([0.62, 0.0, -0.22, 0.30])  # from above and in front; y points down

    def __init__(self, normals: np.ndarray, grey: np.ndarray):
        facing = np.column_stack([np.ones(len(normals)), normals])
        level = max(float(np.mean(grey)) / float(np.mean(facing @ self._USUAL)), 1.0)
        values = np.clip(grey / level, 0.2, 1.8) - facing @ self._USUAL
        prior = 0.25 * len(grey) * np.diag([0.1, 1, 1, 1])
        change = np.linalg.solve(facing.T @ facing + prior, facing.T @ values)
        self._weights = self._USUAL + np.clip(change, -0.25, 0.25)

    def gain(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """The factor (n,) by which skin gets brighter as its normals go from `before` to `after`, (n, 3) each."""
        was, now = (np.maximum(self._weights[0] + normals @ self._weights[1:], 0.25) for normals in (before, after))
        return np.clip(now / was, 0.55, 1.35)


def hair_at(photo: np.ndarray, points: np.ndarray, skin: np.ndarray, width: float) -> np.ndarray:
    """How far a photo shows hair at points beside the face, (n,) 0..1: what is much darker than the skin.

    Args:
        photo: (H, W, 3) uint8 BGR.
        points: (n, 2) x and y, pixels.
        skin: (3,) BGR of the skin, 0..255.
        width: of the face, pixels.
    """
    lightness = cv2.cvtColor(cv2.GaussianBlur(photo, (0, 0), 0.015 * width), cv2.COLOR_BGR2LAB)[..., 0]
    usual = cv2.cvtColor(np.uint8(skin).reshape(1, 1, 3), cv2.COLOR_BGR2LAB)[0, 0, 0]
    x, y = np.rint(points).astype(int).clip(0, np.array(photo.shape[1::-1]) - 1).T
    return np.clip((float(usual) - lightness[y, x] - 40) / 35, 0, 1)
