"""Speech with phones: tracks from every source say when, and the mouth that is made of them does what they need."""

import builtins
import os
import shutil
import stat
import subprocess

import numpy as np
import pytest

from lipgan_keras.media import audio_file
from lipgan_keras.puppets import phones, visemes
from lipgan_keras.puppets.phones import Phone
from lipgan_keras.utils.errors import UserError

needs_flite = pytest.mark.skipif(shutil.which("flite") is None, reason="flite is not installed")
FLITE = "pau:0.195 p:0.280 l:0.342 ey:0.502 s:0.596 pau:0.7\n"


def track(*pairs):
    """Phones in a row, of (name, seconds)."""
    ends = np.cumsum([0.0, *(seconds for _, seconds in pairs)])
    return [Phone(name, a, b) for (name, _), a, b in zip(pairs, ends[:-1], ends[1:], strict=True)]


# "My baby put him upon a map", much faster than anybody speaks: most closures are shorter than a frame.
HURRIED = track(
    *[("pau", 0.3), ("m", 0.05), ("ay", 0.09), ("b", 0.03), ("ey", 0.07), ("b", 0.025), ("iy", 0.06), ("p", 0.03)],
    *[("uh", 0.05), ("t", 0.03), ("hh", 0.03), ("ih", 0.04), ("m", 0.02), ("ah", 0.05), ("p", 0.035), ("aa", 0.07)],
    *[("n", 0.03), ("ax", 0.03), ("m", 0.031), ("ae", 0.1), ("p", 0.05), ("pau", 0.3)],
)


def middles(articulation, fps=25):
    return (np.arange(len(articulation.opening)) + 0.5) / fps


def assert_closed(articulation, said):
    """Each p, b and m has a frame with the lips shut, within one frame of it; every vowel between is seen to open."""
    controls, time = articulation.controls, middles(articulation)
    shut = (controls["close"] > 0.999) & (articulation.opening < 0.001)
    shut &= (controls["lower_down"] < 0.001) & (controls["upper_up"] < 0.001) & (controls["jaw"] < 0.2)
    closures = [phone for phone in said if phone.name in ("p", "b", "m")]
    assert closures
    for phone in closures:
        assert shut[(time > phone.start - 0.04) & (time < phone.end + 0.04)].any(), phone
        assert shut[(time >= phone.start) & (time <= phone.start + 0.6 * (phone.end - phone.start))].all(), phone
    return shut


@pytest.mark.parametrize("seed", [None, 0, 1, 2, 3])
def test_closures_are_reached_however_short(seed):
    rng = None if seed is None else np.random.default_rng(seed)
    articulation = visemes.articulate(HURRIED, HURRIED[-1].end, rng=rng)
    shut = assert_closed(articulation, HURRIED)
    assert articulation.opening[~shut].max() > 0.3
    slow = [Phone(phone.name, 4 * phone.start, 4 * phone.end) for phone in HURRIED]
    articulation = visemes.articulate(slow, slow[-1].end, rng=rng)
    assert_closed(articulation, slow)
    for phone in slow:
        if phone.name in ("ay", "aa", "ae"):
            inside = (middles(articulation) > phone.start) & (middles(articulation) < phone.end)
            assert articulation.opening[inside].max() > 0.6 and articulation.controls["jaw"][inside].max() > 0.55


@needs_flite
@pytest.mark.parametrize("voice", ["slt", "kal"])
def test_closures_of_a_synthesised_sentence(voice):
    wave, said = phones.say("Bob, my plump baby bumped a pump, maybe.", voice, rate=1.3)
    assert_closed(visemes.articulate(said, len(wave) / 16000), said)


