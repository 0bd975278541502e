"""Flags that inference.py and `lipgan_keras.live` share, and what both do first."""

import argparse
import contextlib
import os
from collections.abc import Sequence

from ..utils.cli import MOST_PIXELS, add_plugin_flag, at_least, integer, limited
from ..utils.errors import UserError
from .blend import DEFAULT_REGION, REGIONS
from .options import ENGINES


def add_face_flags(parser: argparse._ActionsContainer) -> None:
    """What inference.py and `lipgan_keras.live` alike say of the face and of what runs the generator."""
    parser.add_argument(
        "--pads",
        type=integer(-MOST_PIXELS, MOST_PIXELS),
        nargs=4,
        default=[0, 0, 0, 0],
        metavar=("T", "B", "L", "R"),
        help="grow the face crop by so many pixels of --face at top, bottom, left and right",
    )
    parser.add_argument(
        "--box",
        type=integer(-MOST_PIXELS, MOST_PIXELS),
        nargs=4,
        metavar=("T", "B", "L", "R"),
        help="top, bottom, left and right of the face in pixels of --face, in every frame: nothing is looked for, so "
        "that drawings, masks and animals speak too",
    )
    parser.add_argument(
        "--region",
        choices=REGIONS,
        default=DEFAULT_REGION,
        help="what is redrawn; face: the original's rectangle",
    )
    parser.add_argument(
        "--sharpen",
        type=at_least(0),
        default=1.0,
        help="how much of the detail of the face the mouth is given; 0: none",
    )
    parser.add_argument(
        "--label",
        action="store_true",
        help="write on the picture that it is synthetic; an MP4's metadata say so anyway",
    )
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        default="auto",
        help="what runs the generator; auto: OpenVINO on a processor, Keras where there is a GPU, or a "
        "layer that OpenVINO cannot run",
    )
    add_plugin_flag(parser)
    parser.add_argument(
        "--audio_offset_ms",
        type=limited("audio_offset_ms"),
        help="shift of the audio windows (default: the checkpoint's)",
    )


def start_detector(face: str | os.PathLike | None, engine: str = "auto", box: Sequence[int] | None = None) -> None:
    """Begin to load the detector beside, if faces will be looked for and Keras need not be loaded here."""
    from ..face import detector
    from ..media import probe
    from .engine import loads_keras

    if box is None and not loads_keras(engine):
        with contextlib.suppress(UserError):  # of a file that is refused later, after what is wrong elsewhere
            detector.start_process(openvino=face is not None and probe.file_kind(face) != "still")
