"""Tracks say when each phone is heard. They come from a synthesiser, from real speech with its words, or from files.

A track is a list of `Phone`. It follows the audio from its start to its end without a gap. The phones are those of
ARPAbet as the CMU dictionary writes them, in lower case and without stress, and the synthesiser's "ax". "pau" is
silence.

Reading a track needs neither flite, a program that Debian packages, nor pocketsphinx, a Python package.
"""

import dataclasses
import itertools
import math
import os
import re
import shutil
import subprocess
import tempfile
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from ..config import SAMPLE_RATE
from ..media import audio_file
from ..utils import files as utils_files
from ..utils import tables
from ..utils.errors import UserError

SILENCE = "pau"
VOWELS = frozenset("aa ae ah ao aw ax ay eh er ey ih iy ow oy uh uw".split())
CONSONANTS = frozenset("b ch d dh f g hh jh k l m n ng p r s sh t th v w y z zh".split())
PHONES = VOWELS | CONSONANTS | {SILENCE}
STOPS = frozenset("b ch d g jh k p t".split())
VOICES = ("awb", "kal", "kal16", "rms", "slt")  # of flite

# Other tools have other names for these phones.
_ALIASES = {
    **dict.fromkeys(("sil", "<sil>", "<s>", "</s>", "sp", "spn", "+spn+", "+nsn+", "h#", "#", "brth", "_"), SILENCE),
    **{"axr": "er", "dx": "d", "el": "l", "em": "m", "en": "n", "hv": "hh", "ix": "ih", "nx": "n", "ux": "uw"},
}
_KNOWN = "phones are ARPAbet, such as aa, b or sh, and pau"

_LONGEST_TEXT = 10_000  # characters; Linux takes no argument of 128 KiB
_PATIENCE = 300  # seconds for flite

# Judged on 110 clips of GRID, with their own words and with those of another clip. The other clip often shares half of
# the words. The mean score of a frame is -29 to -10 with a clip's own words, below -36 with two thirds of the others.
_LOWEST_SCORE = -36
_LONGEST_SOUND = 0.8  # seconds of one phone; 0.4 is the longest there
_SHORTEST, _MOST_SHORTEST = 3, 0.6  # the aligner's fewest frames of a phone; share of such phones, at most 0.32 there
_SILENT = 1e-4  # the aligner gives digital silence a good score
_LONGEST_STOP, _USUAL_STOP = 0.2, 0.1  # seconds
# A frame of the aligner covers 25.6 ms. Its number says where they begin.
_FRAME, _HEARD = 0.01, 0.008
# British pronunciations. The dictionary has the American ones.
_BRITISH = {"z(2)": "Z EH D", "r(2)": "AA", "four(2)": "F AO"}

_COMMANDS = {"b": "bin", "l": "lay", "p": "place", "s": "set"}
_COLOURS = {"b": "blue", "g": "green", "r": "red", "w": "white"}
_PREPOSITIONS = {"a": "at", "b": "by", "i": "in", "w": "with"}
_DIGITS = dict(zip("z123456789", "zero one two three four five six seven eight nine".split(), strict=True))
_ADVERBS = {"a": "again", "n": "now", "p": "please", "s": "soon"}
_LETTERS = {letter: letter for letter in "abcdefghijklmnopqrstuvxyz"}  # the corpus has no w


@dataclasses.dataclass(frozen=True)
class Phone:
    """One phone of speech.

    Attributes:
        name: ARPAbet in lower case without stress; "pau" for silence.
        start, end: seconds from the start of the audio.
    """

    name: str
    start: float
    end: float


def check(phones: Iterable[Phone], source: str | os.PathLike = "phones") -> list[Phone]:
    """Check that the phones of a track are known and that its times rise. Gaps become silence.

    Args:
        phones: from the first to the last.
        source: its name in error messages.

    Raises:
        UserError: no phones, an unknown phone, or times that are negative, not numbers, or go backwards.
    """
    track, last = [], 0.0
    for number, phone in enumerate(phones, 1):
        if phone.name not in PHONES:
            raise UserError(f"{source}: nobody knows the phone {phone.name!r} (number {number}); {_KNOWN}")
        if not (math.isfinite(phone.start) and math.isfinite(phone.end)) or phone.start < 0:
            raise UserError(f"{source}: phone {number} ({phone.name}) has times that cannot be; give seconds from 0 on")
        if phone.end < phone.start or phone.start < last - 1e-6:
            raise UserError(
                f"{source}: times go backwards at phone {number} ({phone.name}); sort them, and let none overlap"
            )
        if phone.start > last + 1e-6:
            track.append(Phone(SILENCE, last, phone.start))
        track.append(phone)
        last = phone.end
    if not track:
        raise UserError(f"{source}: holds no phones; give at least one")
    return track


