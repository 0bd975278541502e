"""How papers measured, as presets of evaluate.py: each fixes flags, and says what it fixed and what nobody stated."""

import dataclasses
from typing import Any

from ..utils.errors import UserError
from .config import EvalConfig

OF_TABLE_1 = {"whole_frames": True, "metrics": ("lse_d", "lse_c", "fid")}


@dataclasses.dataclass(frozen=True)
class Protocol:
    """One table of a paper.

    Attributes:
        mode: what it measures, as `EvalConfig.mode`.
        fixes: {flag of evaluate.py: value}.
        fixed, open: for people: what that is, and what the paper does not state.
    """

    mode: str
    fixes: dict[str, Any]
    fixed: str
    open: str


PROTOCOLS = {
    "lipgan-lrw": Protocol(
        "checkpoint",
        {"split": "test", "identity": "random", "metrics": ("psnr", "ssim", "lmd")},
        "table 5 of LipGAN (arXiv 2003.00418): PSNR, SSIM and LMD of LRW's test clips; a random frame of each clip is "
        "the identity frame, all others are measured; faces are not aligned",
        "how faces are cropped, the window of SSIM, and the unit of LMD. Here: preprocess.py's crops, compared at "
        "96x96 pixels; a Gaussian of 1.5 pixels; pixels of that crop, by dlib's 20 points of the mouth",
    ),
    "wav2lip": Protocol(
        "filelist",
        OF_TABLE_1 | {"order": "sound_face"},
        "table 1 of Wav2Lip (arXiv 2008.10010): LSE-D, LSE-C and FID of one clip's sound on another's face, by its "
        "lists; SyncNet sees whole frames, resized to 224x224",
        "which images the FID compares. Here: one face crop in 5 frames, of results and of the videos behind them",
    ),
    "resynced": Protocol(
        "filelist",
        OF_TABLE_1 | {"order": "face_sound"},
        "ReSyncED (arXiv 2008.10010): lines <video> <audio>, the other way round than in the test lists; LSE-D, LSE-C "
        "and FID as in table 1",
        "as in table 1",
    ),
}


def completed(options: EvalConfig) -> EvalConfig:
    """The options with what their protocol fixes filled in.

    Raises:
        UserError: there is no such protocol, it measures something else, or a flag says otherwise.
    """
    if options.protocol is None:
        return options
    if options.protocol not in PROTOCOLS:
        raise UserError(f"--protocol {options.protocol}: is none of {', '.join(PROTOCOLS)}")
    protocol = PROTOCOLS[options.protocol]
    if options.mode != protocol.mode:
        needs = "--filelist and --data_root" if protocol.mode == "filelist" else "--checkpoint and --data_root alone"
        raise UserError(f"--protocol {options.protocol}: measures a {protocol.mode}; give {needs}")
    default = EvalConfig()
    for name, value in protocol.fixes.items():
        given = getattr(options, name)
        given = tuple(given) if isinstance(given, list) else given  # of --metrics
        if given not in (getattr(default, name), value):
            raise UserError(f"--{name} {given}: --protocol {options.protocol} has {value}; leave one of the two away")
    return dataclasses.replace(options, **protocol.fixes)
