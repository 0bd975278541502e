"""The audio front ends against the original's output, and sound from every container on the container's clock."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from lipgan_keras import audio
from lipgan_keras.audio import WindowClock
from lipgan_keras.config import FIRST_STEP_SECONDS, SAMPLE_RATE, STEPS_PER_SECOND, WINDOW_SHAPE, ModelConfig
from lipgan_keras.data import mel_bank
from lipgan_keras.data.mel_bank import MelBank
from lipgan_keras.media import audio_file
from lipgan_keras.utils.errors import UserError

GOLDEN = Path(__file__).parent / "golden"


def tone_at(seconds, length, rate=44100, level=0.8):
    """Silence with 60 ms of a 1 kHz tone from `seconds` on."""
    time = np.arange(round(length * rate)) / rate
    inside = (time >= seconds) & (time < seconds + 0.06)
    return (level * np.sin(2 * np.pi * 1000 * time) * inside).astype(np.float32)


def onset(wave, rate=SAMPLE_RATE):
    return np.argmax(np.abs(wave) > 0.3 * np.abs(wave).max()) / rate


def write_sound(path, wave, codec, rate=44100, layout="mono", starts=(0.0,), picture=False):
    """One piece of `wave` at each of `starts` seconds; optionally with a video stream that starts at 0."""
    with av.open(str(path), "w") as container:
        if picture:
            video = container.add_stream("mpeg4", rate=25)
            video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
        stream = container.add_stream(codec, rate=rate, layout=layout)
        packets = []
        if picture:
            for _ in range(50):
                packets += video.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), "bgr24"))
            packets += video.encode()
        pieces = np.array_split(wave, len(starts))
        for piece, start in zip(pieces, starts, strict=True):
            planes = np.tile(piece, (2 if layout == "stereo" else 1, 1))
            size = stream.codec_context.frame_size or 1024
            for first in range(0, planes.shape[1], size):
                frame = av.AudioFrame.from_ndarray(
                    np.ascontiguousarray(planes[:, first : first + size]), "fltp", layout
                )
                frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
                frame.pts = round(start * rate) + first
                packets += stream.encode(frame)
        packets += stream.encode()
        for packet in sorted(packets, key=lambda p: p.dts * p.time_base):
            container.mux(packet)


@pytest.fixture(scope="module")
def golden():
    return np.load(GOLDEN / "audio_bbaf2n.npz")


@pytest.mark.parametrize("kind", ["mel", "mfcc"])
def test_features_agree_with_the_original(golden, kind):
    wave = audio_file.load_audio(GOLDEN / "bbaf2n.wav")
    computed = audio.features(wave, kind)
    assert computed.dtype == np.float32 and computed.shape == golden[kind].shape
    np.testing.assert_allclose(computed, golden[kind], rtol=0, atol=1e-5)


@pytest.mark.parametrize("samples", [0, 1, 150, 399, 400, 401, 799, 801])
def test_short_and_silent_waves(samples):
    rng = np.random.default_rng(0)
    for wave in (np.zeros(samples, np.float32), rng.uniform(-0.5, 0.5, samples).astype(np.float32)):
        mel, mfcc = audio.melspectrogram(wave), audio.mfcc(wave)
        assert mel.shape[0] == 80 and mel.shape[1] >= 1 and np.isfinite(mel).all()
        assert mfcc.shape[0] == 12 and mfcc.shape[1] >= 1 and np.isfinite(mfcc).all()
    assert np.all(audio.melspectrogram(np.zeros(samples)) == -4)


def test_mfcc_is_finite_where_speech_meets_digital_silence(golden):
    wave = audio_file.load_audio(GOLDEN / "bbaf2n.wav")
    wave[16000:32000] = 0
    mfcc = audio.mfcc(wave)
    assert np.isfinite(mfcc).all()
    np.testing.assert_allclose(mfcc[:, :97], golden["mfcc"][:, :97], atol=1e-5)  # and nothing else moves


@pytest.mark.parametrize("kind, rows, length", [("mel", 80, 27), ("mfcc", 12, 35)])
def test_windows_start_where_the_formulas_say(kind, rows, length):
    steps = np.tile(np.arange(400, dtype=np.float32) + 5, (rows, 1))
    for seconds in (0.5, 1.0, 1.02, 1.2345, 2.5, 25.5 / 29.97):
        first = round(80 * seconds) - 13 if kind == "mel" else round(100 * (seconds - 0.0125)) - 17
        window = audio.window(steps, seconds, kind)
        assert window.shape == (rows, length) == WINDOW_SHAPE[kind] and window.dtype == np.float32
        np.testing.assert_array_equal(window, steps[:, first : first + length])


@pytest.mark.parametrize("kind", ["mel", "mfcc"])
def test_windows_beyond_the_sound_hear_silence(kind):
    wave = np.random.default_rng(1).uniform(-0.5, 0.5, 16000)
    features = audio.features(wave, kind)
    silence = audio.features(np.zeros(8000), kind)[:, :1]
    half = WINDOW_SHAPE[kind][1] // 2
    start = audio.window(features, FIRST_STEP_SECONDS[kind], kind)
    np.testing.assert_array_equal(start[:, :half], np.repeat(silence, half, axis=1))
    np.testing.assert_array_equal(start[:, half:], features[:, : half + 1])
    for seconds in (-5.0, 60.0):
        np.testing.assert_array_equal(audio.window(features, seconds, kind), np.repeat(silence, 2 * half + 1, axis=1))
    stacked = audio.windows(features, [0.0, 0.5], kind)
    assert stacked.shape == (2, *WINDOW_SHAPE[kind], 1)
    np.testing.assert_array_equal(stacked[1, :, :, 0], audio.window(features, 0.5, kind))
    assert audio.windows(features, [], kind).shape == (0, *WINDOW_SHAPE[kind], 1)


def test_a_click_is_in_the_middle_of_its_window():
    wave = np.zeros(32000, np.float32)
    wave[16000] = 1.0
    for kind in ("mel", "mfcc"):
        window = audio.window(audio.features(wave, kind), 1.0, kind)
        loud = np.flatnonzero(np.abs(window - audio.window(audio.features(wave * 0, kind), 1.0, kind)).max(0) > 0.1)
        assert abs(loud.mean() - window.shape[1] // 2) <= 0.5


def test_the_clock_says_which_moment_a_frame_hears():
    assert WindowClock().centres(1.0, 1.04) == pytest.approx(1.02)
    assert WindowClock(offset_ms=100).centres(1.0, 1.04) == pytest.approx(1.12)
    steps = np.tile(np.arange(2000, dtype=np.float32), (80, 1))
    released = WindowClock("mel", "released")
    frames = np.arange(9, 300)
    for fps in (25, 30, 29.97, 24):
        heard = released.windows(steps, frames / fps, (frames + 1) / fps)
        np.testing.assert_array_equal(heard[:, 0, 0, 0], (frames * 80 / fps + 1e-6).astype(int))
    earlier = ModelConfig(alignment="released").with_audio_offset(-320).clock
    assert earlier == WindowClock("mel", "released", -320)
    assert earlier.windows(steps, 2.0, 2.04)[0, 0, 0, 0] == 160 - 26  # 25.6 steps earlier
    with pytest.raises(ValueError, match="released"):
        WindowClock("mel", "center").centres(0, 1)

    # The waveform and its features give the same, changed or not.
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, 32000)
    for clock in (released, earlier, WindowClock("mfcc", offset_ms=7)):
        starts = 0.8 + np.arange(6).reshape(2, 3) / 25
        assert clock.centres(starts, starts + 0.04).shape == (2, 3)
        expected = clock.windows(audio.features(0.1 * wave, clock.kind), starts, starts + 0.04)
        computed = clock.windows_of(wave, starts, starts + 0.04, lambda stretch: 0.1 * stretch)
        np.testing.assert_allclose(computed, expected, rtol=0, atol=1e-5)
        assert len(expected) == 6


@pytest.mark.parametrize(
    "name, codec, rate, layout",
    [
        ("a.wav", "pcm_s16le", 44100, "stereo"),
        ("b.wav", "pcm_u8", 8000, "mono"),
        ("c.wav", "pcm_s24le", 48000, "mono"),
        ("a.mp3", "libmp3lame", 44100, "stereo"),
        ("a.m4a", "aac", 44100, "mono"),
        ("a.mp4", "aac", 48000, "stereo"),
        ("a.mkv", "aac", 44100, "stereo"),
        ("b.mkv", "libopus", 48000, "stereo"),
        ("a.ogg", "libopus", 48000, "mono"),
        ("a.flac", "flac", 44100, "stereo"),
    ],
)
def test_every_container_keeps_time(tmp_path, name, codec, rate, layout):
    write_sound(tmp_path / name, tone_at(1.3, 2.0, rate), codec, rate, layout)
    wave = audio_file.load_audio(tmp_path / name)
    assert wave.dtype == np.float32 and wave.ndim == 1
    assert abs(len(wave) / SAMPLE_RATE - 2.0) < 0.06
    assert abs(onset(wave) - 1.3) < 0.01
    assert 0.6 < np.abs(wave).max() <= 1.0
    assert len(audio_file.load_audio(tmp_path / name, max_seconds=0.5)) == 8000


@pytest.mark.parametrize("name, codec", [("a.mp4", "aac"), ("a.mkv", "aac"), ("b.mkv", "libopus")])
def test_sound_with_a_picture_and_sound_that_starts_late(tmp_path, name, codec):
    for start in (0.0, 0.5):
        write_sound(tmp_path / name, tone_at(0.3, 1.0, 48000), codec, 48000, starts=[start], picture=True)
        wave = audio_file.load_audio(tmp_path / name)
        assert abs(onset(wave) - (start + 0.3)) < 0.01
        assert np.abs(wave[: int(16000 * (start + 0.25))]).max() < 0.01


def test_a_gap_in_the_timestamps_becomes_silence(tmp_path):
    wave = np.concatenate([tone_at(0.2, 0.5, 48000), tone_at(0.3, 0.5, 48000)])
    write_sound(tmp_path / "gap.mkv", wave, "pcm_s16le", 48000, starts=[0.0, 2.0])
    loaded = audio_file.load_audio(tmp_path / "gap.mkv")
    assert abs(onset(loaded) - 0.2) < 0.01
    assert abs(1.0 + onset(loaded[16000:]) - 2.3) < 0.01
    assert np.all(loaded[10000:30000] == 0)


def test_save_wav_round_trip(tmp_path):
    wave = audio_file.load_audio(GOLDEN / "bbaf2n.wav")
    audio_file.save_wav(tmp_path / "new" / "copy.wav", wave)
    np.testing.assert_array_equal(audio_file.load_audio(tmp_path / "new" / "copy.wav"), wave)


def test_bad_input_is_one_line(tmp_path, capfd):
    (tmp_path / "text.wav").write_text("this is no sound\n" * 100)
    (tmp_path / "empty.mp3").write_bytes(b"")
    (tmp_path / "noise.wav").write_bytes(np.random.default_rng(0).bytes(5000))
    write_sound(tmp_path / "whole.mp4", tone_at(0.5, 1.0), "aac")
    (tmp_path / "truncated.mp4").write_bytes((tmp_path / "whole.mp4").read_bytes()[:2000])
    for name in ("text.wav", "empty.mp3", "noise.wav", "truncated.mp4", "missing.wav"):
        with pytest.raises(UserError, match=name) as error:
            audio_file.load_audio(tmp_path / name)
        assert "\n" not in str(error.value) and ";" in str(error.value)
    with av.open(str(tmp_path / "silent.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for _ in range(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), "bgr24")))
        container.mux(stream.encode())
    with pytest.raises(UserError, match="silent.mp4: has no audio stream"):
        audio_file.load_audio(tmp_path / "silent.mp4")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", ["mel", "mfcc"])
def test_windows_take_what_the_formula_says_to_the_last_bit(kind):
    rng = np.random.default_rng(0)
    rows, length = WINDOW_SHAPE[kind]
    for steps, dtype in ((300, np.float32), (5, np.float64), (0, np.float32)):
        features = rng.standard_normal((rows, steps)).astype(dtype)
        times = rng.uniform(-1, 5, 50)
        silence = audio.features(np.zeros(8000), kind)[:, 0]
        for time, heard in zip(times, audio.windows(features, times, kind), strict=True):
            rate = STEPS_PER_SECOND[kind] * (time - FIRST_STEP_SECONDS[kind])
            first = int(np.floor(rate + 0.5 + 1e-6)) - length // 2
            expected = [features[:, k] if 0 <= k < steps else silence for k in range(first, first + length)]
            np.testing.assert_array_equal(heard[:, :, 0], np.stack(expected, axis=1).astype(np.float32))


@pytest.mark.parametrize("kind", ["mel", "mfcc"])
@pytest.mark.parametrize("samples", [32000, 16123, 12345, 900, 799, 401, 1])
def test_windows_of_a_stretch_are_those_of_the_whole_sound(kind, samples):
    rng = np.random.default_rng(samples)
    wave = (rng.uniform(-0.5, 0.5, samples) * (np.arange(samples) % 9000 > 3000)).astype(np.float32)
    features = audio.features(wave, kind)
    seconds = samples / SAMPLE_RATE
    for start in [*np.arange(-0.5, seconds + 0.6, 0.037), -60.0, 60.0]:
        for times in ([start], start + np.arange(5) / 25, start + np.array([0.3, 0.0, 0.9])):
            computed = audio.windows_of(wave, times, kind)
            assert computed.dtype == np.float32
            np.testing.assert_allclose(computed, audio.windows(features, times, kind), rtol=0, atol=1e-5)
    assert audio.windows_of(wave, [], kind).shape == (0, *WINDOW_SHAPE[kind], 1)


@pytest.mark.parametrize("kind", ["mel", "mfcc"])
def test_windows_of_changed_sound(kind):
    rng = np.random.default_rng(0)
    wave = rng.uniform(-0.5, 0.5, 32000).astype(np.float32)
    times = 1.0 + np.arange(5) / 25
    # What the change does to the samples is heard, and in the middle of a sound that is all that differs.
    computed = audio.windows_of(wave, times, kind, lambda stretch: 0.1 * stretch)
    expected = audio.windows(audio.features(0.1 * wave, kind), times, kind)
    np.testing.assert_allclose(computed, expected, rtol=0, atol=1e-5)

    # It is given the sound's own samples, with silence before and after; stretches of one span are of one length. At
    # the ends the changed sound is heard as any other of its length.
    features, lengths = audio.features(0.1 * wave, kind), set()
    for start in (-9.0, -0.8, -0.2, 0.0, 1.0, 1.9, 2.3, 9.0):
        given, times = [], start + np.arange(5) / 25
        heard = audio.windows_of(wave, times, kind, lambda s, to=given: to.append(s) or 0.1 * s)
        lengths.add(len(given[0]))
        np.testing.assert_allclose(heard, audio.windows(features, times, kind), rtol=0, atol=1e-5)
        if given[0].any():
            within = np.flatnonzero(given[0])
            piece = given[0][within[0] : within[-1] + 1]
            at = np.flatnonzero(wave == piece[0])[0]
            np.testing.assert_array_equal(piece, wave[at : at + len(piece)])
    assert max(lengths) - min(lengths) <= 200

    # Noise ends where the sound does, as in a file.
    silent = audio.windows_of(wave, [5.0], kind)
    noisy = audio.windows_of(wave, [5.0], kind, lambda stretch: stretch + 0.1 * np.sin(np.arange(len(stretch))))
    np.testing.assert_array_equal(noisy, silent)


def test_windows_of_many_sounds_are_those_of_each():
    """Up to 1e-4: louder, softer, clipped and with noise, at the ends of the sound and beyond,
    and whatever was asked for before.
    """
    rng = np.random.default_rng(0)
    waves = [
        (rng.uniform(-0.9, 0.9, n) * (np.arange(n) % 9000 > 3000)).astype(np.float32)
        for n in (48000, 16123, 900, 1, 48000, 70000)
    ]
    waves[4] *= 1e-3
    waves += [np.zeros(32000, np.float32), np.zeros(0, np.float32)]
    # Stretches begin 598 samples from one another in the two functions.
    hum = 0.1 * np.sin(2 * np.pi * np.arange(80000) / 598).astype(np.float32)
    cases = [
        (wave, start, gain, noisy)
        for wave in waves
        for start in (-9.0, -0.325, -0.3, -0.01, 0.0, 0.37, *(len(wave) / 16000 + t for t in (-0.2, 0.0, 0.16)), 3.2)
        for gain, noisy in ((1.0, False), (0.25, False), (2.0, False), (0.5, True))
    ]
    order = rng.permutation(len(cases))
    cases = [cases[i] for i in order]
    times = np.array([start + np.arange(5) / 25 + rng.uniform(0, 0.005) for _, start, _, _ in cases])
    gains, noisy = [gain for _, _, gain, _ in cases], [noisy for *_, noisy in cases]

    def changed(stretch, gain, noisy):
        return np.clip(gain * stretch + (hum[: len(stretch)] if noisy else 0), -1, 1)

    def hear(some, stretches):
        return np.stack([changed(stretch, gains[i], noisy[i]) for i, stretch in zip(some, stretches, strict=False)])

    banks = {id(wave): MelBank(wave) for wave in waves}
    heard = mel_bank.changed_windows([banks[id(wave)] for wave, *_ in cases], times, gains, noisy, hear)
    assert heard.shape == (len(cases), 80, 27, 5) and heard.dtype == np.float32
    for (wave, _, gain, more), moments, window in zip(cases, times, heard, strict=True):
        expected = audio.windows_of(wave, moments, "mel", lambda s, g=gain, m=more: changed(s, g, m))
        np.testing.assert_allclose(np.moveaxis(window, -1, 0)[..., None], expected, rtol=0, atol=1e-4)
        if not more:  # and those of the whole sound, changed
            whole = audio.windows(audio.features(changed(wave, gain, False), "mel"), moments, "mel")
            np.testing.assert_allclose(expected, whole, rtol=0, atol=1e-5)
    alone = [
        mel_bank.changed_windows([MelBank(wave)], moments[None], [gain], [False], hear)[0]
        for (wave, _, gain, more), moments in zip(cases, times, strict=True)
        if not more and gain <= 1
    ]
    kept = [window for (_, _, gain, more), window in zip(cases, heard, strict=True) if not more and gain <= 1]
    np.testing.assert_array_equal(alone, kept)
    sixteen = [(np.rint(wave * 32767)).astype(np.int16) for wave in waves]
    one, other = (
        mel_bank.changed_windows(
            [MelBank(wave) for wave in of],
            np.full((8, 1), 0.4),
            [2.0] * 8,
            [False] * 8,
            lambda _, s: np.clip(2 * s, -1, 1),
        )
        for of in (sixteen, [(wave / 32768).astype(np.float32) for wave in sixteen])
    )
    np.testing.assert_array_equal(one, other)
    out = np.zeros((0, 80, 27, 5), np.float32)
    assert mel_bank.changed_windows([], np.zeros((0, 5)), [], [], hear, out) is out


def test_flac_is_lossless(tmp_path):
    wave = 0.3 * np.sin(np.arange(30000) / 20)
    audio_file.save_wav(tmp_path / "a.wav", wave, 22050)
    flac = audio_file.flac(tmp_path / "a.wav")
    assert flac[:4] == b"fLaC" and len(flac) < 0.5 * (tmp_path / "a.wav").stat().st_size
    np.testing.assert_array_equal(audio_file.load_audio("a.flac", data=flac), audio_file.load_audio(tmp_path / "a.wav"))
    with pytest.raises(UserError, match="named: is not an audio"):
        audio_file.load_audio("named", data=b"text")


def test_pcm_where_it_lies(tmp_path):
    wave = np.random.default_rng(0).uniform(-1, 1, 5001)
    audio_file.save_wav(tmp_path / "a.wav", wave)
    samples = audio_file.pcm(tmp_path / "a.wav")
    assert samples.dtype == np.int16
    np.testing.assert_array_equal(samples / np.float32(32768), audio_file.load_audio(tmp_path / "a.wav"))
    audio_file.save_wav(tmp_path / "b.wav", wave, 22050)
    (tmp_path / "c.wav").write_bytes((tmp_path / "a.wav").read_bytes()[:-100])
    (tmp_path / "d.wav").write_text("text")
    assert all(audio_file.pcm(tmp_path / name) is None for name in ("b.wav", "c.wav", "d.wav", "none"))
