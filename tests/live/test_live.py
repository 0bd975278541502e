"""lipgan_keras.live: what it hears is what the whole sound says, late frames are left out, sound never is."""

import io
import os
import signal
import sys
import threading
import time
import types

import av
import cv2
import numpy as np
import pytest

from helpers import synthetic
from helpers.checks import assert_one_line
from helpers.synthetic import BLANK, RATE, PaintedSound, beeps, call, loudness_painted, numbered_image, onset
from lipgan_keras import audio, checkpoints, networks
from lipgan_keras.config import ModelConfig
from lipgan_keras.face import detector
from lipgan_keras.inference import engine
from lipgan_keras.live import schedule as live_schedule
from lipgan_keras.live import show as live_show
from lipgan_keras.live import sinks
from lipgan_keras.live import sound as live_sound
from lipgan_keras.live.schedule import Schedule
from lipgan_keras.live.sinks import Mp4
from lipgan_keras.live.sound import LiveSound
from lipgan_keras.media import audio_file, video_reader

CONFIG = ModelConfig("basic", "mel", 0.125)
CONFIGS = {
    "mel": CONFIG,
    "mfcc, later": ModelConfig("basic", "mfcc", audio_offset_ms=70),
    "mel, earlier": ModelConfig("basic", "mel", audio_offset_ms=-250),
    "released": ModelConfig("basic", "mel", alignment="released"),
}


@pytest.fixture
def painter(monkeypatch):
    """The synthetic detector, and a synthetic generator in place of every checkpoint; gives the latter."""
    painter = PaintedSound(CONFIG)
    monkeypatch.setattr(detector, "detect", synthetic.detect)
    monkeypatch.setattr(engine, "load", lambda *arguments: painter)
    monkeypatch.setattr(checkpoints, "read_config", lambda path: CONFIG)
    return painter


@pytest.fixture
def photo(tmp_path):
    cv2.imwrite(str(tmp_path / "face.png"), numbered_image(77))
    return tmp_path / "face.png"


def talk(photo, sound, sink, **options):
    return live_show.live("checkpoint", photo, sound, sink, **{"region": "face"} | options)


def speech(seconds, spans=((0.5, 0.8),)):
    """As it comes back from a 16-bit file."""
    return np.float32(np.round(beeps(spans, seconds) * 32768) / 32768)


def pcm(wave):
    return np.round(wave * 32768).astype("<i2").tobytes()


@pytest.fixture
def stdin(monkeypatch, tmp_path):
    """A function: make a file with this sound standard input."""
    with open(tmp_path / "in.pcm", "w+b") as file:
        monkeypatch.setattr(sys, "stdin", file)

        def give(wave):
            file.write(pcm(wave))
            file.seek(0)

        yield give


# Sound in


@pytest.mark.parametrize("name", CONFIGS)
def test_windows_are_those_of_the_whole_sound(name):
    """As soon as they can be, whatever pieces the sound came in; longer than is held."""
    config, schedule = CONFIGS[name], Schedule(CONFIGS[name])
    wave = speech(live_sound.KEPT + 3.03)
    whole = audio.features(wave, config.audio)
    rng = np.random.default_rng(1)
    sound, sent, compared = LiveSound(), 0, 0
    for k in range(live_schedule.frame_count(len(wave))):
        while sent < min(schedule.samples(k), len(wave)):
            count = rng.integers(1, 700) if k % 10 else schedule.samples(k) - sent
            sound.append(wave[sent : sent + count], sent / RATE)
            sent = min(len(wave), sent + count)
        if k % 10 == 0 or k > live_schedule.frame_count(len(wave)) - 12:
            expected = audio.windows(whole, [schedule.centre(k)], config.audio)
            np.testing.assert_allclose(sound.window(schedule.centre(k), config.audio), expected, atol=2e-4)
            compared += 1
    assert compared > 40