def say(
    text: str,
    voice: str = "slt",
    rate: float = 1.0,
    pitch: float | None = None,
    deviation: float | None = None,
) -> tuple[np.ndarray, list[Phone]]:
    """Speak a text with flite.

    Args:
        text: English, up to 10,000 characters. Accents are dropped.
        voice: one of `VOICES`; awb, rms and slt (a woman) are built from whole recordings, kal and kal16 from diphones.
        rate: of speaking, 0.25 .. 4; 2 is twice as fast as the voice's own.
        pitch: mean of the voice's fundamental, Hz; None: the voice's own.
        deviation: its standard deviation, Hz; None: the voice's own.

    Returns:
        wave: float32 (samples,), 16 kHz mono in [-1, 1].
        phones: from 0 to the end of the audio, or a few ms beyond.

    Raises:
        UserError: flite is missing or fails; the voice is unknown; the text is empty, too long or cannot be said; or
            a number is out of range.
    """
    said = _sayable(text)
    if voice not in VOICES:
        raise UserError(f"{voice}: no voice of flite; choose one of {', '.join(VOICES)}")
    settings = {"duration_stretch": ("rate", rate, 0.25, 4)}
    if pitch is not None:
        settings["int_f0_target_mean"] = "pitch", pitch, 40, 500
    if deviation is not None:
        settings["int_f0_target_stddev"] = "deviation", deviation, 0, 200
    arguments = []
    for feature, (name, value, low, high) in settings.items():
        if not low <= value <= high:
            raise UserError(f"{name} {value}: out of range; give {low} to {high}")
        arguments += ["--setf", f"{feature}={1 / value if name == 'rate' else value:.4f}"]
    program = shutil.which("flite")
    if program is None:
        raise UserError("flite: is not installed, and speaks the text; install Debian's package flite")
    command = [program, "-voice", voice, *arguments, "-psdur", "-t", said]
    with tempfile.TemporaryFile() as file:  # has no name, and so goes with this process, however that ends
        printed = _run_flite(command, file.fileno(), text)
        wave = audio_file.load_audio(f"/dev/fd/{file.fileno()}")
    phones = _of_flite(printed.split(), f"flite's phones of {_short(text)}")
    if all(phone.name == SILENCE for phone in phones):
        raise UserError(f"{_short(text)}: nothing in it can be said; give words")
    # The diphone voices leave out half of the last pause.
    return np.pad(wave, (0, max(0, round(phones[-1].end * SAMPLE_RATE) - len(wave)))), phones


def _run_flite(command, out, text) -> str:
    """Speak into the open file `out`; what flite prints."""
    command = [*command, "-o", f"/dev/fd/{out}"]
    options = {"capture_output": True, "text": True, "errors": "replace", "stdin": subprocess.DEVNULL}
    try:
        result = subprocess.run(command, **options, timeout=_PATIENCE, pass_fds=[out])
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"flite: does not speak {_short(text)} ({error}); try a shorter text") from error
    if result.returncode or not os.fstat(out).st_size:
        why = (result.stderr.strip().splitlines() or [f"exit code {result.returncode}"])[-1]
        raise UserError(f"flite: does not speak {_short(text)} ({why}); try another text or voice")
    return result.stdout


def _sayable(text) -> str:
    """Plain ASCII on one line. flite reads only that. It would skip all else without a message."""
    plain = unicodedata.normalize("NFKD", text.translate(str.maketrans("‘’“”–—…", "''\"\",,.")))
    plain = "".join(" " if c.isspace() else c for c in plain if not unicodedata.combining(c))
    plain = " ".join(plain.split())
    strange = next((c for c in plain if not " " <= c <= "~"), None)
    if strange is not None:
        raise UserError(f"{_short(text)}: holds {strange!r}, which flite cannot say; write it in English words")
    if not plain:
        raise UserError("text to say: is empty; give words")
    if len(plain) > _LONGEST_TEXT:
        raise UserError(f"{_short(text)}: has {len(plain)} characters; say at most {_LONGEST_TEXT} at a time")
    return plain


