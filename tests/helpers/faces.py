"""A face as the detector gives it."""

import numpy as np

from lipgan_keras.face.detector import Face

FRONTAL = np.array([[30, 30], [70, 30], [50, 52], [35, 75], [65, 75]], np.float32)  # a face in a box of 100 x 130


def face(x=0.0, y=0.0, scale=1.0, landmarks=FRONTAL):
    return Face(np.float32([x, y, x + 100 * scale, y + 130 * scale]), np.float32(landmarks * scale + (x, y)), 1.0)
