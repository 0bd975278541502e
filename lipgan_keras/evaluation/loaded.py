"""Networks that are loaded once in each process."""

import functools

from ..config import ModelConfig
from .discriminator import ReferenceDiscriminator


@functools.cache
def judge(path: str) -> ReferenceDiscriminator:
    return ReferenceDiscriminator(path)


@functools.cache
def generator(path: str, audio_offset_ms: float | None):
    from ..inference import engine

    return engine.load(path, audio_offset_ms=audio_offset_ms)


@functools.cache
def generator_config(path: str, audio_offset_ms: float | None) -> ModelConfig:
    from ..inference import models

    return models.read_config(path, audio_offset_ms)


@functools.cache
def syncnet(path: str):
    from .syncnet import SyncNet

    return SyncNet(path)


@functools.cache
def given(path: str, kind: str):
    from .given import Given

    return Given(path, kind)


@functools.cache
def inception(path: str):
    from . import fid

    return fid.Inception(path)
