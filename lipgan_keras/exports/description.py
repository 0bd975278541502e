"""All that a program needs to know to use a generator without this project, as plain values for JSON.

docs/exports.md explains each part.
"""

from __future__ import annotations

from typing import Any

from .. import __version__, audio
from ..config import (
    FIRST_STEP_SECONDS,
    FPS,
    OWN_CROPS,
    SAMPLE_RATE,
    STEPS_PER_SECOND,
    WINDOW_SHAPE,
    ModelConfig,
    lower_half,
)
from ..face import cropping, regions

FORMAT = 1
BGR = ["blue", "green", "red"]
PASTE = (
    "scale the image to the crop's box in the frame, and paste mouth and chin with a soft edge; the upper half "
    "repeats the frame's and may be left out"
)


def describe(config: ModelConfig, form: str, weights_licence: str | None) -> dict[str, Any]:
    """What goes in and comes out of a generator, and where it comes from in a video and a sound.

    Args:
        form: the name of the format.
        weights_licence: of the weights, where it is known.
    """
    size, steps = config.img_size, WINDOW_SHAPE[config.audio]
    return {
        "lipgan_keras": FORMAT,
        "version": __version__,
        "licence": {"code": "MIT", "weights": weights_licence},
        "format": form,
        "model": {
            "variant": config.variant,
            **config.blocks,
            "width": config.width,
            "img_size": size,
            "training_steps": config.step,
        },
        "inputs": [
            {
                "name": "input_face",
                "shape": [None, size, size, 6],
                "dtype": "float32",
                "range": [0, 1],
                "layout": "batch, row from the top, column from the left, channel",
                "channels": [f"{image} {colour}" for image in ("identity", "target") for colour in BGR],
                "identity": "the whole face crop of the frame",
                "target": "the same crop; the rows hidden_rows[0] to hidden_rows[1] - 1 are 0",
                "hidden_rows": [lower_half(size), size],
                "scale": "uint8 / 255",
            },
            {
                "name": "input_audio",
                "shape": [None, *steps, 1],
                "dtype": "float32",
                "range": [-4, 4] if config.audio == "mel" else None,
                "layout": "batch, band from low to high, step from early to late, 1"
                if config.audio == "mel"
                else "batch, coefficient from 1 to 12, step from early to late, 1",
            },
        ],
        "outputs": [
            {
                "name": "prediction",
                "shape": [None, size, size, 3],
                "dtype": "float32",
                "range": [0, 1],
                "layout": "batch, row from the top, column from the left, channel",
                "channels": BGR,
                "meaning": _meaning(config),
                "paste": PASTE,
            }
        ],
        "audio": _audio(config.audio),
        "window": _window(config),
        "fps": FPS,
        "crop": _crop(config),
    }


def _meaning(config):
    image = "the face crop in which the mouth says the middle of the audio window, upper half included"
    if config.blocks["decoder"] != "warp":
        return image
    mixed = "pixels of the identity image that were moved, and painted ones, already mixed by the mask"
    return f"{image}: {mixed}; moved ones may lie a little outside the range, as they are interpolated: clip them"


