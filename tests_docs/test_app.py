"""The page of app.py in a real browser, with the real generator: what a visitor does, and what goes wrong."""

import contextlib
import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import cv2
import numpy as np
import pytest

from helpers.checks import ROOT, assert_one_line

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER), reason="chromium and chromedriver are not installed: apt-get install chromium-driver"
    ),
    pytest.mark.skipif(
        importlib.util.find_spec("gradio") is None,
        reason="gradio is not installed: pip install -r requirements-app.txt",
    ),
]

from lipgan_keras.config import SAMPLE_RATE  # noqa: E402 - after what may skip this file
from lipgan_keras.face.photos import shipped_photos  # noqa: E402
from lipgan_keras.media import audio_file, probe, video_reader  # noqa: E402
from lipgan_keras.puppets import speech  # noqa: E402

FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    "--mute-audio", "--window-size=1280,1000", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
    "--disable-renderer-backgrounding", "--disable-background-timer-throttling",
]  # fmt: skip
LIMITS = ["--seconds", "60", "--megabytes", "3", "--megapixels", "7", "--live_seconds", "120"]
PATIENCE = 120  # seconds; machines that run tests are busy


def until(condition, seconds=PATIENCE, seen=str):
    """Wait for it; `seen` says what there is instead."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"nothing came of it; {seen()}"
        time.sleep(0.1)
    return value


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A folder with what visitors give."""
    folder = tmp_path_factory.mktemp("given")
    photos = {name: cv2.imread(str(path)) for name, path in shipped_photos().items()}
    shutil.copy(shipped_photos()["grace_hopper"], folder / "portrait.jpg")
    side = 512
    pair = [cv2.resize(photos[name][:side, :side], (side, side)) for name in ("astronaut", "grace_hopper")]
    cv2.imwrite(str(folder / "pair.jpg"), np.concatenate(pair, axis=1))
    cv2.imwrite(str(folder / "nobody.png"), np.full((300, 300, 3), 127, np.uint8))
    cv2.imwrite(str(folder / "huge.png"), np.zeros((2800, 2800, 3), np.uint8))
    (folder / "notes.png").write_text("This is a text. " * 20)
    (folder / "large.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(4_000_000))
    wave, _, _ = speech.synthesise_speech(50, np.random.default_rng(5))
    audio_file.save_wav(folder / "long.wav", wave)
    audio_file.save_wav(folder / "speech.wav", wave[: 2 * SAMPLE_RATE])
    audio_file.save_wav(folder / "hour.wav", np.tile(wave[: 16 * SAMPLE_RATE], 5)[: 80 * SAMPLE_RATE])
    return folder


@contextlib.contextmanager
def serving(folder, *flags):
    """The command, on a free port: its process and address. Its files are below `folder`."""
    command = [sys.executable, str(ROOT / "app.py"), "--port", "0", *flags]
    cache = folder.parent / "cache"  # the user's is neither read nor filled
    environment = os.environ | {"TMPDIR": str(folder), "PYTHONUNBUFFERED": "1", "XDG_CACHE_HOME": str(cache)}
    with open(folder / "log.txt", "w") as log:
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
    try:
        said = until(lambda: re.search(r"http://[\d.:]+/", (folder / "log.txt").read_text()) or process.poll())
        assert isinstance(said, re.Match), (folder / "log.txt").read_text()
        yield process, said[0]
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    with serving(folder, *LIMITS) as (_, address):
        yield address, folder
    assert "Traceback" not in (folder / "log.txt").read_text(), (folder / "log.txt").read_text()


def files_of_visitors(folder):
    """What there is but for the examples."""
    return [p for p in folder.glob("lipgan_page_*/**/*") if p.is_file() and p.parent.name != "examples"
            and p.name != ".lock"]  # fmt: skip


class Browser:
    """One visitor."""

    def __init__(self, folder, address, *flags):
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for flag in [*FLAGS, *flags, f"--user-data-dir={folder / 'profile'}"]:
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=DRIVER))
        self.address = address

    def open(self, path=""):
        self.driver.get(self.address + path)
        until(lambda: self.is_there("#picture input[type=file]") if not path else self.is_there("#go"))
        return self

    def script(self, code, *arguments):
        return self.driver.execute_script(f"return {code}", *arguments)

    def is_there(self, selector):
        return self.script("document.querySelector(arguments[0]) !== null", selector)

    def text(self, selector):
        return self.script("document.querySelector(arguments[0])?.innerText ?? ''", selector)

    def is_visible(self, selector):
        return self.script("document.querySelector(arguments[0])?.checkVisibility()", selector)

    def click(self, selector):
        until(lambda: self.is_visible(selector))
        self.script("document.querySelector(arguments[0]).click()", selector)

    def give(self, part, path):
        until(lambda: self.is_there(f"#{part} input[type=file]"))
        self.driver.find_element("css selector", f"#{part} input[type=file]").send_keys(str(path))

    def status(self, *words):
        """Wait until the page says one of these."""
        return until(lambda: next((w for w in words if w in self.text("#status")), None))

    def agree(self):
        self.click("#agreed input")

    def plays(self):
        until(
            lambda: self.script("(v => v && v.readyState > 1 && v.videoWidth)(document.querySelector('#result video'))")
        )
        return self.script("document.querySelector('#result video').duration")

    def result(self):
        """The path of the result in the server's folder, from its address."""
        return self.script("document.querySelector('#result video').currentSrc").split("file=")[1]

    def is_as_wide_as_its_window(self):
        return self.script("document.documentElement.scrollWidth <= innerWidth")

    def requests(self):
        """Addresses that its pages asked for since the last call."""
        messages = (json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance"))
        asked = (m["params"] for m in messages if m["method"] == "Network.requestWillBeSent")
        # The browser's own first page is none of ours.
        return [p["request"]["url"] for p in asked if not p.get("documentURL", "").startswith("chrome")]


@pytest.fixture
def browsers(server, tmp_path):
    """A function that starts one more browser."""
    started = []

    def start(*flags):
        folder = tmp_path / str(len(started))
        folder.mkdir()
        started.append(Browser(folder, server[0], *flags))
        return started[-1]

    yield start
    for one in started:
        one.driver.quit()


def test_a_video_is_made_and_nothing_is_asked_of_anybody_else(server, given, browsers):
    visitor = browsers().open()
    visitor.give("picture", given / "portrait.jpg")
    until(lambda: "One face found" in visitor.text("#face-note"))
    visitor.give("voice", given / "speech.wav")
    visitor.click("#make")
    visitor.status("Tick “")  # or "a voice", while that is still on its way
    visitor.agree()
    until(lambda: visitor.is_there("#voice #waveform, #voice .waveform-container"))
    visitor.click("#try")
    visitor.status("One frame, at the loudest moment")
    until(lambda: visitor.script("document.querySelector('#tried img')?.naturalWidth > 100"))
    visitor.click("#make")
    visitor.status("2.0 seconds of video")
    assert visitor.plays() == pytest.approx(2, abs=0.05)
    assert visitor.script("document.querySelector('#source-picture img').naturalWidth > 100")
    assert visitor.script("document.querySelector('#download, #download a') !== null")
    path = visitor.result()
    assert probe.probe(path).has_audio and path.endswith("portrait_speech.mp4")
    assert b"Synthetic video" in open(path, "rb").read()
    frames = [frame.image.astype(int) for frame in video_reader.read_frames(path)]
    assert max(np.abs(frame - frames[0]).max() for frame in frames) > 30  # it speaks
    visitor.open("live")
    asked = visitor.requests()
    elsewhere = [url for url in asked if not url.startswith((server[0], "data:", "blob:"))]
    assert len(asked) > 20 and not elsewhere
    errors = [entry["message"] for entry in visitor.driver.get_log("browser") if entry["level"] == "SEVERE"]
    assert not errors


def test_the_face_that_is_clicked_speaks(given, browsers):
    visitor = browsers().open()
    visitor.give("picture", given / "pair.jpg")
    until(lambda: "Face 2" in visitor.text("#who"))
    until(lambda: visitor.script("document.querySelector('#boxed img')?.naturalWidth === 960"))

    def chosen():
        return visitor.script("document.querySelector('#who input:checked').parentElement.innerText.trim()")

    for face, x in (("Face 1", 0.22), ("Face 2", 0.75), ("Face 1", 0.22)):
        image = visitor.driver.find_element("css selector", "#boxed img")
        visitor.script("arguments[0].scrollIntoView({block: 'center'})", image)
        shown = visitor.script(  # without the margins of object-fit
            "(i => { const r = i.getBoundingClientRect();"
            " const s = Math.min(r.width / i.naturalWidth, r.height / i.naturalHeight);"
            " return [i.naturalWidth * s, i.naturalHeight * s]; })(arguments[0])", image,
        )  # fmt: skip
        move = webdriver.ActionChains(visitor.driver)
        move.move_to_element_with_offset(image, round((x - 0.5) * shown[0]), round(-0.2 * shown[1])).click().perform()
        until(lambda face=face: chosen() == face, 20)
    visitor.give("voice", given / "speech.wav")
    visitor.agree()
    until(lambda: visitor.is_there("#voice #waveform, #voice .waveform-container"))
    visitor.click("#make")
    visitor.status("2.0 seconds of video")
    frames = [frame.image.astype(int) for frame in video_reader.read_frames(visitor.result())]
    moved = np.max([np.abs(frame - frames[0]) for frame in frames], axis=0).max(axis=(0, 2))
    assert moved[:512].max() > 40 > moved[600:].max()


def test_a_stop_keeps_what_is_made(given, browsers):
    visitor = browsers().open()
    visitor.give("picture", given / "portrait.jpg")
    visitor.give("voice", given / "long.wav")
    visitor.agree()
    until(lambda: visitor.is_there("#voice #waveform, #voice .waveform-container"))
    assert not visitor.is_visible("#stop")
    visitor.click("#make")
    until(lambda: re.search(r"Frame \d\d+ of 1250 · about \d+ (s|min) left", visitor.text("#status")))
    visitor.click("#stop")
    visitor.status("It was stopped, and ends there.")
    assert 0.3 < visitor.plays() < 45
    info = probe.probe(visitor.result())
    assert len(audio_file.load_audio(visitor.result())) / SAMPLE_RATE == pytest.approx(info.duration, abs=0.1)
    assert not visitor.script("document.querySelector('#make').disabled")
    assert not visitor.is_visible("#stop")


def test_what_cannot_be_used_is_said(given, browsers):
    visitor = browsers().open()
    visitor.click("#make")
    visitor.status("Give a face and a voice first")
    for name, words in (
        ("notes.png", "notes.png: is a text file; name a picture or a video file."),
        ("huge.png", "huge.png: has 2800x2800 pixels, 8 million, and 7 million are the most here"),
        ("nobody.png", "nobody.png: no face found"),
    ):
        visitor.give("picture", given / name)
        until(lambda words=words: words in visitor.text("#face-note"))
        visitor.open()
    visitor.give("picture", given / "large.png")
    until(lambda: "maximum allowed size" in visitor.text("body") or "larger than" in visitor.text("body"))
    visitor.give("voice", given / "hour.wav")
    until(lambda: "hour.wav: lasts 80 seconds, and 60 are the most here" in visitor.text("#voice-note"))


def test_camera_and_microphone(given, browsers):
    """The browser's own test camera shows no face, which tells that its picture and its video came."""
    visitor = browsers(f"--use-file-for-fake-audio-capture={given / 'long.wav'}").open()

    def press(part, pattern):
        """A button by its label, its text or its class."""
        find = (
            "[...document.querySelectorAll(arguments[0] + ' button')].find("
            "(b) => b.offsetParent && RegExp(arguments[1], 'i').test([b.ariaLabel, b.innerText, b.className].join()))"
        )
        until(
            lambda: visitor.script(f"{find} !== undefined", part, pattern), seen=lambda: (pattern, visitor.text(part))
        )
        visitor.script(f"{find}.click()", part, pattern)

    def camera(part):
        """Turn it on, and wait for its picture: the button is there before."""
        press(part, "capture from camera")
        press(part, "access webcam")
        until(lambda: visitor.script("document.querySelector(arguments[0] + ' video')?.videoWidth > 0", part))
        time.sleep(1)

    camera("#picture")
    press("#picture", "capture photo")
    until(lambda: "no face found" in visitor.text("#face-note"))
    visitor.script("[...document.querySelectorAll('button[role=tab]')].find((b) => b.innerText === 'Video').click()")
    camera("#clip")
    press("#clip", "capture-button")
    time.sleep(3)
    press("#clip", "capture-button")
    until(lambda: ".webm: no face found" in visitor.text("#face-note"), seen=lambda: visitor.text("body"))
    visitor.open()
    visitor.give("picture", given / "portrait.jpg")
    press("#voice", "record audio")
    press("#voice", "record-button")
    time.sleep(3)
    press("#voice", "stop-button")
    until(lambda: visitor.is_there("#voice #waveform, #voice .waveform-container"))
    visitor.agree()
    visitor.click("#make")
    visitor.status("seconds of video")
    assert 1 < visitor.plays() < 20
    assert np.abs(audio_file.load_audio(visitor.result())).max() > 0.05


def test_a_file_of_500_mb_is_refused_before_it_is_sent(server):
    request = urllib.request.Request(
        f"{server[0]}gradio_api/upload",
        b"--b--",
        {"Content-Length": "500000000", "Content-Type": "multipart/form-data"},
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=30)
    assert refused.value.code == 413 and b"larger than" in refused.value.read()


@pytest.mark.parametrize("path", ["file=http://example.com/a", "proxy=https://a.hf.space/", "file=/etc/passwd"])
def test_the_server_reads_nothing_else(server, path):
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{server[0]}gradio_api/{path}", timeout=30)
    assert refused.value.code in (403, 404)


def test_two_visitors_and_a_tab_that_is_closed_amid_a_run(server, given, browsers):
    """The second one waits and sees so. When the first one's tab is closed, the work ends and the files go."""
    first, second = browsers(), browsers()
    first.open()
    first.give("picture", given / "portrait.jpg")
    first.give("voice", given / "long.wav")
    first.agree()
    until(lambda: first.is_there("#voice #waveform, #voice .waveform-container"))
    first.click("#make")
    first.status("Frame ")
    second.open().click("#example-astronaut")
    second.status("You are number 1 in the line: one run goes before yours")
    first.driver.close()
    second.status("4.0 seconds of video")
    assert second.plays() == pytest.approx(4, abs=0.05)
    second.driver.get("about:blank")
    until(lambda: not files_of_visitors(server[1]))


def test_a_phone(browsers):
    visitor = browsers()
    metrics = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    visitor.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    visitor.open()
    assert visitor.script("innerWidth") == 390 and visitor.is_as_wide_as_its_window()
    visitor.click("#example-grace_hopper")
    visitor.status("4.0 seconds of video")
    visitor.plays()
    visitor.click("#options button")
    time.sleep(0.5)
    assert visitor.script("innerWidth") == 390 and visitor.is_as_wide_as_its_window()
    visitor.open("live")
    assert visitor.script("innerWidth") == 390 and visitor.is_as_wide_as_its_window()


def test_live(server, given, browsers):
    """The photo moves as the microphone hears speech; a second visitor is told to wait."""
    visitor = browsers(f"--use-file-for-fake-audio-capture={given / 'long.wav'}").open("live")
    visitor.driver.find_element("id", "file").send_keys(str(given / "portrait.jpg"))
    visitor.click("#go")
    assert "agreed" in visitor.text("#said")
    visitor.click("#agreed")
    visitor.click("#go")
    until(lambda: visitor.script("live.frames") > 30)
    pictures = []
    for _ in range(6):
        pictures.append(visitor.script("document.querySelector('#shown').toDataURL('image/png')"))
        seen = visitor.script("live.frames")
        until(lambda seen=seen: visitor.script("live.frames") > seen + 3)
    assert len(set(pictures)) > 3
    assert visitor.text("#said") == "Speak!"
    other = browsers().open("live")
    other.click("#go")
    until(lambda: "Somebody else is speaking just now" in other.text("#said"))
    visitor.click("#go")
    until(lambda: visitor.text("#go") == "Start")

    def speaks():
        """The other one asks again until the first one's line is put away."""
        if other.text("#go") == "Start":
            other.click("#go")
        return other.script("live.frames") > 3

    until(speaks, seen=lambda: other.text("#said"))
    other.driver.get("about:blank")
    until(lambda: not files_of_visitors(server[1]))


def test_a_page_of_another_site_gets_no_line(server):
    """Browsers let any site's page open a socket to any address, and say whose page it is."""
    websockets = pytest.importorskip("websockets.sync.client")
    address = server[0].replace("http", "ws") + "live/socket"
    with pytest.raises(Exception, match="403"):
        websockets.connect(address, origin="http://elsewhere.example")
    with websockets.connect(address) as line:
        line.send("this is not what the page sends")
        assert "do not understand" in json.loads(line.recv(timeout=30))["end"]


def test_a_port_in_use_and_an_end(tmp_path):
    """A port in use is said at once. Ctrl-C leaves no file."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [sys.executable, str(ROOT / "app.py"), "--port", str(port)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert_one_line(done, f"app.py: error: --port {port}: is in use, perhaps by another page; give another one")
    with serving(tmp_path) as (process, address):
        assert list(tmp_path.glob("lipgan_page_*"))
        assert b"Make a face speak" in urllib.request.urlopen(address, timeout=30).read()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert not list(tmp_path.glob("lipgan_page_*"))
    assert "Traceback" not in (tmp_path / "log.txt").read_text()
