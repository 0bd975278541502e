import errno
import os
import resource
import shutil
import signal
import struct
import zlib
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from lipgan_keras.media import converter, demux, probe, video_reader, video_writer
from lipgan_keras.media.video_reader import Frame
from lipgan_keras.media.video_writer import VideoWriter
from lipgan_keras.utils.errors import UserError

COLOURS = [
    (0, 0, 255),
    (0, 255, 0),
    (255, 0, 0),
    (255, 255, 255),
    (0, 255, 255),
    (40, 90, 200),
    (128, 128, 128),
    (0, 0, 0),
]


def bars(width, height):
    image = np.zeros((height, width, 3), np.uint8)
    for i, colour in enumerate(COLOURS):
        image[:, i * width // 8 : (i + 1) * width // 8] = colour
    return image


def numbered(i, width=64, height=48):
    """An image whose greys say which one it is, 0 to 143."""
    image = np.full((height, width, 3), 20 + 18 * (i // 12), np.uint8)
    image[height // 2 :] = 20 + 18 * (i % 12)
    return image


def number(image):
    half = len(image) // 2
    tens, ones = (round((float(part.mean()) - 20) / 18) for part in (image[: half - 4], image[half + 4 :]))
    return 12 * tens + ones


def corners(width=96, height=64):
    """Blue, green, red, white from the top left, row by row."""
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, : width // 2] = (255, 0, 0)
    image[: height // 2, width // 2 :] = (0, 255, 0)
    image[height // 2 :, : width // 2] = (0, 0, 255)
    image[height // 2 :, width // 2 :] = 255
    return image


def write(path, frames=30, fps=25, size=(64, 48), audio=None, **arguments):
    with VideoWriter(path, *size, fps, audio=audio, **arguments) as writer:
        for i in range(frames):
            writer.write(numbered(i % 100, *size), i / fps, 1 / fps)
    return path


def encode(path, images, codec, pix_fmt, fps=25, options=None, colorspace=None, color_range=None, pts=None, gop=None):
    """Write with PyAV itself, for formats that VideoWriter does not make."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps, options=options or {})
        stream.width, stream.height, stream.pix_fmt = images[0].shape[1], images[0].shape[0], pix_fmt
        if gop:
            stream.codec_context.gop_size = gop
        matrix = {}
        if pix_fmt.startswith("yuv"):
            full = color_range == 2 or pix_fmt.startswith("yuvj")
            matrix = {
                "dst_colorspace": "ITU709" if colorspace == 1 else "ITU601",
                "src_color_range": "JPEG",
                "dst_color_range": "JPEG" if full else "MPEG",
                "interpolation": converter.ACCURATE,
            }
        if colorspace is not None:
            stream.codec_context.colorspace, stream.codec_context.color_range = colorspace, color_range
        for i, image in enumerate(images):
            source = "bgra" if image.shape[2:] == (4,) else "bgr24"
            frame = av.VideoFrame.from_ndarray(image, source).reformat(format=pix_fmt, **matrix)
            if colorspace is not None:
                frame.colorspace, frame.color_range = colorspace, color_range
            frame.pts = i if pts is None else pts[i]
            frame.time_base = Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def set_matrix(path, a, b, c, d):
    """Set the display matrix of the video track in an MP4."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40  # version 0: flags, times, id, duration, layer, volume
    identity = struct.pack(">9i", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
    assert data[at : at + 36] == identity
    data[at : at + 36] = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 0x40000000)
    path.write_bytes(data)


def beep(at, seconds, rate):
    n = np.arange(round(seconds * rate))
    return np.where(np.abs(n / rate - at - 0.02) < 0.02, 0.5 * np.sin(2 * np.pi * 1000 * n / rate), 0).astype(
        np.float32
    )


def decode_sound(path):
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        frames = list(container.decode(stream))
        duration = float(stream.duration * stream.time_base)
        return np.concatenate([f.to_ndarray() for f in frames], axis=1), frames[0], duration


def loud_at(wave, rate):
    return float(np.flatnonzero(np.abs(wave) > 0.1)[0]) / rate


# Writing and reading back


@pytest.mark.parametrize("size", [(640, 360), (1280, 720), (333, 251)])
def test_round_trip_keeps_colours_and_times(tmp_path, size):
    path, image = tmp_path / "a.mp4", bars(*size)
    with VideoWriter(path, *size, 25) as writer:
        for i in range(12):
            writer.write(image, i / 25, 1 / 25)
    frames = list(video_reader.read_frames(path))
    assert len(frames) == 12
    np.testing.assert_allclose([f.time for f in frames], np.arange(12) / 25, atol=1e-3)
    np.testing.assert_allclose([f.duration for f in frames], 1 / 25, atol=1e-3)
    assert frames[0].image.shape == (size[1] + size[1] % 2, size[0] + size[0] % 2, 3)
    for i, colour in enumerate(COLOURS):
        found = frames[5].image[size[1] // 2, (2 * i + 1) * size[0] // 16]
        np.testing.assert_allclose(found, colour, atol=3)
    info = probe.probe(path)
    assert (info.fps, info.is_still, info.has_audio) == (25, False, False)
    assert info.duration == pytest.approx(12 / 25, abs=1e-3)


def test_odd_sizes_repeat_the_last_row_and_column(tmp_path):
    image = np.zeros((51, 33, 3), np.uint8)
    image[-1], image[:, -1] = 200, 200
    with VideoWriter(tmp_path / "a.mp4", 33, 51, 25, crf=0) as writer:
        writer.write(image, 0, 1)
    found = next(video_reader.read_frames(tmp_path / "a.mp4")).image
    assert found.shape == (52, 34, 3)
    np.testing.assert_allclose(found[-1, :, 1].astype(float), 200, atol=6)
    np.testing.assert_allclose(found[:, -1, 1].astype(float), 200, atol=6)


def test_small_teeth_keep_their_colour(tmp_path, monkeypatch):
    """Redness of a row 4 pixels high between red lips, against a writer without care for colours."""
    rng = np.random.default_rng(0)

    def mouth(i):
        image = np.full((96, 128, 3), (120, 150, 200), np.uint8)
        image[40:56] = (60, 60, 150)
        image[44 + i % 3 : 48 + i % 3] = (190, 200, 205)
        return cv2.GaussianBlur(np.clip(image + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8), (0, 0), 0.6)

    def redness(image):
        return cv2.cvtColor(image[40:56].astype(np.float32) / 255, cv2.COLOR_BGR2LAB)[..., 1]

    def error():
        with VideoWriter(tmp_path / "a.mp4", 128, 96, 25) as writer:
            for i, image in enumerate(images):
                writer.write(image, i / 25)
        again = [frame.image for frame in video_reader.read_frames(tmp_path / "a.mp4")]
        return np.mean([np.abs(redness(a) - redness(b)) for a, b in zip(images, again, strict=True)])

    images = [mouth(i) for i in range(12)]
    with_care = error()
    monkeypatch.setattr(video_writer, "CHROMA", 0)
    monkeypatch.setattr(converter, "ACCURATE_TO_WRITE", converter.ACCURATE)
    assert with_care < 0.76 * error()


def test_mp4_plays_in_browsers(tmp_path):
    path = write(tmp_path / "a.mp4", audio=(beep(0.3, 1.2, 44100), 44100))
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    with av.open(str(path)) as container:
        video, sound = container.streams.video[0], container.streams.audio[0]
        assert (video.codec_context.name, video.codec_context.pix_fmt) == ("h264", "yuv420p")
        context = video.codec_context
        assert (context.colorspace, context.color_primaries, context.color_trc, context.color_range) == (1, 1, 1, 1)
        assert sound.codec_context.name == "aac"


def test_variable_frame_times_and_last_duration(tmp_path):
    times = [0.033, 0.1, 0.134, 0.2, 0.6]
    with VideoWriter(tmp_path / "a.mp4", 64, 48, 22.5, audio=(np.zeros(12000), 16000)) as writer:
        for i, time in enumerate(times):
            writer.write(numbered(10 * i), time, 0.15)
    frames = list(video_reader.read_frames(tmp_path / "a.mp4"))
    np.testing.assert_allclose([f.time for f in frames], times, atol=1e-3)
    np.testing.assert_allclose([f.duration for f in frames], [*np.diff(times), 0.15], atol=1e-3)
    assert [number(f.image) for f in frames] == [0, 10, 20, 30, 40]
    assert probe.probe(tmp_path / "a.mp4").duration == pytest.approx(0.75, abs=2e-3)


def test_sample_aspect_ratio_is_kept(tmp_path):
    path = write(tmp_path / "a.mp4", 3, sample_aspect_ratio=Fraction(16, 15))
    assert probe.probe(path).sample_aspect_ratio == Fraction(16, 15)
    set_matrix(path, 0, 1, -1, 0)
    assert probe.probe(path).sample_aspect_ratio == Fraction(15, 16)


@pytest.mark.parametrize("rate, kept", [(44100, 44100), (16000, 16000), (22050, 22050), (11000, 11025), (48000, 48000)])
def test_sound_keeps_its_time_and_length(tmp_path, rate, kept):
    path = write(tmp_path / "a.mp4", 60, audio=(beep(1.0, 2.4, rate), rate))
    wave, first, duration = decode_sound(path)
    assert first.sample_rate == kept and first.layout.name == "mono"
    assert duration == pytest.approx(2.4, abs=2e-3)
    assert loud_at(wave[0], kept) + first.time == pytest.approx(1.0, abs=0.01)


def test_sound_from_a_file_on_its_own_clock(tmp_path):
    """The sound starts 0.5 s after the video, in stereo; it is to stay there, cut or padded."""
    rate, source = 32000, tmp_path / "a.mkv"
    wave = np.stack([beep(0.5, 1.0, rate), np.zeros(rate, np.float32)])
    with av.open(str(source), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream("pcm_s16le", rate=rate, layout="stereo")
        for i in range(40):
            frame = av.VideoFrame.from_ndarray(numbered(i), "bgr24")
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        for i in range(0, rate, 1000):
            samples = np.round(wave[:, i : i + 1000] * 32767).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T.reshape(1, -1)), "s16", "stereo")
            frame.sample_rate, frame.pts, frame.time_base = rate, i + rate // 2, Fraction(1, rate)
            container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    for duration, limit, expected in ((None, None, 1.5), (2.0, None, 2.0), (1.2, None, 1.2), (None, 1.3, 1.3)):
        path = write(tmp_path / "b.mp4", 50, audio=source, duration=duration, max_seconds=limit)
        found, first, length = decode_sound(path)
        assert first.layout.name == "stereo" and first.sample_rate == rate
        assert length == pytest.approx(expected, abs=2e-3)
        assert loud_at(found[0], rate) + first.time == pytest.approx(1.0, abs=0.01)
        assert np.abs(found[1]).max() < 0.01


def test_gaps_in_the_sound_become_silence(tmp_path):
    rate, source = 16000, tmp_path / "a.mkv"
    with av.open(str(source), "w") as container:
        sound = container.add_stream("pcm_s16le", rate=rate, layout="mono")
        for second in (0, 1, 3):  # nothing from 2 to 3
            samples = np.round(beep(0.5, 1.0, rate) * 32767).astype(np.int16)[None]
            frame = av.AudioFrame.from_ndarray(samples, "s16", "mono")
            frame.sample_rate, frame.pts, frame.time_base = rate, second * rate, Fraction(1, rate)
            container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    wave, _, duration = decode_sound(write(tmp_path / "b.mp4", 110, audio=source))
    assert duration == pytest.approx(4.0, abs=2e-3)
    for at in (0.5, 1.5, 3.5):
        part = wave[0, round((at - 0.2) * rate) :]
        assert loud_at(part, rate) - 0.2 + at == pytest.approx(at, abs=0.01)


def test_sound_is_muxed_along(tmp_path):
    """A player need not read far ahead: sound and image of one time lie within a second of each other."""
    path = write(tmp_path / "a.mp4", 500, audio=(np.random.default_rng(0).normal(0, 0.1, 16000 * 20), 16000))
    with av.open(str(path)) as container:
        last = {"audio": 0.0, "video": 0.0}
        packets = [p for p in container.demux() if p.pts is not None]
        for packet in sorted(packets, key=lambda p: p.pos):
            last[packet.stream.type] = float(packet.pts * packet.time_base)
            assert abs(last["audio"] - last["video"]) < 1.5


def test_writer_refuses_a_frame_of_another_size(tmp_path):
    with pytest.raises(ValueError), VideoWriter(tmp_path / "a.mp4", 64, 48, 25) as writer:
        writer.write(np.zeros((48, 66, 3), np.uint8), 0)


def test_writer_names_audio_without_sound(tmp_path):
    silent = write(tmp_path / "silent.mp4", 3)
    text = tmp_path / "text.wav"
    text.write_text("not a sound\n" * 100)
    for source, words in (
        (silent, "no sound"),
        (tmp_path / "none.wav", "no such file"),
        (text, "is not a file with sound"),
    ):
        with pytest.raises(UserError, match=words) as caught:
            VideoWriter(tmp_path / "a.mp4", 64, 48, 25, audio=source)
        assert str(source) in str(caught.value)


def test_a_full_disc_is_an_os_error(tmp_path):
    """A limit on the size of files stands for the full disc."""
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    rng, path = np.random.default_rng(0), tmp_path / "a.mp4"
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
    try:
        with pytest.raises(OSError) as caught, VideoWriter(path, 320, 240, 25) as writer:
            for i in range(60):
                writer.write(rng.integers(0, 255, (240, 320, 3), dtype=np.uint8), i / 25)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert caught.value.errno == errno.EFBIG and caught.value.filename == str(path)


def test_writing_to_no_folder_is_an_os_error(tmp_path):
    with pytest.raises(OSError) as caught:
        VideoWriter(tmp_path / "none" / "a.mp4", 64, 48, 25)
    assert caught.value.errno == errno.ENOENT and "none" in caught.value.filename


# Orientation


@pytest.mark.parametrize(
    "matrix, upright",
    [
        ((1, 0, 0, 1), lambda i: i),
        ((0, 1, -1, 0), lambda i: np.rot90(i, -1)),  # a phone held upright: to be turned clockwise
        ((-1, 0, 0, -1), lambda i: np.rot90(i, 2)),
        ((0, -1, 1, 0), lambda i: np.rot90(i, 1)),
        ((-1, 0, 0, 1), lambda i: i[:, ::-1]),
        ((1, 0, 0, -1), lambda i: i[::-1]),
        ((0, 1, 1, 0), lambda i: i.swapaxes(0, 1)),
    ],
)
def test_display_matrix(tmp_path, matrix, upright):
    path, image = tmp_path / "a.mp4", corners()
    with VideoWriter(path, 96, 64, 25) as writer:
        for i in range(3):
            writer.write(image, i / 25)
    if matrix != (1, 0, 0, 1):
        set_matrix(path, *matrix)
    found = list(video_reader.read_frames(path))[1].image
    wanted = upright(image)
    assert found.shape == wanted.shape
    assert np.abs(found.astype(int) - wanted).mean() < 6
    info = probe.probe(path)
    assert (info.height, info.width) == wanted.shape[:2]


def test_rotation_agrees_with_ffmpeg(tmp_path):
    """ffmpeg says how many degrees counterclockwise to turn."""
    path = write(tmp_path / "a.mp4", 2)
    set_matrix(path, 0, 1, -1, 0)
    with av.open(str(path)) as container:
        assert next(container.decode(video=0)).rotation == -90


# Pixel formats


@pytest.mark.parametrize("size", [(640, 360), (1280, 720)])
@pytest.mark.parametrize("colorspace, color_range", [(1, 1), (1, 2), (5, 1), (6, 2)])
def test_tagged_matrix_and_range(tmp_path, size, colorspace, color_range):
    path = encode(
        tmp_path / "a.mkv", [bars(*size)] * 2, "libx264", "yuv420p", colorspace=colorspace, color_range=color_range
    )
    found = next(video_reader.read_frames(path)).image
    for i, colour in enumerate(COLOURS):
        np.testing.assert_allclose(found[size[1] // 2, (2 * i + 1) * size[0] // 16], colour, atol=4)


@pytest.mark.parametrize("size, matrix", [((640, 360), "ITU601"), ((1280, 720), "ITU709")])
def test_untagged_matrix_goes_by_height(tmp_path, size, matrix):
    source = av.VideoFrame.from_ndarray(bars(*size), "bgr24").reformat(
        format="yuv444p", dst_colorspace=matrix, dst_color_range="MPEG"
    )
    source.colorspace = 2
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv444p"
        source.pts, source.time_base = 0, Fraction(1, 25)
        container.mux(stream.encode(source))
        container.mux(stream.encode(None))
    found = next(video_reader.read_frames(tmp_path / "a.mkv")).image
    for i, colour in enumerate(COLOURS):
        np.testing.assert_allclose(found[size[1] // 2, (2 * i + 1) * size[0] // 16], colour, atol=3)


@pytest.mark.parametrize(
    "codec, pix_fmt, name",
    [
        ("ffv1", "yuv420p10le", "a.mkv"),
        ("libx264", "yuv420p10le", "a.mp4"),
        ("prores_ks", "yuv422p10le", "a.mov"),
        ("ffv1", "bgr0", "a.mkv"),
        ("mjpeg", "yuvj420p", "a.avi"),
        ("mpeg2video", "yuv420p", "a.mpg"),
        ("mpeg2video", "yuv420p", "a.ts"),
        ("libvpx-vp9", "yuv420p", "a.webm"),
        ("mpeg4", "yuv420p", "a.avi"),
    ],
)
def test_formats(tmp_path, codec, pix_fmt, name):
    options = {"qscale": "2"} if codec in ("mjpeg", "mpeg2video", "mpeg4") else {}
    path = encode(tmp_path / name, [bars(320, 240)] * 10, codec, pix_fmt, options=options)
    frames = list(video_reader.read_frames(path))
    assert len(frames) == 10
    assert frames[0].time == pytest.approx(0, abs=1e-3)  # whatever the container's first time stamp
    np.testing.assert_allclose(np.diff([f.time for f in frames]), 1 / 25, atol=2e-3)
    for i, colour in enumerate(COLOURS):
        np.testing.assert_allclose(frames[4].image[120, 20 + 40 * i], colour, atol=16 if options else 6)


def test_grey_video(tmp_path):
    ramp = np.repeat(np.linspace(0, 255, 256).astype(np.uint8)[None], 64, 0)[..., None].repeat(3, 2)
    path = encode(tmp_path / "a.mkv", [ramp] * 2, "ffv1", "gray")
    np.testing.assert_allclose(next(video_reader.read_frames(path)).image.astype(int), ramp, atol=2)


def test_transparent_video_lies_on_white(tmp_path):
    image = np.zeros((48, 64, 4), np.uint8)
    image[:, :32] = (0, 0, 200, 255)
    path = encode(tmp_path / "a.mov", [image] * 2, "png", "rgba")
    found = next(video_reader.read_frames(path)).image
    np.testing.assert_array_equal(found[10, 10], (0, 0, 200))
    np.testing.assert_array_equal(found[10, 50], (255, 255, 255))


# Stills


def test_stills(tmp_path):
    rng = np.random.default_rng(0)
    image = cv2.resize(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8), (80, 60))
    cv2.imwrite(str(tmp_path / "a.png"), image)
    shutil.copy(tmp_path / "a.png", tmp_path / "a.mp4")  # the content decides
    for name in ("a.png", "a.mp4"):
        np.testing.assert_array_equal(video_reader.read_image(tmp_path / name), image)
        info = probe.probe(tmp_path / name)
        assert info.is_still and not info.has_audio and (info.width, info.height) == (80, 60)
        frames = list(video_reader.read_frames(tmp_path / name))
        assert len(frames) == 1 and frames[0].time == 0
        assert len(list(video_reader.read_frames_reversed(tmp_path / name))) == 1
        assert len(list(video_reader.sample_frames(tmp_path / name))) == 1

    cv2.imwrite(str(tmp_path / "grey.png"), image[..., 0])
    np.testing.assert_array_equal(video_reader.read_image(tmp_path / "grey.png"), image[..., :1].repeat(3, 2))
    cv2.imwrite(str(tmp_path / "deep.png"), image.astype(np.uint16) * 257)
    np.testing.assert_allclose(video_reader.read_image(tmp_path / "deep.png").astype(int), image, atol=1)
    alpha = np.full((60, 80), 255, np.uint8)
    alpha[:, :40] = 0
    for name, scale in (("alpha.png", 1), ("deep_alpha.png", 257)):
        dtype = np.uint8 if scale == 1 else np.uint16
        cv2.imwrite(str(tmp_path / name), np.dstack([image, alpha]).astype(dtype) * dtype(scale))
        found = video_reader.read_image(tmp_path / name)
        assert (found[:, :40] == 255).all()
        np.testing.assert_allclose(found[:, 40:].astype(int), image[:, 40:], atol=1)


def test_png_of_all_sorts(tmp_path):
    """Long texts, such as editors write, and one transparent colour of 16 bits."""
    image, texts = corners(), PngImagePlugin.PngInfo()
    texts.add_text("history", "x" * 2_000_000, zip=True)
    Image.fromarray(image[..., ::-1]).save(tmp_path / "long.png", pnginfo=texts)
    np.testing.assert_array_equal(video_reader.read_image(tmp_path / "long.png"), image)

    deep = np.full((8, 8, 3), (3000, 2000, 1000), np.uint16)  # BGR
    deep[:, 4:] = 65535 * 3 // 5
    data = cv2.imencode(".png", deep)[1].tobytes()
    chunk = b"tRNS" + struct.pack(">HHH", 1000, 2000, 3000)
    data = data[:33] + struct.pack(">I", 6) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[33:]
    (tmp_path / "deep.png").write_bytes(data)
    found = video_reader.read_image(tmp_path / "deep.png")
    assert (
        found.shape == (8, 8, 3) and (found[:, :4] == 255).all() and np.abs(found[:, 4:].astype(int) - 153).max() <= 1
    )


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path, orientation):
    image = corners()
    turned = {
        1: image,
        2: image[:, ::-1],
        3: np.rot90(image, 2),
        4: image[::-1],
        5: image.swapaxes(0, 1),
        6: np.rot90(image, -1),
        7: np.rot90(image, 2).swapaxes(0, 1),
        8: np.rot90(image, 1),
    }[orientation]
    jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
    tiff = b"II*\0\x08\0\0\0" + struct.pack("<HHHIHHI", 1, 0x112, 3, 1, orientation, 0, 0)
    exif = b"Exif\0\0" + tiff
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:])
    found = video_reader.read_image(path)
    assert found.shape == turned.shape
    assert np.abs(found.astype(int) - turned).mean() < 6

    transparent = np.dstack([image[..., ::-1], np.full(image.shape[:2], 255, np.uint8)])
    exif = Image.Exif()
    exif[0x112] = orientation
    for name in ("a.png", "a.tiff"):
        Image.fromarray(transparent).save(tmp_path / name, exif=exif)
        np.testing.assert_array_equal(video_reader.read_image(tmp_path / name), turned)


def test_animations_are_videos(tmp_path):
    frames = [Image.fromarray(np.full((48, 64, 3), c, np.uint8)) for c in (0, 100, 200, 250)]
    for name in ("a.gif", "a.png", "a.webp"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], duration=100, lossless=True)
        found = list(video_reader.read_frames(tmp_path / name))
        assert [round(float(f.image.mean()) / 50) * 50 for f in found] == [0, 100, 200, 250], name
        np.testing.assert_allclose([f.time for f in found], [0, 0.1, 0.2, 0.3], atol=2e-3)
        info = probe.probe(tmp_path / name)
        assert not info.is_still and info.fps == pytest.approx(10, rel=0.01), name
        back = list(video_reader.read_frames_reversed(tmp_path / name))
        assert [f.time for f in back] == [f.time for f in found[::-1]]
    frames[0].save(tmp_path / "one.gif")
    assert probe.probe(tmp_path / "one.gif").is_still


# Time, seeking, backwards


@pytest.mark.parametrize(
    "name, codec", [("a.mp4", "libx264"), ("a.mpg", "mpeg2video"), ("a.avi", "mpeg4"), ("a.mkv", "ffv1")]
)
def test_seeking_and_backwards(tmp_path, name, codec):
    pix_fmt = "yuv420p"
    options = {"qscale": "2"} if codec.startswith("mpeg") else {}
    path = encode(tmp_path / name, [numbered(i) for i in range(100)], codec, pix_fmt, options=options, gop=30)
    frames = list(video_reader.read_frames(path))
    assert [number(f.image) for f in frames] == list(range(100))
    for start in (0.01, 1.0, 2.21, 3.96):
        part = list(video_reader.read_frames(path, start))
        expected = [f.time for f in frames if f.time >= start - 0.02]
        np.testing.assert_allclose([f.time for f in part], expected, atol=1e-6)
        assert number(part[0].image) == 100 - len(expected)
    back = list(video_reader.read_frames_reversed(path, chunk=16))
    assert [number(f.image) for f in back] == list(range(99, -1, -1))
    np.testing.assert_allclose([f.time for f in back], [f.time for f in frames[::-1]], atol=1e-6)
    np.testing.assert_allclose([f.duration for f in back], [f.duration for f in frames[::-1]], atol=1e-6)


def test_backwards_with_uneven_times(tmp_path):
    """40 frames in the first second, then one each second."""
    times = [*np.arange(40) / 40, *np.arange(1, 11)]
    with VideoWriter(tmp_path / "a.mp4", 64, 48, 5) as writer:
        for i, time in enumerate(times):
            writer.write(numbered(i), time, 1.0)
    back = list(video_reader.read_frames_reversed(tmp_path / "a.mp4", chunk=8))
    np.testing.assert_allclose([f.time for f in back], times[::-1], atol=1e-3)


def test_backwards_holds_few_frames(tmp_path, monkeypatch):
    path = write(tmp_path / "a.mp4", 100)
    alive, most = [0], [0]

    class Counted(Frame):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            alive[0] += 1
            most[0] = max(most[0], alive[0])

        def __del__(self):
            alive[0] -= 1

    monkeypatch.setattr(video_reader, "Frame", Counted)
    assert sum(1 for _ in video_reader.read_frames_reversed(path, chunk=10)) == 100
    assert most[0] <= 13


def test_sample_frames(tmp_path):
    path = encode(tmp_path / "a.mp4", [numbered(i) for i in range(110)], "libx264", "yuv420p", gop=10)
    found = [number(f.image) for f in video_reader.sample_frames(path, 5)]
    assert len(found) == 5 and found[0] == 0 and found[-1] >= 70 and (np.diff(found) > 0).all()


def test_time_stamps_that_run_backwards_are_mended(tmp_path):
    path = write(tmp_path / "a.mp4", 30)
    with demux.open_media(path) as (container, stream):
        frames = list(demux.timed_frames(path, container, stream))

        class Stub:
            key_frame, pict_type, is_corrupt, dts, duration, time_base = True, 1, False, None, 0, Fraction(1, 25)

            def __init__(self, pts):
                self.pts = pts

        def times(stamps, monkeypatch):
            monkeypatch.setattr(demux, "decoded_frames", lambda *_: ((Stub(s), 0) for s in stamps))
            return [time for time, _, _ in demux.timed_frames(path, container, stream)]

        with pytest.MonkeyPatch.context() as patch:
            assert times([0, 1, None, 3], patch) == pytest.approx([0, 0.04, 0.08, 0.12])
            assert times([None, None, None], patch) == pytest.approx([0, 0.04, 0.08])
            found = times([0, 1, 1, 2, 3], patch)
            assert (np.diff(found) > 0).all() and found == pytest.approx([0, 0.04, 0.041, 0.08, 0.12])
            assert times([0, 50, 51, 0, 1], patch) == pytest.approx([0, 2, 2.04, 2.08, 2.12])  # the clock starts anew
    assert len(frames) == 30


def test_a_change_of_size_is_scaled_to_the_first(tmp_path):
    """Two MPEG-2 streams in one transport stream."""
    for i, size in enumerate([(64, 48), (128, 96)]):
        encode(tmp_path / f"{i}.m2v", [numbered(10 * i, *size)] * 5, "mpeg2video", "yuv420p", options={"qscale": "2"})
    path = tmp_path / "a.m2v"
    path.write_bytes((tmp_path / "0.m2v").read_bytes() + (tmp_path / "1.m2v").read_bytes())
    frames = list(video_reader.read_frames(path))
    assert {f.image.shape for f in frames} == {(48, 64, 3)}
    assert {number(f.image) for f in frames} == {0, 10}


def test_a_cut_between_keyframes_starts_clean(tmp_path):
    rng = np.random.default_rng(0)
    images = [cv2.resize(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8), (320, 240)) for _ in range(60)]
    path = encode(tmp_path / "a.ts", images, "mpeg2video", "yuv420p", options={"qscale": "3"}, gop=20)
    data = path.read_bytes()
    path.write_bytes(data[len(data) // 188 // 6 * 188 :])
    frames = list(video_reader.read_frames(path))
    assert 20 <= len(frames) < 60
    for frame, image in zip(frames, images[-len(frames) :], strict=True):
        assert np.abs(frame.image.astype(int) - image).mean() < 8


# Bad input


def test_bad_input_is_named(tmp_path):
    good = write(tmp_path / "good.mp4", 50, size=(320, 240), audio=(np.zeros(32000), 16000)).read_bytes()
    files = {
        "empty.mp4": (b"", "empty"),
        "text.mp4": (b"hello\nworld\n" * 50, "text"),
        "list.mp4": (b"#EXTM3U\n#EXTINF:1,\nhttp://example.invalid/a.ts\n", "text"),
        "utf8.txt": (("pr\u00fcfung\n" * 600).encode(), "text"),
        "random.mp4": (np.random.default_rng(0).bytes(5000), "not a picture or a video"),
        "cut.mp4": (good[: len(good) // 2], "cut off"),
        "damaged.jpg": (b"\xff\xd8\xff\xe0" + bytes(200), "damaged"),
    }
    for name, (data, words) in files.items():
        (tmp_path / name).write_bytes(data)
        for function in (probe.probe, video_reader.read_image, lambda p: list(video_reader.read_frames(p))):
            with pytest.raises(UserError, match=words) as caught:
                function(tmp_path / name)
            assert str(caught.value).startswith(f"{tmp_path / name}: ") and ";" in str(caught.value)
    for path, words in ((tmp_path, "folder"), (tmp_path / "none.mp4", "no such file")):
        with pytest.raises(UserError, match=words):
            probe.probe(path)


def test_sound_only_is_named(tmp_path):
    for name, codec in (("a.wav", "pcm_s16le"), ("a.m4a", "aac")):
        with av.open(str(tmp_path / name), "w") as container:
            sound = container.add_stream(codec, rate=16000, layout="mono")
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.int16), "s16", "mono")
            frame.sample_rate, frame.pts = 16000, 0
            if codec == "aac":
                frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
                frame.sample_rate, frame.pts = 16000, 0
            container.mux(sound.encode(frame))
            container.mux(sound.encode(None))
        with pytest.raises(UserError, match="sound only"):
            probe.probe(tmp_path / name)


def test_mp4_without_its_index_is_cut_off(tmp_path):
    """As a camera leaves it that lost power: frames, but no moov yet."""
    path = tmp_path / "a.mp4"
    encode(path, [numbered(i) for i in range(30)], "libx264", "yuv420p")  # not faststart: moov comes last
    data = path.read_bytes()
    assert data.index(b"mdat") < data.index(b"moov")
    path.write_bytes(data[: data.index(b"moov") - 4])
    with pytest.raises(UserError, match="moov"):
        probe.probe(path)


@pytest.mark.parametrize("name, codec", [("a.mkv", "libx264"), ("a.webm", "libvpx-vp9"), ("a.avi", "mpeg4")])
def test_other_containers_cut_off(tmp_path, name, codec):
    path = encode(tmp_path / name, [numbered(i) for i in range(30)], codec, "yuv420p")
    assert probe.probe(path).width == 64
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(UserError, match="cut off"):
        probe.probe(path)


def test_damage_in_the_middle_names_the_second(tmp_path):
    rng = np.random.default_rng(0)
    images = [cv2.resize(rng.integers(0, 255, (24, 32, 3), dtype=np.uint8), (320, 240)) for _ in range(75)]
    path = encode(tmp_path / "a.mp4", images, "libx264", "yuv420p", gop=10)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 20000] = rng.bytes(20000)
    path.write_bytes(data)
    seen = []
    with pytest.raises(UserError, match=r"breaks at 1\.\d\d s") as caught:
        seen.extend(f.time for f in video_reader.read_frames(path))
    assert str(path) in str(caught.value)
    with pytest.raises(UserError):
        for frame in video_reader.read_frames(path):
            last = frame.time
    assert 0.8 < last < 1.8


def test_odd_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a:b.mp4", "-x.mp4", "per%03dcent.mp4", "sp ace 'q' \u00fc.mp4"):
        write(name, 3)
        assert len(list(video_reader.read_frames(name))) == 3


def test_a_name_that_is_no_utf_8_is_named(tmp_path):
    """OpenCV would crash on it."""
    path = tmp_path / os.fsdecode(b"bad\xff.mp4")
    path.write_bytes(b"")
    with pytest.raises(UserError, match="not UTF-8; rename"):
        probe.probe(path)


def test_nothing_is_printed(tmp_path, capfd):
    path = write(tmp_path / "a.mp4", 10, audio=(np.zeros(8000), 16000))
    list(video_reader.read_frames(path))
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(UserError):
        probe.probe(path)
    for name in ("b.jpg", "b.png", "b.tiff"):
        data = cv2.imencode(name[1:], bars(64, 48))[1].tobytes()
        (tmp_path / name).write_bytes(data[: len(data) // 2])
        with pytest.raises(UserError, match="damaged"):
            video_reader.read_image(tmp_path / name)
    assert capfd.readouterr() == ("", "")


@pytest.mark.real
def test_real_clips(real_clips):
    info = probe.probe(real_clips / "bbaf2n.mpg")
    assert (info.width, info.height, info.fps, info.has_audio) == (360, 288, 25, True)
    for path in sorted(real_clips.glob("*.mpg")):
        frames = list(video_reader.read_frames(path))
        np.testing.assert_allclose([f.time for f in frames], np.arange(75) / 25, atol=1e-3)
    path = real_clips / "portrait_700p30.mp4"
    frames = list(video_reader.read_frames(path))
    assert len(frames) == 135 and frames[0].time == pytest.approx(0.033, abs=1e-3)
    gaps = np.diff([f.time for f in frames])
    assert {round(1000 * gap) for gap in gaps} == {33, 67}
    assert frames[-1].time + frames[-1].duration == pytest.approx(6.133, abs=1e-3)
    back = list(video_reader.read_frames_reversed(path, chunk=20))[::-1]
    assert [f.time for f in back] == [f.time for f in frames]
    assert all(np.array_equal(a.image, b.image) for a, b in zip(back[::10], frames[::10], strict=True))