def test_lips_stay_at_the_teeth_and_teeth_meet():
    said = track(
        ("pau", 0.2), ("ae", 0.15), ("f", 0.08), ("aa", 0.15), ("v", 0.06), ("ae", 0.15), ("s", 0.1), ("aa", 0.2)
    )
    articulation = visemes.articulate(said, said[-1].end)
    for phone in said:
        inside = (middles(articulation) > phone.start) & (middles(articulation) < phone.end)
        jaw, roll = articulation.controls["jaw"][inside], articulation.controls["roll_lower"][inside]
        if phone.name in ("f", "v"):
            assert roll.max() > 0.6 and jaw.min() < 0.12 and 0 < articulation.opening[inside].min() < 0.1
        elif phone.name == "s":
            assert jaw.min() < 0.1 and roll.max() < 0.1
        elif phone.name != "pau":
            assert jaw.max() > 0.5


def test_rounding_leads():
    """Lips are half rounded some 80 ms before the vowel, within the consonants."""
    said = track(("pau", 0.4), ("s", 0.12), ("t", 0.1), ("uw", 0.2), ("pau", 0.4))
    fine = visemes.articulate(said, said[-1].end, fps=200)
    time, pucker = middles(fine, 200), fine.controls["pucker"]
    start = said[3].start
    assert start - 0.13 < time[np.argmax(pucker > pucker.max() / 2)] < start - 0.05
    assert fine.width[np.abs(time - start).argmin()] < -0.6 and pucker.max() > 0.7
    spread = visemes.articulate([Phone("iy", p.start, p.end) if p.name == "uw" else p for p in said], 1.2, fps=200)
    assert spread.width[np.abs(time - start - 0.1).argmin()] > 0.7 and spread.controls["pucker"].max() < 0.05
    # What does not lead: the jaw of an open vowel is no more than on its way when the vowel starts.
    jaw = visemes.articulate([Phone("aa", p.start, p.end) if p.name == "uw" else p for p in said], 1.2, fps=200)
    jaw = jaw.controls["jaw"]
    assert time[np.argmax(jaw > jaw.max() / 2)] > start - 0.03


def test_vowels_look_different():
    def looks(name):
        said = track(("pau", 0.3), ("t", 0.08), (name, 0.3), ("t", 0.08), ("pau", 0.3))
        articulation = visemes.articulate(said, said[-1].end)
        return articulation.opening.max(), articulation.width[np.abs(articulation.width).argmax()]

    opening = {name: looks(name)[0] for name in phones.VOWELS}
    width = {name: looks(name)[1] for name in phones.VOWELS}
    assert opening["aa"] > opening["eh"] > opening["ih"] > opening["iy"] > 0.15
    assert opening["ao"] > opening["uw"]
    assert width["iy"] > width["ae"] > 0.2 and max(width["uw"], width["ow"], width["ao"]) < -0.45


def test_every_phone_has_a_mouth_in_range():
    said = track(*((name, 0.1) for name in sorted(phones.PHONES)), ("b", 0.0), ("aa", 0.2))
    for rng in (None, np.random.default_rng(5)):
        articulation = visemes.articulate(said, said[-1].end + 2, rng=rng)
        frames = round((said[-1].end + 2) * 25)
        assert tuple(articulation.controls) == visemes.CONTROLS
        for values in (*articulation.controls.values(), articulation.opening):
            assert values.shape == (frames,) and values.dtype == np.float32 and 0 <= values.min() <= values.max() <= 1
            assert np.abs(values[-20:]).max() < 0.01  # at rest again
        assert articulation.width.dtype == np.float32 and np.abs(articulation.width).max() <= 1
    assert len(visemes.articulate(said, 0.001).opening) == 1  # a track may be longer than its clip


def test_speakers_differ():
    said = track(("pau", 0.2), ("aa", 0.2), ("uw", 0.2), ("pau", 0.2))
    largest = [visemes.articulate(said, 0.8, rng=np.random.default_rng(n)).opening.max() for n in range(20)]
    assert max(largest) - min(largest) > 0.15
    same = [visemes.articulate(said, 0.8, rng=np.random.default_rng(3)).width for _ in range(2)]
    assert np.array_equal(*same)


