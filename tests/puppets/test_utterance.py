"""What is heard in a clip moves its mouth: texts by flite, speech with tracks, and their pieces."""

import shutil

import numpy as np
import pytest

from lipgan_keras.media import audio_file
from lipgan_keras.puppets import __main__, phones, utterance
from lipgan_keras.puppets import clips as puppets_clips
from lipgan_keras.puppets.phones import Phone
from lipgan_keras.utils.errors import UserError

TRACK = [Phone("pau", 0, 0.4), Phone("m", 0.4, 0.56), Phone("aa", 0.56, 0.96), Phone("p", 0.96, 1.12)] + [
    Phone("iy", 1.12, 1.5), Phone("pau", 1.5, 2.0)
]  # fmt: skip
needs_flite = pytest.mark.skipif(shutil.which("flite") is None, reason="flite is not installed")


def buzz(track):
    """A sound whose frequency tells the phone: 100 Hz for the first of the track, 200 for the second, ..."""
    time = np.arange(round(track[-1].end * 16000)) / 16000
    number = np.searchsorted([phone.end for phone in track], time, side="right").clip(max=len(track) - 1)
    return (0.3 * np.sin(2 * np.pi * 100 * (number + 1) * time)).astype(np.float32)


def test_a_part_of_speech_has_its_part_of_the_track():
    said = utterance.Speech(buzz(TRACK), TRACK).part(8000, 8000)
    assert said.wave.shape == (8000,)
    assert [phone.name for phone in said.phones] == ["m", "aa", "p"]
    np.testing.assert_allclose(
        [(p.start, p.end) for p in said.phones], [(0, 0.06), (0.06, 0.46), (0.46, 0.5)], atol=1e-9
    )
    assert utterance.Speech(buzz(TRACK)).part(0, 100).phones is None


@pytest.mark.parametrize("seed", range(6))
def test_pieces_keep_their_phones_in_time(seed):
    """Faster or slower, cut and joined: where the sound of m is, lips are shut."""
    loud = buzz(TRACK) * np.repeat([0, 1, 0.1, 0.1, 0.1, 0.1], np.diff([0, 6400, 8960, 15360, 17920, 24000, 32000]))
    speech = utterance.Speech(loud.astype(np.float32), TRACK)
    said = utterance._respoken([speech], 4 * 16000, np.random.default_rng(seed))
    level = np.abs(said.wave[: 4 * 16000].reshape(-1, 640)).mean(1)
    hums = np.flatnonzero(level > 0.6 * level.max())
    moves = said.moves()
    shut = np.flatnonzero(moves.controls["close"] > 0.9)
    assert len(hums) and all(np.abs(shut - hum).min() <= 1 for hum in hums)


def test_a_track_beside_a_file_moves_the_mouth(tmp_path):
    audio_file.save_wav(tmp_path / "speech.wav", buzz(TRACK))
    phones.write(tmp_path / "speech.txt", TRACK)
    (path,) = puppets_clips.make_clips(tmp_path, 1, seconds=2.0, speech=[tmp_path / "speech.wav"])
    with np.load(path.with_suffix(".npz")) as truth:
        opening = truth["opening"]
    assert opening[18] > 0.7 and opening[12] < 0.05 and opening[25] < 0.05  # aa; m and p
    (tmp_path / "speech.txt").write_text("0 1 no\n")
    with pytest.raises(UserError, match="speech.txt: line 1: nobody knows the phone 'no'"):
        utterance.Speech.load(tmp_path / "speech.wav")


@needs_flite
def test_texts_are_said_and_move_the_mouth():
    kinds = set()
    for seed in range(12):
        sound = utterance.draw_utterance(2.0, [], np.random.default_rng(seed), ["Pip made my map.", "Mum"])
        kinds.add(sound.numbers["sound"])
        assert sound.wave.shape == (32000,) and sound.opening.shape == (50,)
        assert set(sound.controls) and all(curve.shape == (50,) for curve in sound.controls.values())
        if sound.numbers["sound"] == "said":
            assert sound.opening.max() > 0.15 and sound.controls["close"].max() == 1
    assert "said" in kinds and kinds <= {"said", "silence", "music", "synthesised"}
    plain = utterance.plain_utterance(1.0, [], np.random.default_rng(0), ["Mum"])
    assert plain.numbers["voice"] in phones.VOICES and plain.controls["close"].max() == 1


def test_controls_where_only_the_opening_is_known():
    moves = utterance.articulation_of(np.float32([0, 1, 0.5]), np.float32([0, -1, 1]))
    assert moves.controls["jaw"].tolist() == [0, 1, 0.5]
    assert moves.controls["pucker"][1] > 0.5 > moves.controls["pucker"][2] and moves.controls["stretch"][2] > 0.5
    assert all(0 <= curve.min() and curve.max() <= 1 for curve in moves.controls.values())


def test_bad_texts(tmp_path, monkeypatch, capsys):
    for content, words in ((b"\n \n", "is empty"), (b"\xff\xfe\xfa", "cannot be read as a text file")):
        (tmp_path / "text.txt").write_bytes(content)
        with pytest.raises(UserError, match=f"text.txt: {words}"):
            utterance.read_texts(tmp_path / "text.txt")
    (tmp_path / "text.txt").write_text("Hello there.\n\nMum\n")
    assert utterance.read_texts(tmp_path / "text.txt") == ["Hello there.", "Mum"]
    monkeypatch.setenv("PATH", str(tmp_path))
    arguments = ["puppets", "--out", str(tmp_path / "out"), "--clips", "1", "--text", str(tmp_path / "text.txt")]
    monkeypatch.setattr("sys.argv", arguments)
    with pytest.raises(UserError, match="flite: is not installed, and speaks the text; install Debian's package flite"):
        __main__.main()
