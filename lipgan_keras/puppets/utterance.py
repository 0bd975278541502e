"""What is heard in a clip, and how the mouth moves."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

import librosa
import numpy as np
from scipy.signal import resample

from ..config import SAMPLE_RATE
from ..data import music
from ..data import noise as data_noise
from ..media import audio_file
from ..utils import tables
from ..utils.errors import UserError
from . import phones as puppets_phones
from .phones import SILENCE, Phone
from .speech import FPS, articulation_from_speech, synthesise_speech
from .visemes import CONTROLS, Articulation, articulate

TRACK = ".txt"  # beside a file of speech, with the phones in it
_SENTENCES = 40  # that are drawn at most to fill a clip


@dataclasses.dataclass(frozen=True)
class Utterance:
    """What is heard in a clip, and how the mouth moves.

    Attributes:
        wave: (samples,) float32, 16 kHz mono in [-1, 1].
        opening, width: (frames,) float32, see `speech.synthesise_speech`.
        controls: (frames,) float32 for each of `visemes.CONTROLS`, for a 3D mouth.
        numbers: how it was made.
    """

    wave: np.ndarray
    opening: np.ndarray
    width: np.ndarray
    controls: dict[str, np.ndarray]
    numbers: dict


@dataclasses.dataclass(frozen=True)
class Speech:
    """Real speech, and its phones where they are known.

    Attributes:
        wave: (samples,) float32, 16 kHz mono.
        phones: the whole track, or None.
    """

    wave: np.ndarray
    phones: Sequence[Phone] | None = None

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Speech":
        """A file with sound, and the track beside it, `<stem>.txt`, if there is one.

        Raises:
            UserError: one of them cannot be read.
        """
        track = Path(path).with_suffix(TRACK)
        return cls(audio_file.load_audio(path), puppets_phones.read(track) if track.is_file() else None)

    def moves(self, rng: np.random.Generator | None = None) -> Articulation:
        """How a mouth moves that says it: by its phones, or by energy and formants."""
        if self.phones is None:
            return articulation_of(*articulation_from_speech(self.wave))
        return articulate(self.phones, max(1, round(len(self.wave) / SAMPLE_RATE * FPS)) / FPS, rng=rng)

    def part(self, first: int, length: int) -> "Speech":
        """Samples `first` to `first + length`."""
        wave = self.wave[first : first + length]
        return Speech(wave, self.phones and _cut(self.phones, first / SAMPLE_RATE, len(wave) / SAMPLE_RATE))


def read_texts(path: str | os.PathLike) -> list[str]:
    """The lines of a text file to be said, without empty ones.

    Raises:
        UserError: it cannot be read, or holds none.
    """
    text = tables.text(path, "a text file in UTF-8", "give one sentence a line")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise UserError(f"{path}: is empty; give one sentence a line")
    return lines


def articulation_of(opening: np.ndarray, width: np.ndarray) -> Articulation:
    """Controls of a 3D mouth where only opening and width are known, (frames,) each."""
    round_, spread = np.maximum(-width, 0), np.maximum(width, 0)
    known = {"jaw": opening, "pucker": 0.8 * round_, "funnel": 0.4 * round_ * opening, "stretch": 0.8 * spread}
    known |= {"lower_down": 0.45 * opening, "upper_up": 0.25 * opening}
    controls = {name: np.clip(known.get(name, np.zeros_like(opening)), 0, 1).astype(np.float32) for name in CONTROLS}
    return Articulation(controls, np.float32(opening), np.float32(width))


def plain_utterance(
    seconds: float, speech: Sequence[Speech], rng: np.random.Generator, texts: Sequence[str] = ()
) -> Utterance:
    """A piece of given speech, some of given sentences, or, where there are neither, synthesised speech, as it is.

    Raises:
        UserError: flite is missing, or cannot say a sentence.
    """
    length = round(seconds * SAMPLE_RATE)
    if speech:
        said = speech[rng.integers(len(speech))]
        said = said.part(rng.integers(max(1, len(said.wave) - length + 1)), length)
        return _of(said.wave, said.moves(), {})
    if texts:
        numbers = {}
        said = _said(texts, length, rng, numbers)
        return _of(said.wave, said.moves(), numbers)
    wave, *moves = synthesise_speech(seconds, rng)
    return _of(wave, articulation_of(*moves), {})


def draw_utterance(
    seconds: float, speech: Sequence[Speech], rng: np.random.Generator, texts: Sequence[str] = ()
) -> Utterance:
    """Speech, synthesised, given or said by flite, alone or with noise or music; music alone; or silence.
    Only speech moves the mouth.

    Args:
        seconds: the length.
        speech: a third of what is drawn is pieces of these.
        rng: decides.
        texts: sentences; most of the rest is some of these, in a voice of flite's. None: the synthesiser's babble.

    Raises:
        UserError: flite is missing, or cannot say a sentence.
    """
    frames = max(1, round(seconds * FPS))
    samples = round(frames / FPS * SAMPLE_RATE)
    kind, chance = "synthesised", rng.random()
    if chance < 0.05:
        kind = "silence"
    elif chance < 0.11:
        kind = "music"
    elif chance < 0.45 and len(speech):
        kind = "speech"
    elif chance < 0.95 and len(texts):
        kind = "said"
    numbers = {"sound": kind}
    if kind in ("silence", "music"):
        still = np.zeros(frames, np.float32)
        return _of(without_speech(kind, samples / SAMPLE_RATE, rng), articulation_of(still, still), numbers)
    hush = _hush(samples, rng)
    # Now and then nobody speaks for a while, before or after.
    first, last = 0, frames
    if frames >= 50 and rng.random() < 0.25:
        first = int(rng.integers(0, frames // 2)) if rng.random() < 0.7 else 0
        last = int(rng.integers(first + 20, frames + 1))
    part = (last - first) / FPS
    if kind == "synthesised":
        wave, *moves = synthesise_speech(part, rng, varied=True)
        said, moves = Speech(wave), articulation_of(*moves)
    else:
        length = round(part * SAMPLE_RATE)
        said = _said(texts, length, rng, numbers) if kind == "said" else _respoken(speech, length, rng)
        moves = said.moves(rng if said.phones else None)
    wave, whole = hush, _at(moves, first, last, frames)
    start = round(first / FPS * SAMPLE_RATE)
    wave[start : start + len(said.wave)] += said.wave[: samples - start]
    if rng.random() < 0.3:
        numbers["besides"] = "music" if rng.random() < 0.6 else "noise"
        make = music.music if numbers["besides"] == "music" else data_noise.coloured_noise
        numbers["snr_db"] = float(rng.uniform(0, 20))
        wave = data_noise.mix(wave, make(seconds, rng), numbers["snr_db"], data_noise.level(said.wave))
    return _of(np.clip(wave, -1, 1), whole, numbers)


def without_speech(kind: str, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """What there is to hear where nobody speaks: (samples,) float32 in [-1, 1], 16 kHz.

    Args:
        kind: "music", loud or low; or "silence": a quiet hiss, with coloured noise in half of the draws.
        seconds: the length.
        rng: decides.
    """
    samples = round(seconds * SAMPLE_RATE)
    wave = _hush(samples, rng)
    if kind == "music":
        gain = np.float32(rng.uniform(0.1, 0.9))
        wave += gain * librosa.util.fix_length(music.music(seconds, rng), size=samples)
    elif rng.random() < 0.5:
        gain = np.float32(10 ** rng.uniform(-3, -1))
        wave += gain * librosa.util.fix_length(data_noise.coloured_noise(seconds, rng), size=samples)
    return np.clip(wave, -1, 1)


def _hush(samples, rng):
    return (10 ** rng.uniform(-4.5, -2.5) * rng.standard_normal(samples)).astype(np.float32)


def _of(wave, moves, numbers):
    return Utterance(wave, moves.opening, moves.width, moves.controls, numbers)


def _at(moves, first, last, frames):
    """The moves in frames `first` to `last` of so many, and a mouth at rest in the others."""

    def placed(curve):
        whole = np.zeros(frames, np.float32)
        whole[first:last] = curve[: last - first]
        return whole

    controls = {name: placed(curve) for name, curve in moves.controls.items()}
    return Articulation(controls, placed(moves.opening), placed(moves.width))


def _respoken(speech, samples, rng) -> Speech:
    """Random pieces of given speech in a row, faster or slower (and higher or lower), through another microphone."""
    speed, tilt = 2 ** rng.uniform(-0.25, 0.25), rng.uniform(-3, 3)
    pieces, track, filled = [], [], 0
    while filled < samples:
        one = speech[rng.integers(len(speech))]
        length = min(len(one.wave), round(rng.uniform(1.5, 6.0) * SAMPLE_RATE))
        part = one.part(rng.integers(len(one.wave) - length + 1), length)
        piece = resample(part.wave, max(1, round(length / speed)))
        if track is not None:
            track = None if part.phones is None else [*track, *_later(part.phones, filled / SAMPLE_RATE, speed)]
        pieces += [piece * 0.1 / max(data_noise.level(piece), 1e-4), np.zeros(int(rng.integers(800, 6400)))]
        filled += len(pieces[-2]) + len(pieces[-1])
    wave = np.concatenate(pieces)[:samples]
    spectrum = np.fft.rfft(wave)
    spectrum *= 10 ** (tilt / 20 * np.log2(np.maximum(np.fft.rfftfreq(samples, 1 / SAMPLE_RATE), 60) / 1000))
    wave = np.fft.irfft(spectrum, samples)
    wave = (wave * rng.uniform(0.1, 0.95) / max(np.abs(wave).max(), 1e-6)).astype(np.float32)
    return Speech(wave, track and _cut(track, 0, samples / SAMPLE_RATE))


def _said(texts, samples, rng, numbers) -> Speech:
    """Random sentences in a row, in one voice of flite's at a pitch and a rate of its own."""
    voice = puppets_phones.VOICES[rng.integers(len(puppets_phones.VOICES))]
    pitch = 2 ** rng.uniform(-0.35, 0.35) * (165 if voice == "slt" else 110)
    rate, deviation = 2 ** rng.uniform(-0.35, 0.3), rng.uniform(8, 35)
    numbers |= {"voice": voice, "pitch": float(pitch), "rate": float(rate)}
    pieces, track, filled = [], [], 0
    for _ in range(_SENTENCES):
        wave, phones = puppets_phones.say(texts[rng.integers(len(texts))], voice, rate, pitch, deviation)
        track += _later(phones, filled / SAMPLE_RATE)
        pieces += [wave, np.zeros(int(rng.integers(0, 4800)), np.float32)]
        filled += len(pieces[-2]) + len(pieces[-1])
        if filled >= samples:
            break
    wave = librosa.util.fix_length(np.concatenate(pieces), size=samples)
    wave = wave * np.float32(rng.uniform(0.1, 0.95) / max(np.abs(wave).max(), 1e-6))
    return Speech(wave.astype(np.float32), _cut(track, 0, samples / SAMPLE_RATE))


def _later(phones, seconds, speed=1.0) -> list[Phone]:
    return [Phone(p.name, seconds + p.start / speed, seconds + p.end / speed) for p in phones]


def _cut(phones, first, seconds) -> list[Phone]:
    """What lies within `seconds` from `first` on; times count from there."""
    kept = [p for p in phones if p.end > first and p.start < first + seconds]
    inside = [Phone(p.name, max(p.start - first, 0.0), min(p.end - first, seconds)) for p in kept]
    return inside or [Phone(SILENCE, 0.0, seconds)]
