"""Sound from every container on the container's clock, and files that are written."""

from fractions import Fraction

import av
import numpy as np
import pytest

from helpers.checks import GOLDEN
from lipgan_keras.config import SAMPLE_RATE
from lipgan_keras.media import audio_file
from lipgan_keras.utils.errors import UserError


def tone_at(seconds, length, rate=44100, level=0.8):
    """Silence with 60 ms of a 1 kHz tone from `seconds` on."""
    time = np.arange(round(length * rate)) / rate
    inside = (time >= seconds) & (time < seconds + 0.06)
    return (level * np.sin(2 * np.pi * 1000 * time) * inside).astype(np.float32)


def onset(wave, rate=SAMPLE_RATE):
    return np.argmax(np.abs(wave) > 0.3 * np.abs(wave).max()) / rate


def write_sound(path, wave, codec, rate=44100, layout="mono", starts=(0.0,), with_video=False):
    """One piece of `wave` at each of `starts` seconds; optionally with a video stream that starts at 0."""
    with av.open(str(path), "w") as container:
        if with_video:
            video = container.add_stream("mpeg4", rate=25)
            video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
        stream = container.add_stream(codec, rate=rate, layout=layout)
        packets = []
        if with_video:
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
def test_sound_with_a_video_and_sound_that_starts_late(tmp_path, name, codec):
    for start in (0.0, 0.5):
        write_sound(tmp_path / name, tone_at(0.3, 1.0, 48000), codec, 48000, starts=[start], with_video=True)
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


def test_flac_is_lossless(tmp_path):
    wave = 0.3 * np.sin(np.arange(30000) / 20)
    audio_file.save_wav(tmp_path / "a.wav", wave, 22050)
    flac = audio_file.flac(tmp_path / "a.wav")
    assert flac[:4] == b"fLaC" and len(flac) < 0.5 * (tmp_path / "a.wav").stat().st_size
    np.testing.assert_array_equal(audio_file.load_audio("a.flac", data=flac), audio_file.load_audio(tmp_path / "a.wav"))
    with pytest.raises(UserError, match="named: is not a file with sound"):
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