@needs_flite
@pytest.mark.parametrize("voice", phones.VOICES)
def test_flite_says(voice):
    wave, said = phones.say("Two shy zebras – they're “fine”.", voice)
    assert wave.dtype == np.float32 and wave.ndim == 1 and 0.1 < np.abs(wave).max() <= 1
    assert said[0].start == 0 and said[-1].end == pytest.approx(len(wave) / 16000, abs=0.02)
    assert [phone.name for phone in said if phone.name != "pau"][:4] == ["t", "uw", "sh", "ay"]
    # The phones are where the sound is.
    loud = [np.sqrt((wave[round(p.start * 16000) : round(p.end * 16000)] ** 2).mean()) for p in said]
    vowels = [level for level, phone in zip(loud, said, strict=True) if phone.name in phones.VOWELS]
    assert np.median(vowels) > 10 * max(loud[0], 1e-4) and said[0].name == "pau"


@needs_flite
def test_flite_can_be_told_how():
    text = "a long way away"
    seconds = [len(phones.say(text, rate=rate)[0]) for rate in (0.5, 1, 2)]
    assert seconds[0] > 1.8 * seconds[1] > 3.2 * seconds[2]
    assert not np.array_equal(phones.say(text, pitch=120)[0][:8000], phones.say(text, pitch=250)[0][:8000])
    assert not np.array_equal(phones.say(text, deviation=0)[0][:8000], phones.say(text, deviation=60)[0][:8000])
    assert phones.say("-v")[1][1].name == "v"  # a text, not a flag


def test_grid_names():
    assert phones.grid_words("s1/bbaf2n.mpg") == "bin blue at f two now"
    assert phones.grid_words("PWIJ3P.mp4") == "place white in j three please"
    assert phones.grid_words("lgbzza") == "lay green by z zero again"
    for name in ("bbaf2", "bbaf2nn", "xbaf2n", "bbaw2n", "clip.mp4", ""):
        with pytest.raises(UserError, match="bbaf2n") as error:
            phones.grid_words(name)
        assert str(error.value).startswith(f"{name}: ")


def test_tracks_are_written_and_read(tmp_path):
    path = tmp_path / "new" / "track.txt"
    phones.write(path, HURRIED)
    again = phones.read(path)
    assert [phone.name for phone in again] == [phone.name for phone in HURRIED]
    times = [[(p.start, p.end) for p in said] for said in (again, HURRIED)]
    assert np.allclose(*times, atol=6e-5)  # written to a tenth of a millisecond
    phones.write(path, again)
    assert phones.read(path) == again


def test_both_formats_are_read(tmp_path):
    (tmp_path / "flite.txt").write_text(FLITE)
    expected = [("pau", 0, 0.195), ("p", 0.195, 0.28), ("l", 0.28, 0.342), ("ey", 0.342, 0.502), ("s", 0.502, 0.596)]
    expected = [Phone(*values) for values in (*expected, ("pau", 0.596, 0.7))]
    assert phones.read(tmp_path / "flite.txt") == expected
    lines = "# by hand\n\n0.195 0.28 P\r\n0.28 0.342 l\n0.342\t0.502 EY1\n0.502 0.596 s\n0.596 0.7 SIL\n"
    (tmp_path / "lines.txt").write_bytes(b"\xef\xbb\xbf" + lines.encode())
    assert phones.read(tmp_path / "lines.txt") == expected  # the gap before the first is silence


@pytest.mark.parametrize(
    "content, words",
    [
        ("", "no phones"),
        ("# nothing\n", "no phones"),
        ("0 0.1 pau\n0.1 0.2 qq\n", "line 2.*'qq'"),
        ("0 0.1 pau\n0.1 aa\n", "line 2.*start, end and phone"),
        ("0 0.1 pau\n0.1 x aa\n", "line 2.*'x'"),
        ("0 nan pau\n", "times that cannot be"),
        ("-1 0.1 pau\n", "times that cannot be"),
        ("0 0.3 pau\n0.2 0.4 aa\n", "backwards"),
        ("0.3 0.2 pau\n", "backwards"),
        ("pau:0.3 aa:0.2", "backwards"),
        ("pau:0.3 aa", "'aa'.*phone:seconds"),
        ("pau:0.3 aa:", "''.*seconds"),
        ("pau:0.3 wee:0.5", "'wee'"),
        ("pau:0.3 aa:inf", "times that cannot be"),
        (b"\xff\xfe\x00\x01", "UTF-8"),
    ],
)
def test_bad_tracks(tmp_path, content, words):
    path = tmp_path / "track.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert_refused(lambda: phones.read(path), path, words)


