"""What a checkpoint holds, handed on to those who measure with it: its configuration, networks and training."""

import os

from .. import checkpoints
from ..checkpoints import files_of, load_generator, read_networks, read_split, read_training  # noqa: F401 - handed on
from ..config import ModelConfig
from ..utils.errors import UserError

# The original's mel code trains on windows 8 frames earlier than those of its inference, which are a Keras file's.
ORIGINAL_OFFSET_MS = -320.0


def read_config(path: str | os.PathLike, audio_offset_ms: float | None = None) -> ModelConfig:
    """The configuration of a checkpoint; `audio_offset_ms` overrides the file's.

    Raises:
        UserError: see `checkpoints.read_config`.
    """
    return checkpoints.read_config(path).with_audio_offset(audio_offset_ms)


def load_discriminators(path: str | os.PathLike) -> tuple[dict, ModelConfig]:
    """The discriminators of a checkpoint that tell sync.

    Returns:
        {"sync" or "discriminator": keras.Model}, and the configuration.

    Raises:
        UserError: it has none, or cannot be read.
    """
    from .. import networks

    config = checkpoints.read_config(path)
    held = checkpoints.read_networks(path)
    models = {}
    if "sync" in held:
        models["sync"] = networks.build(config, "sync")
    if "discriminator" in held or not held:
        models["discriminator"] = networks.build(config, "discriminator")
    if not models:
        raise UserError(f"{path}: holds neither a lip-sync nor a contrastive discriminator; give a checkpoint with one")
    for model in models.values():
        checkpoints.load_weights(model, path)
    if not held and config.audio == "mel":
        config = config.with_audio_offset(ORIGINAL_OFFSET_MS)
    return models, config