def _audio(kind):
    """The features, in words that numpy has functions for."""
    common = {
        "features": kind,
        "sample_rate": SAMPLE_RATE,
        "sound_channels": 1,
        "sample_range": [-1, 1],
        "pre_emphasis": audio.PRE_EMPHASIS,
        "steps_per_second": STEPS_PER_SECOND[kind],
        "first_step_seconds": FIRST_STEP_SECONDS[kind],
        "silence": [float(value) for value in audio.windows(audio.features([0.0], kind), [-9.0], kind)[0, :, 0, 0]],
    }
    if kind == "mel":
        filters, own = (
            audio.mel_filters(),
            {
                "n_fft": audio.MEL_FFT,
                "hop": audio.MEL_HOP,
                "taper": "periodic Hann window of n_fft samples",
                "edges": "n_fft / 2 samples are added at both ends, reflected",
                "bands": WINDOW_SHAPE[kind][0],
                "frequencies_hz": list(audio.MEL_HZ),
                "scale": "Slaney's mel scale, each filter of area 1",
                "formula": "clip(8 * (20 * log10(max(1e-5, filters @ abs(spectrum))) - 20 + 100) / 100 - 4, -4, 4)",
            },
        )
    else:
        filters, own = (
            audio.htk_filters(),
            {
                "frame": audio.MFCC_FRAME,
                "n_fft": audio.MFCC_FFT,
                "hop": audio.MFCC_SHIFT,
                "taper": "symmetric Hamming window of frame samples",
                "edges": "none is added",
                "bands": audio.htk_filters().shape[0],
                "frequencies_hz": list(audio.MFCC_HZ),
                "scale": "HTK's mel scale, each filter of height 1; samples are multiplied by 32768 first",
                "formula": "(1 + 11 * sin(pi * n / 22)) * dct2(log(max(2.2e-16, filters @ abs(spectrum))))[n], n from "
                "1 to 12; dct2 is orthonormal",
            },
        )
    return {**common, **own, "filters": _rows(filters)}


def _rows(filters):
    """Of each filter the first bin that is not 0, and the weights from there on."""
    found = []
    for row in filters.toarray():
        (bins,) = row.nonzero()
        first, last = (int(bins[0]), int(bins[-1])) if len(bins) else (0, -1)
        found.append([first, [float(f"{value:.9g}") for value in row[first : last + 1]]])
    return found


def _window(config):
    """Which steps of the features a frame hears."""
    kind, clock = config.audio, audio.WindowClock.of(config)
    steps, rate, first = WINDOW_SHAPE[kind][1], STEPS_PER_SECOND[kind], FIRST_STEP_SECONDS[kind]
    centre = "(start + end) / 2"
    if config.alignment in audio.RELEASED:
        per_second = STEPS_PER_SECOND["mel"]
        centre = f"(floor({per_second} * (start - {audio.RELEASED[config.alignment]:g}) + 1e-6) + 13) / {per_second}"
    shown = 1.0, 1.0 + 1 / FPS
    return {
        "steps": steps,
        "seconds": steps / rate,
        "alignment": config.alignment,
        "audio_offset_ms": config.audio_offset_ms,
        "centre_seconds": f"{centre} + {config.audio_offset_ms / 1000:g}",
        "first_step": f"floor({rate} * (centre - {first:g}) + 0.5 + 1e-6) - {steps // 2}",
        "outside": "steps before and after the sound are those of silence",
        "example": {
            "start": shown[0],
            "end": shown[1],
            "centre": float(clock.centres(*shown)),
            "first_step": int(audio.first_step(clock.centres(*shown), kind)[0]),
        },
    }


def _crop(config):
    """Where the square lies that is cut out of the frame."""
    mean = regions.default_landmarks(1, config.crop).tolist()
    points = {
        "landmarks": "right eye (left in the picture), left eye, nose, right and left corner of the mouth",
        "mean_landmarks": [[round(value, 4) for value in point] for point in mean],
        "angle": "the head is upright in the crop: where the face lies on its side, the square is turned with it",
        "scaling": "mean over the pixels that a new one covers; beyond the frame its edge is repeated",
    }
    if config.crop not in OWN_CROPS:
        x, y = (float(value) for value in cropping.DLIB_MIDDLE)
        return {
            "kind": config.crop,
            "centre": f"eyes + ({x:g}, {y:g}) * (mouth - eyes), x and y each",
            "side": f"{cropping.DLIB_SIDE:g} times the width of MTCNN's box",
            **points,
        }
    return {
        "kind": config.crop,
        "unit": "max(|mouth - eyes|, 1.14 |left eye - right eye|); eyes and mouth are the middles of their two points",
        "centre": f"mouth - {cropping.MIDDLE:g} * unit * (mouth - eyes) / |mouth - eyes|",
        "side": f"{cropping.SIDE:g} * unit",
        "mouth": "where eyes and nose say it is at rest: its place seen from them, averaged over the frames around"
        if config.crop == "steady"
        else "where it is in the frame",
        **points,
    }