def test_no_more_sound_is_waited_for_than_a_window_hears():
    for config in CONFIGS.values():
        schedule, wave = Schedule(config), speech(4)
        needed = schedule.samples(50)
        other = np.random.default_rng(2).uniform(-1, 1, len(wave))
        changed = np.concatenate([wave[: needed - 300], other[needed - 300 :]])
        windows = [audio.windows_of(w, [schedule.centre(50)], config.audio) for w in (wave, changed)]
        assert np.abs(windows[0] - windows[1]).max() > 0.01


def test_latency_is_half_a_window_and_a_bounded_rest():
    for config, half in ((CONFIG, 13.5 / 80), (CONFIGS["mel, earlier"], 13.5 / 80), (ModelConfig(audio="mfcc"), 0.175)):
        schedule = Schedule(config)
        assert schedule.limit == pytest.approx(half + 0.15)
        for k in range(50):  # the sound is there before the frame is due, and that is before it is late
            assert schedule.samples(k) / RATE < schedule.due(k) < schedule.latest(k)
            assert schedule.latest(k) - (k + 0.5) / 25 == pytest.approx(schedule.limit)
    later = Schedule(CONFIGS["released"])  # hears sound after the frame
    assert all(later.samples(k) / RATE < later.due(k) for k in range(50))


def test_clock_goes_by_the_earliest_arrivals():
    sound, piece = LiveSound(), np.zeros(320, np.float32)
    rng = np.random.default_rng(3)
    for i in range(500):
        sound.append(piece, 100 + 0.02 * i + (rng.uniform(0, 0.05) if i % 5 else 0))
    assert sound.origin == pytest.approx(100)
    for i in range(500, 1000):  # the source's clock is slow
        sound.append(piece, 100 + 0.02 * i * 1.001)
    assert 100.01 < sound.origin < 100.02


def test_memory_is_bounded():
    sound = LiveSound()
    for i in range(100):
        sound.append(np.zeros(RATE, np.float32), float(i))
    assert sound.received == 100 * RATE
    assert len(sound._held) <= (live_sound.KEPT + 1) * RATE
    assert len(sound._arrivals) < 10


def test_sound_that_stays_away_is_silence(monkeypatch):
    monkeypatch.setattr(live_sound, "PATIENCE", 0.05)
    sound, schedule = LiveSound(record=True), Schedule(CONFIG)
    wave = speech(0.4, [(0, 0.4)])
    sound.append(wave, time.monotonic())
    k = 20  # 0.8 s
    while not sound.wait(schedule.samples(k), 0.02):
        pass
    assert sound.missed == sound.received - len(wave) > 0
    sound.append(wave, time.monotonic())
    sound.end()
    heard = np.concatenate(list(sound.blocks()))  # the silence is in its place, and no sound is lost
    assert len(heard) == sound.received == 2 * len(wave) + sound.missed
    np.testing.assert_array_equal(heard, np.concatenate([wave, np.zeros(sound.missed), wave]))


def test_pcm_in_pieces_that_split_samples(monkeypatch):
    wave, (reader, writer) = speech(0.5), os.pipe()
    data = pcm(wave)

    def feed():
        for first in range(0, len(data), 777):
            os.write(writer, data[first : first + 777])
            time.sleep(0.001)
        os.close(writer)

    thread = threading.Thread(target=feed)
    sound = LiveSound(record=True)
    thread.start()
    ready = threading.Event()
    ready.set()
    live_sound.read_pcm(reader, sound, ready, threading.Event())
    thread.join()
    os.close(reader)
    np.testing.assert_array_equal(np.concatenate(list(sound.blocks())), wave)