def _short(text) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...")


def align(wave: np.ndarray, words: str, source: str | os.PathLike = "speech") -> list[Phone]:
    """The times of the phones of known words, by pocketsphinx and its American English model.

    One pass finds the words, another one their phones. British pronunciations of "z", "r" and "four" are known too.

    Args:
        wave: (samples,) 16 kHz mono in [-1, 1].
        words: what is said, as the dictionary spells it; case and punctuation do not count.
        source: its name in error messages, such as the audio file.

    Returns:
        Phones from 0 to the end of the audio, in steps of 10 ms.

    Raises:
        UserError: pocketsphinx is missing, a word is not in its dictionary, there are no words or no audio, or the
            words do not fit the audio.
    """
    wanted = re.findall(r"[^\W_]+(?:'[^\W_]+)*'?", words.lower().replace("’", "'"))
    if not wanted:
        raise UserError(f"{source}: has no words to align; give what is said in it")
    wave = np.asarray(wave, np.float32)
    if len(wave) < SAMPLE_RATE * 0.1 or not np.isfinite(wave).all():
        raise UserError(f"{source}: has no sound to align; give at least 0.1 s of speech")
    if np.abs(wave).max() < _SILENT:
        raise UserError(f"{source}: is silent; give speech")
    try:
        import pocketsphinx
    except ImportError as error:
        raise UserError(
            "pocketsphinx: is not installed, and aligns speech; run: pip install pocketsphinx (extra: puppets)"
        ) from error
    # A decoder that has heard another clip would start with the mean spectrum of that clip. The search for the best
    # path through the lattice of words is left out: sometimes it cuts a word too short for its phones.
    decoder = pocketsphinx.Decoder(lm=None, loglevel="FATAL", bestpath=False, cmn="batch")
    for word, said in _BRITISH.items():
        decoder.add_word(word, said, False)
    unknown = sorted({word for word in wanted if decoder.lookup_word(word) is None})
    if unknown:
        some = ", ".join(unknown[:5])
        raise UserError(f"{source}: words that are not in the dictionary ({some}); write them as one that is sounds")
    entries = _aligned(decoder, wave, wanted, source)
    _check_fit(entries, source)
    return _track(entries, len(wave) / SAMPLE_RATE, source)


def _aligned(decoder, wave, words, source) -> list[tuple[str, int, int, float, bool]]:
    """Each phone as (name, first frame, frames, score, whether it ends a word)."""
    data = (np.clip(wave, -1, 1) * 32767).astype("<i2").tobytes()

    def listen():
        decoder.start_utt()
        decoder.process_raw(data, full_utt=True)
        decoder.end_utt()

    try:
        decoder.set_align_text(" ".join(words))
        listen()
        if decoder.hyp() is None:
            raise RuntimeError("the words are not all heard")
        decoder.set_alignment()
        listen()
        found = decoder.get_alignment()
    except RuntimeError as error:
        raise UserError(f"{source}: does not fit its words ({_short(' '.join(words))}); correct them") from error
    ends = {word.start + word.duration for word in found}
    return [
        (_name(phone.name, source), phone.start, phone.duration, phone.score, phone.start + phone.duration in ends)
        for phone in found.phones()
    ]


def _check_fit(entries, source):
    """A forced alignment puts any words into any audio. With wrong words its scores and times are absurd."""
    spoken = [entry for entry in entries if entry[0] != SILENCE]
    frames = sum(entry[2] for entry in spoken)
    if not frames or sum(entry[3] for entry in spoken) / frames < _LOWEST_SCORE:
        raise UserError(f"{source}: sounds unlike its words; correct them, or leave it out")
    if sum(entry[2] <= _SHORTEST for entry in spoken) > _MOST_SHORTEST * len(spoken):
        raise UserError(f"{source}: is too short for its words; correct them, or leave it out")
    for name, start, duration, _, _ in spoken:
        if name not in STOPS and duration * _FRAME > _LONGEST_SOUND:
            raise UserError(
                f"{source}: {name} at {start * _FRAME:.2f} s would last {duration * _FRAME:.2f} s; correct its words"
            )