def test_files_that_are_none(tmp_path):
    assert_refused(lambda: phones.read(tmp_path / "none.txt"), tmp_path / "none.txt", "no such file")
    assert_refused(lambda: phones.read(tmp_path), tmp_path, "cannot be read")
    assert_refused(lambda: phones.write(tmp_path, HURRIED), tmp_path, "is a folder")
    assert_refused(lambda: phones.write(tmp_path / "a.txt", []), tmp_path / "a.txt", "no phones")
    assert not (tmp_path / "a.txt").exists()


def assert_refused(call, start, words):
    """One line that starts with the file or the thing."""
    with pytest.raises(UserError, match=words) as error:
        call()
    assert str(error.value).startswith(str(start)) and len(str(error.value).splitlines()) == 1


def test_what_cannot_be_articulated():
    assert_refused(lambda: visemes.articulate([], 1), "phones", "no phones")
    assert_refused(lambda: visemes.articulate([Phone("qq", 0, 1)], 1), "phones", "'qq'")
    assert_refused(lambda: visemes.articulate(HURRIED, 0), "0 s", "above 0")
    assert_refused(lambda: visemes.articulate(HURRIED, 1, fps=float("nan")), "1 s", "above 0")


def test_what_cannot_be_said(monkeypatch):
    assert_refused(lambda: phones.say(" \n"), "text to say", "empty")
    assert_refused(lambda: phones.say("hello 日本"), "'hello 日本'", "cannot say")
    assert_refused(lambda: phones.say("a\0b"), "'a", "cannot say")
    assert_refused(lambda: phones.say("word " * 3000), "'word", "14999 characters")
    assert_refused(lambda: phones.say("hello", "nobody"), "nobody", "awb")
    assert_refused(lambda: phones.say("hello", rate=0), "rate 0", "0.25")
    assert_refused(lambda: phones.say("hello", pitch=float("nan")), "pitch nan", "500")
    monkeypatch.setenv("PATH", "")
    assert_refused(lambda: phones.say("hello"), "flite", "Debian's package flite")


@needs_flite
def test_only_punctuation_is_not_said():
    assert_refused(lambda: phones.say("?!"), "'\\?!'".replace("\\", ""), "nothing in it")