def test_sources_that_wait_are_told_from_those_that_do_not(tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    with open(tmp_path / "a") as file:
        assert live_sound._waits(file.fileno())
    for size, closed, waits in ((0, False, False), (2000, False, False), (65536, False, True), (2000, True, True)):
        reader, writer = os.pipe()
        os.write(writer, bytes(size))
        if closed:
            os.close(writer)
        assert live_sound._waits(reader) == waits, (size, closed)
        os.close(reader)
        if not closed:
            os.close(writer)


# All together


def check(path, wave, config=CONFIG):
    """Frames lie on the 25 fps grid and say what is heard in their middles; sound and video are whole and as long."""
    frames = list(video_reader.read_frames(path))
    seconds = len(wave) / RATE
    assert frames[0].time == 0
    assert frames[-1].time + frames[-1].duration == pytest.approx(seconds, abs=0.01)
    heard = audio_file.load_audio(path)
    assert len(heard) / RATE == pytest.approx(seconds, abs=0.04)
    assert onset(heard) == pytest.approx(onset(wave), abs=0.005)
    schedule, whole = Schedule(config), audio.features(wave, config.audio)
    for frame in frames:
        k = round(frame.time * 25)
        assert frame.time == pytest.approx(k / 25, abs=1e-3)
        window = audio.windows(whole, [schedule.centre(k)], config.audio)[0, :, :, 0]
        expected = np.clip((window[:, window.shape[1] // 2].mean() + 4) / 8, 0, 1)
        assert loudness_painted(frame.image) == pytest.approx(expected, abs=0.04), k
    return frames


def test_file_as_if_live(tmp_path, photo, painter):
    wave = speech(1.5)
    audio_file.save_wav(tmp_path / "a.wav", wave)
    summary = talk(photo, tmp_path / "a.wav", tmp_path / "new" / "b.mp4")
    frames = check(tmp_path / "new" / "b.mp4", wave)
    assert len(frames) >= summary.shown > 0
    assert summary.shown + summary.dropped == live_schedule.frame_count(len(wave)) == 38
    assert sum(summary.latency.values()) == summary.shown
    assert summary.median_ms >= 1000 * (13.5 / 80 + live_schedule.DUE)
    assert painter.batches.count(1) == len(painter.batches)
    with av.open(str(tmp_path / "new" / "b.mp4")) as container:
        assert "synthetic" in container.metadata["comment"].lower()


def test_a_slow_generator_leaves_frames_out_but_no_sound(tmp_path, photo, painter, monkeypatch, capfd):
    wave = speech(2.2)
    audio_file.save_wav(tmp_path / "a.wav", wave)

    def slow(self, *inputs):
        time.sleep(0.2)
        return painter(*inputs)

    lazy = type("Lazy", (), {"config": CONFIG, "name": "slow", "__call__": slow})()
    monkeypatch.setattr(engine, "load", lambda *arguments: lazy)
    result = call("lipgan_keras.live", "--face", photo, "--checkpoint_path", "x", "--region", "face",
                  "--audio", tmp_path / "a.wav", "--sink", tmp_path / "b.mp4", capfd=capfd)  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "too slow" in result.stdout
    times = [frame.time for frame in check(tmp_path / "b.mp4", wave)]
    assert len(times) < 20
    assert max(np.diff(times)) < 1.2  # it goes on showing some


def test_raw_video_on_standard_output(photo, painter, stdin, capfdbinary):
    wave = speech(1.0)
    stdin(wave)
    summary = talk(photo, "-", "-")
    print("not a picture")
    out = capfdbinary.readouterr().out
    assert out.endswith(b"not a picture\n")
    with av.open(io.BytesIO(out[: -len(b"not a picture\n")]), format="yuv4mpegpipe") as container:
        assert container.streams.video[0].average_rate == 25
        images = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
    # A constant rate: what is left out is shown twice.
    assert summary.shown <= len(images) <= 25
    assert len(images) + summary.dropped >= 25
    assert all(synthetic.number(image) == 77 for image in images)
    loud = np.array([loudness_painted(image) for image in images])
    assert loud[: len(loud) // 3].max() + 0.2 < loud.max()


def test_raw_video_repeats_what_was_left_out(tmp_path):
    images = [np.full((51, 31, 3), colour, np.uint8) for colour in (20, (200, 90, 20), 220)]
    with open(tmp_path / "a.y4m", "wb") as file:
        sink = sinks.Y4m(file.fileno(), 31, 51, None, threading.Event())
        sink.start(images[0])
        for k, image in zip((7, 8, 11), images, strict=True):
            sink.show(k, image)
        for k in (30, 31, 32, 33):  # made up for little by little
            sink.show(k, images[0])
    with av.open(str(tmp_path / "a.y4m")) as container:
        images = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
    assert images[0].shape == (52, 32, 3)  # odd sides are made even
    assert [image.mean(axis=(0, 1)).round(-1).tolist() for image in images] == [
        [20] * 3, [200, 90, 20], [200, 90, 20], [200, 90, 20], [220] * 3, *[[220] * 3] * 5, *[[20] * 3] * 17
    ]  # fmt: skip


def test_a_player_that_is_closed_or_does_not_read_ends_the_show():
    image = numbered_image(1)
    for closed in (True, False):
        reader, writer = os.pipe()
        stop = threading.Event()
        sink = sinks.Y4m(writer, 128, 128, None, stop)
        if closed:
            os.close(reader)
        else:
            threading.Timer(0.2, stop.set).start()
        for k in range(100):
            sink.show(k, image)
        assert stop.is_set()
        os.close(writer)
    os.close(reader)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_finishes_the_file(tmp_path, photo, painter, stdin, capfd, monkeypatch, number):
    wave = speech(60)
    stdin(wave)
    shown = []
    original = Mp4.show

    def show(self, k, image):
        original(self, k, image)
        shown.append(k)
        if len(shown) == 25:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(Mp4, "show", show)
    result = call("lipgan_keras.live", "--face", photo, "--checkpoint_path", "x", "--region", "face",
                  "--sink", tmp_path / "b.mp4", capfd=capfd)  # fmt: skip
    assert result.returncode == 0, result.stderr
    check(tmp_path / "b.mp4", wave[: (shown[-1] + 1) * 640])
    assert sorted(os.listdir(tmp_path)) == ["b.mp4", "face.png", "in.pcm"]


def test_an_error_while_generating_ends_it_and_leaves_no_file(tmp_path, photo, painter, stdin, monkeypatch):
    stdin(speech(30))
    calls = []

    def fail(self, *inputs):
        calls.append(1)
        if len(calls) == 10:
            raise RuntimeError("out of memory")
        return PaintedSound.__call__(self, *inputs)

    failing = type("Failing", (PaintedSound,), {"__call__": fail})(CONFIG)
    monkeypatch.setattr(engine, "load", lambda *arguments: failing)
    with pytest.raises(RuntimeError, match="out of memory"):
        talk(photo, "-", tmp_path / "b.mp4")
    assert sorted(os.listdir(tmp_path)) == ["face.png", "in.pcm"]


def test_a_window_shows_the_frames_and_closing_it_ends_the_show(photo, painter, stdin, monkeypatch):
    """With a stand-in for tkinter, as there need be no display."""
    stdin(speech(30))
    images, closing = [], []

    class Anything:
        def __init__(self, *arguments, **keywords):
            if keywords.get("format") == "PPM":
                images.append(cv2.imdecode(np.frombuffer(keywords["data"], np.uint8), cv2.IMREAD_COLOR))

        def __getattr__(self, name):
            return lambda *arguments, **keywords: None

        def protocol(self, name, action):
            closing.append(action)

        def update(self):
            if len(images) == 10:
                closing[-1]()

    monkeypatch.setitem(sys.modules, "tkinter", types.SimpleNamespace(Tk=Anything, Label=Anything, PhotoImage=Anything))
    summary = talk(photo, "-", "window")
    assert len(images) == 10 and summary.shown == 9  # the first one is the mouth at rest
    assert all(synthetic.number(image) == 77 for image in images)
    assert loudness_painted(images[0]) < 0.02


def test_bad_input_in_one_line(tmp_path, photo, painter, stdin, monkeypatch, capfd):
    cv2.imwrite(str(tmp_path / "blank.png"), numbered_image(1, face=False))
    (tmp_path / "text.wav").write_text("hello")
    monkeypatch.delenv("DISPLAY", raising=False)
    out, both = tmp_path / "b.mp4", tmp_path / "face.mp4"
    both.write_bytes(photo.read_bytes())

    def refused(face, sink, *arguments):
        arguments = ("--face", face, "--sink", sink, "--checkpoint_path", "x", *arguments)
        return call("lipgan_keras.live", *arguments, capfd=capfd)

    stdin(speech(0))
    results = [
        (refused(photo, out), "no sound came"),
        (refused(tmp_path / "blank.png", out), "no face found"),
        (refused(tmp_path / "nothing.png", out), "no such file"),
        (refused(photo, tmp_path / "b.avi"), "b.avi"),
        (refused(both, both), "is an input too"),
        (refused(photo, out, "--audio", tmp_path / "text.wav"), "text.wav"),
        (refused(photo, out, "--audio", tmp_path / "nothing.wav"), "no such file"),
        (refused(photo, out, "--box", 0, 500, 0, 20), "--box 0 500 0 20"),
        (refused(photo, "window"), "--sink window"),
    ]
    for result, word in results:
        result.stderr = "\n".join(line for line in result.stderr.splitlines() if "Ctrl-C ends it" not in line)
        assert_one_line(result, word)
    assert not out.exists()


def test_without_the_checkpoint_that_ships(tmp_path, photo, monkeypatch, capfd):
    monkeypatch.setattr(checkpoints, "SHIPPED", tmp_path / "gone.h5")
    audio_file.save_wav(tmp_path / "a.wav", np.ones(1600, np.float32))
    result = call(
        "lipgan_keras.live", "--face", photo, "--audio", tmp_path / "a.wav", "--sink", tmp_path / "b.mp4", capfd=capfd
    )
    assert_one_line(result, "gone.h5", "--checkpoint_path")


def test_large_image_is_reduced_and_a_box_goes_with_it(tmp_path, painter, stdin):
    cv2.imwrite(str(tmp_path / "large.png"), cv2.resize(numbered_image(5, face=False), (2560, 1920)))
    stdin(speech(0.2, [(0, 0.2)]))
    talk(tmp_path / "large.png", "-", tmp_path / "b.mp4", box=(800, 1600, 800, 1600))
    image = next(video_reader.read_frames(tmp_path / "b.mp4")).image
    assert image.shape == (960, 1280, 3)
    change = np.abs(image.astype(int) - BLANK).mean(axis=2)[300:]
    assert change[380:490, 420:780].min() > 10  # the lower half of the box was painted
    assert change[:, 820:].max() < 6 and change[540:].max() < 6


@pytest.mark.real
@pytest.mark.slow
def test_real_photo_and_network(tmp_path, real_clips, stdin, monkeypatch):
    checkpoint = tmp_path / "generator.h5"
    checkpoints.save_checkpoint(checkpoint, {"generator": networks.build(CONFIG)}, CONFIG)
    wave = audio_file.load_audio(real_clips / "bbaf2n.mpg")[:RATE]
    stdin(wave)
    live_show.live(checkpoint, real_clips / "portrait_700p30.mp4", "-", tmp_path / "b.mp4")
    frames = list(video_reader.read_frames(tmp_path / "b.mp4"))
    assert len(frames) > 1
    assert frames[-1].time + frames[-1].duration == pytest.approx(1, abs=0.01)
    source = next(video_reader.read_frames(real_clips / "portrait_700p30.mp4")).image
    face = detector.select(detector.detect([source])[0])
    x, y = face.landmarks[3:].mean(axis=0).astype(int)
    change = np.abs(frames[-1].image.astype(float) - source).mean(axis=2)
    assert change[: int(face.landmarks[2, 1]) - 20].mean() < 3 < change[y - 10 : y + 10, x - 10 : x + 10].mean()
