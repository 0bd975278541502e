"""Kinds of files that people record, cut and join, each of which was read wrongly once."""

import functools
import itertools
import struct
import warnings
import zlib
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image, ImageCms

from helpers import mutations
from lipgan_keras.media import audio_file, clock, converter, demux, image_file, probe, video_reader, video_writer
from lipgan_keras.utils.errors import UserError

RATE = 16000


def picture(i, width=96, height=64):
    """Greys that say which one it is, 0 to 99."""
    image = np.full((height, width, 3), 20 + 20 * (i // 10), np.uint8)
    image[:, width // 2 :] = 20 + 20 * (i % 10)
    return image


def number(image):
    half = image.shape[1] // 2
    return sum(
        round((float(part.mean()) - 20) / 20) * by
        for part, by in ((image[:, 4 : half - 8], 10), (image[:, half + 8 : -4], 1))
    )


def tone(seconds, hertz):
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def recording(path, first=0, frames=25, hertz=440, begin=0.0, gop=10, size=(96, 64), grain=0):
    """Frames `first` and on at 25 a second, with a tone; the clock begins at `begin` seconds."""
    codecs = ("mpeg2video", "mp2") if path.suffix == ".mpg" else ("libx264", "aac")
    options = {"crf": "15", "bf": "0", "sc_threshold": "0"} if codecs[0] == "libx264" else {"qscale": "2"}
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        video = container.add_stream(codecs[0], rate=25, options=options)
        video.width, video.height, video.pix_fmt = *size, "yuv420p"
        video.codec_context.gop_size = gop
        sound = container.add_stream(codecs[1], rate=RATE, layout="mono")
        kind, most = ("s16", 1152) if codecs[1] == "mp2" else ("fltp", 1024)
        wave = tone(frames / 25, hertz)
        for i in range(frames):
            image = np.uint8(picture(first + i, *size) + rng.integers(0, grain + 1, (size[1], size[0], 3)))
            frame = av.VideoFrame.from_ndarray(image, "bgr24").reformat(format="yuv420p")
            frame.pts, frame.time_base = i + round(begin * 25), Fraction(1, 25)
            container.mux(video.encode(frame))
        for at in range(0, len(wave), most):
            samples = wave[None, at : at + most]
            samples = np.int16(samples * 32767) if kind == "s16" else samples
            frame = av.AudioFrame.from_ndarray(samples, kind, "mono")
            frame.sample_rate, frame.time_base, frame.pts = RATE, Fraction(1, RATE), at + round(begin * RATE)
            container.mux(sound.encode(frame))
        container.mux(video.encode(None))
        container.mux(sound.encode(None))
    return path


def joined(path, *parts):
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def pitch(wave, begin, end):
    part = wave[round(begin * RATE) : round(end * RATE)]
    return np.argmax(np.abs(np.fft.rfft(part * np.hanning(len(part))))) * RATE / len(part)


# Program streams are written with their own clock, which begins at 0.
@pytest.mark.parametrize("suffix, begin", [("ts", 0.0), ("ts", 20.0), ("ts", 36000.0), ("mpg", 0.0)])
def test_clocks_that_start_anew_or_jump(tmp_path, suffix, begin):
    """Picture and sound follow the same clock: what was joined plays as one."""
    parts = [recording(tmp_path / f"{i}.{suffix}", 30 * i, 25, 300 + 400 * i, begin * i) for i in range(2)]
    path = joined(tmp_path / f"a.{suffix}", *parts)
    frames = list(video_reader.read_frames(path))
    assert [number(f.image) for f in frames] == [*range(25), *range(30, 55)]
    assert probe.probe(path).duration == pytest.approx(2, abs=0.25)
    times = np.array([f.time for f in frames])
    assert (np.diff(times) > 0).all() and np.diff(times).max() < 0.25
    assert [number(f.image) for f in video_reader.read_frames_reversed(path)] == [
        *range(54, 29, -1),
        *range(24, -1, -1),
    ]
    wave = audio_file.load_audio(path)
    assert len(wave) / RATE == pytest.approx(2, abs=0.25)
    change = frames[25].time
    assert pitch(wave, 0.2, 0.8) == pytest.approx(300, abs=10)
    assert pitch(wave, change + 0.2, change + 0.8) == pytest.approx(700, abs=10)
    # The sound that is copied beside the result is on the clock of the frames, too.
    with video_writer.VideoWriter(tmp_path / "b.mp4", 96, 64, 25, audio=path) as writer:
        for frame in frames:
            writer.write(frame.image, frame.time, frame.duration)
    copied = audio_file.load_audio(tmp_path / "b.mp4")
    assert len(copied) / RATE == pytest.approx(len(wave) / RATE, abs=0.05)
    assert pitch(copied, change + 0.2, change + 0.8) == pytest.approx(700, abs=10)


def test_sound_files_that_were_joined(tmp_path):
    for i, hertz in enumerate((300, 700)):
        with av.open(str(tmp_path / f"{i}.opus"), "w") as container:
            stream = container.add_stream("libopus", rate=48000, layout="mono")
            wave = np.repeat(tone(1, hertz), 3)[None]
            for at in range(0, 48000, 960):
                frame = av.AudioFrame.from_ndarray(wave[:, at : at + 960].copy(), "flt", "mono")
                frame.sample_rate, frame.pts, frame.time_base = 48000, at, Fraction(1, 48000)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    wave = audio_file.load_audio(joined(tmp_path / "a.opus", tmp_path / "0.opus", tmp_path / "1.opus"))
    assert len(wave) / RATE == pytest.approx(2, abs=0.05)
    assert pitch(wave, 0.2, 0.8) == pytest.approx(300, abs=10) and pitch(wave, 1.2, 1.8) == pytest.approx(700, abs=10)


def test_a_pause_in_one_stream_is_no_jump():
    """Only what all streams do together is mended."""

    def packets(times):
        return [(Fraction(t), Fraction(t), Fraction(t) + 1, 2 * i) for i, t in enumerate(times)]

    steady = packets([0, 1, 2, 3, 10, 11])
    late = [(a, b, c, d + 1) for a, b, c, d in packets([0, 1, 2, 3, 4, 5])]
    streams = {0: steady, 1: late}
    assert clock._common({index: clock._jumps(found) for index, found in streams.items()}, streams) == {}
    streams = {0: steady, 1: [(a, b, c, d + 1) for a, b, c, d in steady]}
    found = clock._common({index: clock._jumps(found) for index, found in streams.items()}, streams)
    assert found == {0: [4], 1: [4]}


@pytest.mark.parametrize("cut", [7, 13])
def test_a_cut_without_coding_again(tmp_path, cut):
    """An edit list begins amid a group of pictures: the keyframe before it is decoded, and not shown."""
    recording(tmp_path / "a.mp4", gop=10)
    with (
        av.open(str(tmp_path / "a.mp4")) as source,
        av.open(str(tmp_path / "b.mp4"), "w", options={"avoid_negative_ts": "disabled"}) as container,
    ):
        stream = source.streams.video[0]
        copy = container.add_stream_from_template(stream)
        shift = round(Fraction(cut, 25) / stream.time_base)
        for packet in source.demux(stream):
            if packet.dts is None or packet.pts + 10 * shift // cut * (cut % 10) < shift:
                continue  # before the last keyframe
            packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, copy
            container.mux(packet)
    frames = list(video_reader.read_frames(tmp_path / "b.mp4"))
    assert [number(f.image) for f in frames] == list(range(cut, 25))
    assert [f.time for f in frames] == pytest.approx(np.arange(25 - cut) / 25, abs=0.001)


def test_damage_in_the_middle(tmp_path):
    """What is whole before and after it is used."""
    data = bytearray(recording(tmp_path / "a.ts", frames=60, gop=10, grain=8).read_bytes())
    of_picture = [at for at in range(0, len(data), 188) if data[at + 1] & 0x1F == 1 and data[at + 2] == 0]
    for at in of_picture[len(of_picture) * 2 // 5 :][:6]:
        data[at + 40 : at + 180] = bytes((i * 37) % 251 for i in range(140))
    (tmp_path / "b.ts").write_bytes(data)
    with pytest.raises(UserError, match=r"b\.ts: its picture breaks at"):
        list(video_reader.read_frames(tmp_path / "b.ts"))
    damage = []
    frames = list(video_reader.read_frames(tmp_path / "b.ts", damage=damage))
    seen = [number(f.image) for f in frames]
    assert 40 <= len(seen) < 60 and set(range(10)) | set(range(50, 60)) <= set(seen)
    (begin, end), *others = damage
    gap = int(np.argmax(np.diff(seen)))
    assert not others and frames[gap].time < begin < end == pytest.approx(frames[gap + 1].time)
    line = video_reader.damaged(tmp_path / "b.ts", damage)
    assert "b.ts" in line and f"from {begin:.2f} to {end:.2f} s" in line and "\n" not in line


def test_hdr_becomes_sdr(tmp_path):
    """10-bit HLG as phones record it, of BT.2020's colours."""
    image = np.zeros((64, 96, 3), np.uint8)
    for i, colour in enumerate([(60, 90, 160), (200, 120, 40), (128, 128, 128), (40, 160, 60)]):
        image[:, 24 * i : 24 * i + 24] = colour
    frame = av.VideoFrame.from_ndarray(image, "bgr24")
    to_hlg = converter.Filter(
        (
            "scale",
            "out_transfer=arib-std-b67:out_primaries=bt2020:out_color_matrix=bt2020nc:intent=relative_colorimetric",
        ),
        ("format", "yuv420p10le"),
    )
    frame.time_base, frame.pts = Fraction(1, 25), 0
    frame.color_trc, frame.color_primaries = 1, 1
    hlg = next(iter(to_hlg(frame)))
    flat = hlg.to_ndarray(format="bgr24")  # as one who does not look at the transfer sees it
    found = converter.Converter()(hlg)
    middles = np.arange(12, 96, 24)
    assert np.abs(found[32, middles].astype(int) - image[32, middles]).mean() <= 5
    assert np.abs(flat[32, middles].astype(int) - image[32, middles]).max() > 20


def test_interlaced_frames_are_made_whole(tmp_path):
    """A bar that moves between two fields has no comb."""
    with av.open(str(tmp_path / "a.mpg"), "w") as container:
        options = {"flags": "+ildct+ilme", "qscale": "2"}
        stream = container.add_stream("mpeg2video", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for i in range(8):
            image = np.full((64, 96, 3), 30, np.uint8)
            image[::2, 10 + 8 * i : 26 + 8 * i] = 220
            image[1::2, 14 + 8 * i : 30 + 8 * i] = 220
            frame = av.VideoFrame.from_ndarray(image, "bgr24").reformat(format="yuv420p")
            frame.pts, frame.time_base = i, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with av.open(str(tmp_path / "a.mpg")) as container:
        raw = next(container.decode(video=0))
    assert raw.interlaced_frame
    frames = list(video_reader.read_frames(tmp_path / "a.mpg"))
    assert len(frames) == 8 and np.diff([f.time for f in frames]) == pytest.approx(0.04)

    def comb(picture):
        grey = picture[..., 1].astype(int)
        return np.abs(grey[2:-2:2] - (grey[1:-3:2] + grey[3:-1:2]) / 2).mean()

    assert comb(frames[3].image) < 0.3 * comb(raw.to_ndarray(format="bgr24"))


def growing(path):
    """A picture of 32x24, and then of 128x96, which the header does not say."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 24, "yuv420p"
        at = 0
        for size, frames in (((32, 24), 5), ((128, 96), 20)):
            encoder = av.CodecContext.create("libvpx", "w")
            encoder.width, encoder.height, encoder.pix_fmt = *size, "yuv420p"
            encoder.time_base, encoder.framerate = Fraction(1, 25), 25
            for i in [*range(frames), None]:
                frame = None
                if i is not None:
                    frame = av.VideoFrame.from_ndarray(picture(50 + i, *size), "bgr24").reformat(format="yuv420p")
                    frame.pts, frame.time_base = at + i, Fraction(1, 25)
                for packet in encoder.encode(frame):
                    packet.stream = stream
                    container.mux(packet)
            at += frames
    return path


def test_a_picture_that_grows(tmp_path):
    """As in a call: all frames come in the largest size, aspect kept."""
    growing(tmp_path / "a.webm")
    info = probe.probe(tmp_path / "a.webm")
    assert (info.width, info.height) == (128, 96)
    frames = list(video_reader.read_frames(tmp_path / "a.webm"))
    assert {f.image.shape for f in frames} == {(96, 128, 3)}
    assert [number(f.image) for f in frames] == [*range(50, 55), *range(50, 70)]
    assert {f.image.shape for f in video_reader.sample_frames(tmp_path / "a.webm", 4)} == {(96, 128, 3)}


def test_fitted_keeps_the_aspect():
    image = converter.fitted(np.full((40, 20, 3), 200, np.uint8), 80, 80)
    assert image.shape == (80, 80, 3)
    assert (image[:, 20:60] == 200).all() and not image[:, :20].any() and not image[:, 60:].any()


def test_alpha_of_vp9_lies_on_white(tmp_path):
    image = np.zeros((64, 96, 4), np.uint8)
    image[..., 3] = 255
    image[:, 48:] = 0
    with av.open(str(tmp_path / "a.webm"), "w") as container:
        stream = container.add_stream("libvpx-vp9", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuva420p"
        for i in range(3):
            frame = av.VideoFrame.from_ndarray(image, "bgra").reformat(format="yuva420p")
            frame.pts, frame.time_base = i, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    frames = list(video_reader.read_frames(tmp_path / "a.webm"))
    assert len(frames) == 3
    assert frames[1].image[:, :40].max() < 20 and frames[1].image[:, 56:].min() > 240


# What attackers send


@pytest.mark.parametrize("name", ["a.mp4", "a.wav", "a.ffconcat", "a.m3u8"])
def test_play_lists_read_no_other_file(tmp_path, name):
    recording(tmp_path / "secret.mp4")
    path = tmp_path / name
    for text in (
        b"ffconcat version 1.0\nfile secret.mp4\n",
        b"ffconcat version 1.0\n#\x01\nfile secret.mp4\n",
        b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:1,\nsecret.mp4\n#\x01\n#EXT-X-ENDLIST\n",
    ):
        path.write_bytes(text)
        for read in (probe.probe, audio_file.load_audio, lambda path: next(video_reader.read_frames(path))):
            with pytest.raises(UserError) as caught:
                read(path)
            assert name in str(caught.value) and "\n" not in str(caught.value)


def test_a_duration_that_lies(tmp_path):
    """Matroska's header says 11 days; all that reads the end goes by what is there."""
    path = recording(tmp_path / "a.mkv", frames=20)
    data = path.read_bytes()
    at = data.index(b"\x44\x89\x88") + 3
    path.write_bytes(data[:at] + struct.pack(">d", 1e9) + data[at + 8 :])
    assert probe.probe(path).duration == pytest.approx(0.8, abs=0.1)
    assert [number(f.image) for f in video_reader.read_frames_reversed(path)] == list(range(19, -1, -1))
    assert 1 <= len(list(video_reader.sample_frames(path, 8))) <= 20


def test_a_sound_that_claims_days(tmp_path, monkeypatch):
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=RATE, layout="mono")
        for start in (0, 36000 * RATE):
            frame = av.AudioFrame.from_ndarray(np.ones((1, 1600), np.int16), "s16", "mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE, start, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(UserError, match=r"a\.mkv: lasts longer than 4 hours"):
        audio_file.load_audio(tmp_path / "a.mkv")
    assert len(audio_file.load_audio(tmp_path / "a.mkv", max_seconds=2)) <= 2 * RATE


@pytest.mark.parametrize("side", [15_000, 60_000])  # Pillow warns of the first, and refuses the second
def test_a_small_file_that_is_a_large_picture(tmp_path, side):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 6, 0, 0, 0)
    path = tmp_path / "a.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        for read in (probe.probe, video_reader.read_image):
            with pytest.raises(UserError, match="more than the 134 million pixels"):
                read(path)
        assert not image_file.is_animated(path)
    assert not seen


def test_a_small_file_that_is_a_large_video(tmp_path, monkeypatch):
    """The first size is in the header, the second in a keyframe alone."""
    path = recording(tmp_path / "a.mp4", frames=5)
    monkeypatch.setattr(demux, "MOST_PIXELS", 5000)
    with pytest.raises(UserError, match="96x64 pixels, more than"):
        probe.probe(path)
    monkeypatch.setattr(demux, "MOST_PIXELS", 10000)
    with pytest.raises(UserError, match="its picture breaks at 0.20 s"):
        list(video_reader.read_frames(growing(tmp_path / "a.webm")))


def read_all(path):
    """What every command does with a face or a sound, as far as its file lets it."""

    def seen():
        return [frame.image for frame in itertools.islice(video_reader.read_frames(path, damage=[]), 12)]

    for read in (
        lambda: probe.probe(path),
        seen,
        lambda: list(video_reader.sample_frames(path, 3)),
        lambda: audio_file.load_audio(path),
    ):
        try:
            read()
        except UserError as error:
            assert path.name in str(error) and "\n" not in str(error)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.wav", "a.jpg", "a.png"])
def test_damaged_media_are_read_or_refused(tmp_path, name, capfd):
    path = tmp_path / name
    if path.suffix in (".jpg", ".png"):
        Image.fromarray(picture(42)).save(path)
    elif path.suffix == ".wav":
        audio_file.save_wav(path, tone(0.5, 440))
    else:
        recording(path, frames=12)
    whole, rng = path.read_bytes(), np.random.default_rng(3)
    for _ in range(12):
        path.write_bytes(whole)
        mutations.bytes_of(path, rng)
        read_all(path)
    assert capfd.readouterr() == ("", "")


# Pictures


def test_pictures_of_floats(tmp_path):
    Image.fromarray(np.tile(np.linspace(0, 1, 50, dtype="float32"), (40, 1))).save(tmp_path / "a.tif")
    found = video_reader.read_image(tmp_path / "a.tif")
    assert found.shape == (40, 50, 3) and found[0, 0, 0] == 0 and found[0, -1, 2] == 255


def test_colour_profiles(tmp_path):
    """A profile of other primaries changes what numbers mean; that of sRGB changes nothing."""
    image = Image.fromarray(np.full((40, 50, 3), (200, 60, 40), np.uint8))
    image.save(tmp_path / "plain.png")
    image.save(tmp_path / "srgb.png", icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    names = [
        (b"rXYZ", b"tmpX"),
        (b"gXYZ", b"rXYZ"),
        (b"tmpX", b"gXYZ"),
        ("sRGB".encode("utf-16-be"), "mine".encode("utf-16-be")),
    ]
    swapped = functools.reduce(lambda data, pair: data.replace(*pair), names, profile)
    image.save(tmp_path / "other.png", icc_profile=swapped)
    plain, srgb, other = (video_reader.read_image(tmp_path / f"{n}.png") for n in ("plain", "srgb", "other"))
    np.testing.assert_array_equal(plain, srgb)
    assert plain[0, 0].tolist() == [40, 60, 200]
    assert np.abs(other[0, 0].astype(int) - [40, 200, 60]).max() <= 3  # red and green change places


def test_avif_that_is_turned(tmp_path):
    """Its turn is in a box of its own, and not in EXIF."""
    exif = Image.Exif()
    exif[0x112] = 6
    Image.fromarray(np.repeat(np.uint8([[[255, 0, 0]], [[0, 0, 255]]]), 40, 0).repeat(100, 1)).save(
        tmp_path / "a.avif", exif=exif
    )
    found = video_reader.read_image(tmp_path / "a.avif").astype(int)
    assert found.shape == (100, 80, 3)
    assert found[50, 10, 0] > 200 > 60 > found[50, 10, 2] and found[50, 70, 2] > 200  # blue is left, red right


def test_heic_says_what_it_needs(tmp_path):
    path = tmp_path / "a.heic"
    path.write_bytes(
        struct.pack(">I", 24) + b"ftypheic" + bytes(4) + b"mif1heic" + struct.pack(">I", 8) + b"meta" + bytes(200)
    )
    with pytest.raises(UserError, match="damaged picture" if image_file.HEIC else "pip install pillow-heif"):
        probe.probe(path)


def test_channels_that_cancel(tmp_path, capsys):
    with av.open(str(tmp_path / "a.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=RATE, layout="stereo")
        samples = np.int16(tone(1, 440) * 30000)
        frame = av.AudioFrame.from_ndarray(np.stack([samples, -samples], 1).reshape(1, -1), "s16", "stereo")
        frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    wave = audio_file.load_audio(tmp_path / "a.wav")
    assert np.abs(wave).max() > 0.4 and pitch(wave, 0.1, 0.9) == pytest.approx(440, abs=5)
    assert capsys.readouterr().err.splitlines() == [
        f"{tmp_path / 'a.wav'}: its channels cancel each other, so that only channel 1 is heard"
    ]