@pytest.mark.parametrize(
    "does, words",
    [("echo broken >&2; exit 3", "broken"), ("exit 3", "exit code 3"), ("echo pau:0.2", "exit code 0")],
)
def test_flite_that_fails(tmp_path, monkeypatch, does, words):
    program = tmp_path / "flite"
    program.write_text(f"#!/bin/sh\n{does}\n")
    program.chmod(program.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert_refused(lambda: phones.say("hello"), "flite: does not speak 'hello'", words)


def test_flite_that_hangs(monkeypatch):
    def hang(command, timeout, **options):
        raise subprocess.TimeoutExpired(command[0], timeout)

    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(subprocess, "run", hang)
    assert_refused(lambda: phones.say("hello"), "flite: does not speak 'hello'", "timed out")


def test_pocketsphinx_missing(monkeypatch):
    real = builtins.__import__

    def missing(name, *rest, **options):
        if name == "pocketsphinx":
            raise ImportError(name)
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", missing)
    assert_refused(lambda: phones.align(np.ones(16000), "hello"), "pocketsphinx", "pip install pocketsphinx.*puppets")


@needs_flite
def test_alignment_of_what_was_synthesised():
    """The aligner knows nothing of the synthesiser, and finds its phones where they are."""
    pytest.importorskip("pocketsphinx")
    text = "Place white in j three, please; the man put my map by the pump."
    wave, said = phones.say(text, "rms")
    found = phones.align(wave, text)
    assert found[0].start == 0 and found[-1].end == pytest.approx(len(wave) / 16000)
    assert all(a.end == pytest.approx(b.start) for a, b in zip(found[:-1], found[1:], strict=True))
    starts = {name: [p.start for p in track if p.name == name] for name in "pm" for track in [said]}
    for name, expected in starts.items():
        heard = [p.start for p in found if p.name == name]
        assert len(heard) == len(expected)
        # No bias of more than a frame of the aligner. Nothing is heard of where silence becomes a stop's closure.
        assert np.abs(np.subtract(heard, expected)).max() < 0.1
        assert abs(np.median(np.subtract(heard, expected))) < 0.012


@needs_flite
def test_words_that_do_not_fit():
    pytest.importorskip("pocketsphinx")
    wave, _ = phones.say("bin blue at f two now", "rms")
    assert_refused(lambda: phones.align(wave, "bin florbix blue frumious", "a.wav"), "a.wav", "florbix, frumious")
    assert_refused(lambda: phones.align(wave, " ?! ", "a.wav"), "a.wav", "no words")
    assert_refused(lambda: phones.align(wave[:100], "bin", "a.wav"), "a.wav", "no sound")
    long = "the quick brown fox jumps over the lazy dog and runs away from everybody in this large garden of roses"
    assert_refused(lambda: phones.align(wave, long, "a.wav"), "a.wav", "does not fit its words")
    assert_refused(lambda: phones.align(wave, "she sells sea shells", "a.wav"), "a.wav", "its words")
    assert_refused(lambda: phones.align(np.zeros(48000), "bin blue", "a.wav"), "a.wav", "silent")
    hum = 0.3 * np.sin(np.arange(48000) * 0.1)
    assert_refused(lambda: phones.align(hum, "bin blue", "a.wav"), "a.wav", "its words")


def test_absurd_phones_are_refused_and_long_stops_shared_with_silence():
    fits = [("pau", 0, 10, -5, True), ("p", 10, 50, -4, False), ("ey", 60, 20, -9, False), ("t", 80, 60, -6, True)]
    phones._check_fit(fits, "a.wav")
    found = phones._track(fits, 2.0, "a.wav")
    assert [phone.name for phone in found] == ["pau", "p", "ey", "t", "pau"]
    assert found[0].end == found[1].start == pytest.approx(0.508) and found[3].end == pytest.approx(0.908)
    assert found[-1].end == 2.0
    assert_refused(lambda: phones._check_fit([("aa", 0, 90, -5, True)], "a.wav"), "a.wav", "0.90 s")
    assert_refused(lambda: phones._check_fit([("aa", 0, 20, -900, True)], "a.wav"), "a.wav", "unlike")
    short = [("aa", 0, 3, -5, True), ("n", 3, 3, -5, True), ("aa", 6, 20, -5, True)]
    assert_refused(lambda: phones._check_fit(short, "a.wav"), "a.wav", "too short")
    assert_refused(lambda: phones._check_fit([("pau", 0, 20, -9, True)], "a.wav"), "a.wav", "unlike")


@pytest.mark.real
def test_alignment_of_a_real_clip(real_clips):
    pytest.importorskip("pocketsphinx")
    clip = real_clips / "pwij3p.mpg"
    wave = audio_file.load_audio(clip)
    found = phones.align(wave, phones.grid_words(clip), clip)
    said = [phone for phone in found if phone.name != "pau"]
    assert " ".join(phone.name for phone in said) == "p l ey s w ay t ih n jh ey th r iy p l iy z"
    assert all(0.025 < phone.end - phone.start < 0.3 for phone in said)
    # The sound is where the words are.
    level = np.sqrt((wave[: len(wave) // 160 * 160].reshape(-1, 160) ** 2).mean(1))
    time = (np.arange(len(level)) + 0.5) / 100
    inside = (time > said[0].start) & (time < said[-1].end)
    assert level[inside].mean() > 5 * level[~inside].mean()
    assert_closed(visemes.articulate(found, len(wave) / 16000), found)
    with pytest.raises(UserError, match=os.path.basename(clip)):
        phones.align(wave, "set green by f seven again lay red with u one soon", clip)
