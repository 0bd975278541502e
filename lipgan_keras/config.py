"""What is known of a model without its weights, and the sizes, rates and names that several rooms share.

Importing this loads no Keras, which takes seconds.
"""

from __future__ import annotations

import dataclasses

from .utils import limits

IMG_SIZE = 96  # side of the face crop in pixels, the reference's
IMG_SIZES = (96, 192)
MOUTH_SIZE = 48  # side of the crops that the lip-sync discriminator sees
FPS = 25  # frames a second of every preprocessed clip
SAMPLE_RATE = 16000
WINDOW_SHAPE = {"mel": (80, 27), "mfcc": (12, 35)}  # rows and steps of the audio that a frame hears
STEPS_PER_SECOND = {"mel": 80, "mfcc": 100}
FIRST_STEP_SECONDS = {"mel": 0.0, "mfcc": 0.0125}  # the centre of step 0
ADVERSARIAL_WEIGHT = 0.01  # of the discriminator's loss in the generator's: the released code's, the paper has none
VARIANTS = ("residual", "basic")
ALIGNMENTS = ("centred", "released", "released_training")  # see `audio.WindowClock`
CROPS = ("steady", "lipgan_keras", "dlib")  # styles of the face crop, see `face.cropping`
OWN_CROPS = CROPS[:2]  # that preprocessing makes
# The blocks that come with the project, by kind; `blocks` and `networks` register them. Each variant names one of each.
BLOCKS = {
    "face_encoder": (*VARIANTS, "mobilenet"),
    "audio_encoder": (*VARIANTS, "attention"),
    "decoder": (*VARIANTS, "film", "warp"),
}


def lower_half(size: int) -> int:
    """The first row of the half of a face crop that is hidden from the generator (paper, section 4.1)."""
    return size // 2


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """What a checkpoint says of its model, so that inference needs no flags about it.

    Attributes:
        variant: "residual" or "basic": a preset of the three blocks.
        audio: "mel" or "mfcc".
        width: factor on the channel counts.
        img_size: pixels of a side of the face crop.
        alignment: which audio window belongs to a frame: "centred" on the middle of its display time, or "released"
            or "released_training", as in inference or training of the original's mel code (see `audio.WindowClock`).
        audio_offset_ms: added to the window's place; positive is a later window.
        crop: the face crop that the model was trained on, one of CROPS (see `cropping.crop_box`).
        step: training steps that the weights have seen.
        sync_frames: consecutive frames that the lip-sync discriminator sees, where there is one.
        sync_width: factor on its channel counts.
        face_encoder, audio_encoder, decoder: names of blocks (see `blocks`); "" is the variant's.
    """

    variant: str = "residual"
    audio: str = "mel"
    width: float = 1.0
    img_size: int = IMG_SIZE
    alignment: str = "centred"
    audio_offset_ms: float = 0.0
    crop: str = "lipgan_keras"
    step: int = 0
    sync_frames: int = 5
    sync_width: float = 1.0
    face_encoder: str = ""
    audio_encoder: str = ""
    decoder: str = ""

    def __str__(self) -> str:
        named = "".join(f", {kind} {name}" for kind, name in self.blocks.items() if name != self.variant)
        return f"{self.variant} {self.audio}{named}, width {self.width:g}, {self.img_size}x{self.img_size} pixels"

    @property
    def blocks(self) -> dict[str, str]:
        """{kind: name} of the generator's blocks."""
        return {kind: getattr(self, kind) or self.variant for kind in BLOCKS}

    @property
    def is_preset(self) -> bool:
        """Whether all blocks are those of the variant."""
        return set(self.blocks.values()) == {self.variant}

    @property
    def other_blocks(self) -> dict[str, str]:
        """{kind: name} of the blocks that do not come with the project."""
        return {kind: name for kind, name in self.blocks.items() if name not in BLOCKS[kind]}

    def with_audio_offset(self, offset_ms: float | None) -> ModelConfig:
        """A copy whose `audio_offset_ms` is another; the configuration itself for None."""
        return self if offset_ms is None else dataclasses.replace(self, **limits.checked(audio_offset_ms=offset_ms))
