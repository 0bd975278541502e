"""Networks of others that are given as ONNX files: for LPIPS, and for the identity of a face.

Neither their weights nor a way to get them ships with this project. OpenVINO runs them on the CPU, one image at a time.
"""

import os

import numpy as np

from ..utils import openvino_core
from ..utils.errors import UserError

SIZES = {"lpips": 96, "arcface": 112}  # pixels of a side where a file leaves them open
ADVICE = {
    "lpips": "give an ONNX file of LPIPS that takes two images, RGB in -1 to 1, and returns their distance",
    "arcface": "give an ONNX file of ArcFace that takes one face, RGB in -1 to 1, and returns its embedding",
}


class Given:
    """A network in a file.

    Args:
        path: an ONNX file.
        kind: of ADVICE.

    Attributes:
        size: pixels of a side of the images that it takes.

    Raises:
        UserError: OpenVINO cannot read the file, or it holds another sort of network.
    """

    def __init__(self, path: str | os.PathLike, kind: str):
        self.path, self._advice = path, ADVICE[kind]
        try:
            openvino_core.import_openvino()
        except ImportError as error:
            raise UserError(
                f"--{kind}: OpenVINO runs the network, and is not installed; pip install openvino"
            ) from error
        try:
            model = self._read()
        except Exception as error:  # OpenVINO has no class of its own for it
            raise self._refusal("cannot be read as ONNX") from error
        count = 2 if kind == "lpips" else 1
        shapes = [parameter.partial_shape for parameter in model.inputs]
        if len(shapes) != count or len(model.outputs) != 1:
            raise self._refusal(f"has {len(shapes)} inputs and {len(model.outputs)} outputs, not {count} and 1")
        shape = shapes[0]
        if any(one.rank.is_dynamic or len(one) != 4 or not one[1].compatible(shape[1].__class__(3)) for one in shapes):
            raise self._refusal(f"takes inputs of the shape {shape}, not images of 3 channels, (n,3,height,width)")
        self.size = shape[2].get_length() if shape[2].is_static else SIZES[kind]
        try:
            model.reshape({parameter: [1, 3, self.size, self.size] for parameter in model.inputs})
            self._request = openvino_core.infer_request(model, "f32", 1)
            found = self(*np.zeros((count, 1, self.size, self.size, 3), "uint8"))
        except Exception as error:
            raise self._refusal(f"cannot be run ({' '.join(str(error).split())[:120]})") from error
        if (found.shape[1] == 1) != (kind == "lpips"):
            raise self._refusal(f"returns {found.shape[1]} numbers for an image")

    def _read(self):
        from openvino.frontend import FrontEndManager

        # By name: others that look at a file to see whether it is theirs write to stderr.
        frontend = FrontEndManager().load_by_framework("onnx")
        return frontend.convert(frontend.load(os.fspath(self.path)))

    def __call__(self, *images: np.ndarray) -> np.ndarray:
        """What it says of images, of which each input has a row.

        Args:
            images: for each input (n,size,size,3) uint8 BGR.

        Returns:
            (n,d) float32.
        """
        rows = []
        for one in zip(*images, strict=True):
            planes = [image[None, ..., ::-1].transpose(0, 3, 1, 2).astype("float32") / 127.5 - 1 for image in one]
            found = self._request.infer(planes)
            rows.append(np.array(next(iter(found.values())), "float32").ravel())
        return np.stack(rows)

    def _refusal(self, wrong):
        return UserError(f"{self.path}: {wrong}; {self._advice}")