def _track(entries, seconds, source) -> list[Phone]:
    """Phones in seconds. Silence before a stop, or at a word's end, may have been counted as part of the stop."""
    track = []
    for name, first, frames, _, ends_word in entries:
        start = first * _FRAME + _HEARD if first else 0.0
        end = min((first + frames) * _FRAME + _HEARD, seconds)
        parts = [Phone(name, start, end)]
        if name in STOPS and end - start > _LONGEST_STOP:
            if ends_word:
                parts = [Phone(name, start, start + _USUAL_STOP), Phone(SILENCE, start + _USUAL_STOP, end)]
            else:
                parts = [Phone(SILENCE, start, end - _USUAL_STOP), Phone(name, end - _USUAL_STOP, end)]
        for part in parts:
            if track and part.name == track[-1].name == SILENCE:
                track[-1] = dataclasses.replace(track[-1], end=part.end)
            else:
                track.append(part)
    if track[-1].name == SILENCE:
        track[-1] = dataclasses.replace(track[-1], end=seconds)
    elif track[-1].end < seconds:
        track.append(Phone(SILENCE, track[-1].end, seconds))
    return check(track, source)


def grid_words(name: str | os.PathLike) -> str:
    """The sentence that the name of a clip of the GRID corpus spells (Cooke et al., JASA 120(5), 2006).

    Args:
        name: of the file, with or without folder and suffix: "s1/bbaf2n.mpg" is "bin blue at f two now".

    Raises:
        UserError: the name spells no such sentence.
    """
    letters = Path(name).stem.lower()
    grammar = _COMMANDS, _COLOURS, _PREPOSITIONS, _LETTERS, _DIGITS, _ADVERBS
    if len(letters) == len(grammar) and all(letter in part for letter, part in zip(letters, grammar, strict=True)):
        return " ".join(part[letter] for letter, part in zip(letters, grammar, strict=True))
    raise UserError(f"{name}: is not the name of a GRID clip; such a one is bbaf2n, for bin blue at f two now")


def read(path: str | os.PathLike) -> list[Phone]:
    """Read a track from a text file in UTF-8.

    Args:
        path: the file. It holds what `flite -psdur` prints, `phone:end` for each phone, or lines `start end phone`.
            Times are in seconds. Stress and case do not matter. Other tools' names for silence are known. Lines that
            begin with # are skipped.

    Raises:
        UserError: there is no such file, it cannot be read or has another format, or see `check`.
    """
    text = tables.text(path, "a track of phones", "give a text file in UTF-8")
    rows = [(number, line.split()) for number, line in enumerate(text.splitlines(), 1) if not line.startswith("#")]
    rows = [(number, row) for number, row in rows if row]
    tokens = list(itertools.chain.from_iterable(row for _, row in rows))
    if tokens and ":" in tokens[0]:
        return _of_flite(tokens, path)
    track = []
    for number, row in rows:
        if len(row) != 3:
            raise UserError(f"{path}: line {number} is not start, end and phone; correct it")
        start, end = (_seconds(time, f"{path}: line {number}") for time in row[:2])
        track.append(Phone(_name(row[2], f"{path}: line {number}"), start, end))
    return check(track, path)


def _of_flite(tokens, source) -> list[Phone]:
    track, last = [], 0.0
    for token in tokens:
        name, colon, end = token.rpartition(":")
        if not colon:
            raise UserError(f"{source}: {_short(token)} is not phone:seconds; give what flite -psdur prints")
        end = _seconds(end, source)
        track.append(Phone(_name(name, source), last, end))
        last = end
    return check(track, source)


def _seconds(text, source) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise UserError(f"{source}: {_short(text)} is no number of seconds; correct it") from error


def _name(text, source) -> str:
    name = text.lower()
    name = _ALIASES.get(name, name).rstrip("012")
    if name not in PHONES:
        raise UserError(f"{source}: nobody knows the phone {_short(text)}; {_KNOWN}")
    return name


def write(path: str | os.PathLike, phones: Sequence[Phone]) -> None:
    """Write a track as lines `start end phone`, in seconds to a tenth of a millisecond.

    Raises:
        UserError: see `check`; or the folder cannot be written to.
    """
    lines = [f"{phone.start:.4f} {phone.end:.4f} {phone.name}\n" for phone in check(phones, path)]
    with utils_files.replacing(path) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")
