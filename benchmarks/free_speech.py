"""Puppets that say what no training clip says: English of any words by flite, and German by espeak-ng.

Each puppet's mouth moves by the phones of its speech, see docs/puppets.md. `make` is called by model_card.py.
"""

import ctypes
from pathlib import Path

import numpy as np
from puppet_ablation import list_lines, run, write_list

from lipgan_keras.face.photos import shipped_photos
from lipgan_keras.media import audio_file
from lipgan_keras.puppets import clips as puppets_clips
from lipgan_keras.puppets.phones import SILENCE
from lipgan_keras.utils.errors import UserError

CLIPS, SECONDS = 12, 4.0  # of each language
ENGLISH = (
    "The old bridge was closed because of heavy rain in the mountains.",
    "Before breakfast they usually walk their brown dog along the beach.",
    "Maybe nobody remembered to feed the fish over the weekend.",
    "Tomorrow's paper will publish the names of both winners.",
    "He gave her a purple umbrella and a box of warm bread.",
    "Which of these five questions would you answer first?",
    "The museum shows maps, boats and very small paintings.",
    "Everybody up here believes that the river moves too fast.",
    "My brother bought a used van from a farmer in the valley.",
    "A room with a view of the harbour costs a bit more.",
    "Please move the blue sofa away from the open window.",
    "Music and poetry were his favourite subjects at school.",
)
GERMAN = (
    "Morgen früh müssen wir über die alte Brücke gehen.",
    "Der Bäcker verkauft am Abend nur noch wenige Brote.",
    "Möchten Sie vielleicht eine Tasse Kaffee mit Milch?",
    "Im Sommer blühen auf dem Balkon viele bunte Blumen.",
    "Mein Bruder wohnt mit seiner Familie in München.",
    "Warum hat uns gestern niemand etwas davon gesagt?",
    "Das Wetter wird am Wochenende wahrscheinlich besser.",
    "Auf dem Markt gibt es frische Äpfel und Pflaumen.",
    "Wir haben fünf Minuten vor dem Bahnhof gewartet.",
    "Bitte öffnen Sie das Fenster, es ist sehr warm hier.",
    "Abends hört meine Oma gern Musik aus dem Radio.",
    "Vor dem Haus parkt seit Tagen ein grüner Wagen.",
)

# The phone of ARPAbet that looks most like a phone of German, by espeak-ng's IPA without the marks of length. Its
# affricates and diphthongs are one phone each; two that follow one another share the time.
LIKE = {
    **{"a": "aa", "ɑ": "aa", "ɐ": "ah", "ɜ": "ah", "ə": "ax", "ɛ": "eh", "e": "ih", "ɪ": "ih", "i": "iy"},
    **{"ɔ": "ao", "o": "uh", "ʊ": "uh", "u": "uw", "y": "uw", "ʏ": "uh", "ø": "uh", "œ": "ao"},
    **{"aɪ": "ay", "aʊ": "aw", "ɔø": "oy", "ɔɪ": "oy", "ɔy": "oy", "ɔʏ": "oy"},
    **{name: name for name in "p b t d k f v s z m n l".split()},
    **{"ɡ": "g", "g": "g", "ŋ": "ng", "ʃ": "sh", "ʒ": "zh", "ç": "y", "x": "hh", "h": "hh", "j": "y", "r": "g"},
    **{"ɾ": "g", "ʁ": "g", "tʃ": "ch", "dʒ": "jh", "ts": ("t", "s"), "pf": ("p", "f")},
}

SYNCHRONOUS, PHONEMES, IPA, UTF8 = 2, 1, 2, 1  # of espeak-ng's speak_lib.h, as are the structures
END, PHONEME = 0, 7


class _Id(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),  # milliseconds
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    ]


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


class Espeak:
    """espeak-ng as a library, which tells when each phone is heard.

    Raises:
        UserError: it is not installed.
    """

    def __init__(self, voice: str = "de"):
        try:
            self.library = ctypes.CDLL("libespeak-ng.so.1")
        except OSError as error:
            raise UserError("espeak-ng is not installed; on Debian: apt install espeak-ng") from error
        self.rate = self.library.espeak_Initialize(SYNCHRONOUS, 500, None, PHONEMES | IPA)
        self._callback = _Callback(self._take)  # kept, as the library calls it later
        self.library.espeak_SetSynthCallback(self._callback)
        if self.rate <= 0 or self.library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise UserError(f"espeak-ng has no voice {voice!r}; on Debian: apt install espeak-ng-data")
        self._waves, self._phones = [], []

    def _take(self, wave, count, events):
        if wave and count > 0:
            self._waves.append(np.ctypeslib.as_array(wave, (count,)).copy())
        at = 0
        while events[at].type != END:
            if events[at].type == PHONEME:
                name = events[at].id.string.decode("utf-8", "replace")
                self._phones.append((events[at].audio_position / 1000, name))
            at += 1
        return 0

    def say(self, text: str) -> tuple[np.ndarray, list[tuple[float, str]]]:
        """(samples,) float32 at `rate`, and the seconds at which each phone begins; "" is silence."""
        self._waves, self._phones = [], []
        data = text.encode()
        self.library.espeak_Synth(data, len(data) + 1, 0, 1, 0, UTF8, None, None)
        self.library.espeak_Synchronize()
        return np.concatenate(self._waves).astype(np.float32) / 32768, self._phones


def track(phones, seconds: float) -> str:
    """Lines `start end phone` of what espeak-ng says."""
    lines = []
    ends = [*(start for start, _ in phones[1:]), seconds]
    for (start, name), end in zip(phones, ends, strict=True):
        plain = "".join(c for c in name if c not in "ːˈˌ̩̯ʔ")
        like = LIKE.get(plain) if plain else SILENCE
        if like is None:
            raise UserError(f"espeak-ng says {name!r}, which is not in free_speech.LIKE; add what it looks like")
        parts = (like,) if isinstance(like, str) else like
        length = max(end - start, 0) / len(parts)
        lines += [f"{start + i * length:.3f} {start + (i + 1) * length:.3f} {part}" for i, part in enumerate(parts)]
    return "\n".join(lines) + "\n"


def german(folder: Path) -> Path:
    """GERMAN, one sentence after the other, as an audio file with its track beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    espeak, file = Espeak(), folder / "german.wav"
    wave, phones = espeak.say(" ".join(GERMAN))
    audio_file.save_wav(file, wave, espeak.rate)
    file.with_suffix(".txt").write_text(track(phones, len(wave) / espeak.rate), encoding="utf-8")
    return file


def make(work: Path, workers: int) -> dict[str, Path]:
    """By language, a folder of puppets of the astronaut and their crops, as `ablation.judge` takes it; what is there is
    kept.
    """
    options = {"seconds": SECONDS, "photos": [shipped_photos()["astronaut"]], "mirror": False, "num_workers": workers}
    folders = {name: work / name for name in ("english", "german")}
    for seed, (name, folder) in enumerate(folders.items(), 11):
        if (folder / "lists" / "puppets" / "val.txt").is_file():
            continue
        said = {"texts": ENGLISH} if name == "english" else {"speech": [german(folder / "speech")]}
        clips = puppets_clips.make_clips(folder / "videos", CLIPS, seed=seed, **options, **said)
        roots = ["--videos_data_root", folder / "videos", "--final_data_root", folder / "crops"]
        run("preprocess.py", *roots, "--num_workers", workers)
        names = list_lines(clips)
        write_list(folder / "lists", "puppets", names, names)  # a list to train on must name some
    return folders
