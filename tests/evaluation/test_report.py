import base64
import collections
import copy
import csv
import html.parser
import io
import itertools
import json
import re
import shutil
import time
import xml.etree.ElementTree as ET

import cv2
import numpy as np
import pytest

from helpers import synthetic
from helpers.checks import assert_one_line
from helpers.synthetic import call
from lipgan_keras.config import SAMPLE_RATE
from lipgan_keras.evaluation import judging_sheet, mean_opinion, report, report_clips, report_plots
from lipgan_keras.media import audio_file, probe, video_reader
from lipgan_keras.utils.errors import UserError

DARK, LIGHT = 40, 200  # of the generated frames and of the true ones, below the cells that number them
TONES = {"truth": 500, "generated": 2000}  # Hz
METRICS = {
    "lip_mae": {"title": "Lip MAE", "unit": "", "better": "lower", "range": [0, 1], "source": "sum(m |e|) / sum(m)"},
    "psnr": {"title": "PSNR", "unit": "dB", "better": "higher", "range": [0, None], "source": "a formula"},
    "fid": {"title": "FID", "unit": "", "better": "lower", "range": [0, None], "source": "Heusel et al. 2017"},
}


def numbered(side, rate):
    """The images of a video: their numbers count its frames."""

    def draw(i):
        image = synthetic.numbered_image(i)
        image[16:] = LIGHT if side == "truth" else DARK
        return image

    def make(path, seconds):
        sound = synthetic.beeps([(0, seconds)], seconds, tone=TONES[side])
        return synthetic.write(path, synthetic.steady(rate, seconds), seconds, draw, audio=(sound, synthetic.RATE))

    return make


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """(results, folder): four pairs, of 25 true and 50 generated frames a second, and one that failed."""
    folder = tmp_path_factory.mktemp("results")
    names = ["Ann/1", "Ann/2", "Bob <i>&", 'Bob, "4"']
    videos = []
    for i, name in enumerate(names):
        files = {"generated": f"{i}.mp4", "truth": str(folder / f"{i}_truth.mp4")}
        if i == 0:
            numbered("truth", 25)(folder / files["truth"], 1.6)
            numbered("generated", 50)(folder / files["generated"], 1.4)
        else:
            shutil.copy(folder / "0.mp4", folder / files["generated"])
            shutil.copy(folder / "0_truth.mp4", folder / files["truth"])
        error = [0.05, 0.09, 0.02, None][i]
        curves = {"lse_distances": [7 + 0.1 * abs(shift - 2) + i for shift in range(-15, 16)]}
        if error:
            curves["lip_error_by_shift"] = {"0": error, "10": 2 * error, "3": 1.5 * error}
            curves["lip_error_other_sound"] = 2 * error
        values = {"lip_mae": error, "psnr": 30.0 + i, "lip_share": 0.1 + 0.02 * i}
        videos.append(
            {
                "name": name,
                "status": "ok",
                "reason": None,
                "notes": ["shorter by <b>2</b> frames"] * (i == 1),
                "frames": 70,
                "faces": 70,
                "files": files,
                "values": values,
                "curves": curves,
                "worst_frame": 41 if i == 1 else None,
            }
        )
    failed = {
        "name": "<script>x</script>",
        "status": "failed",
        "reason": "no face & no sound",
        "notes": [],
        "files": {},
        "values": {},
    }
    summary = {
        "lip_mae": {"mean": 0.0533, "low": 0.02, "high": 0.09, "n": 3},
        "psnr": {"mean": 31.5, "low": 30, "high": float("nan"), "n": 4},
    }
    results = {
        "version": 1,
        "tool": "lipgan_keras 0",
        "mode": "generated",
        "name": "a <model>",
        "settings": {"identity": "frame <0>"},
        "metrics": METRICS,
        "videos": [*videos, failed],
        "summary": summary,
        "set": {"fid": 12.5},
        "missing": {"lse_d": "give --syncnet <file>"},
        "counts": {"pairs": 5, "ok": 4, "failed": 1, "noted": 1},
    }
    (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")
    return results, folder


@pytest.fixture(scope="module")
def page(measured, tmp_path_factory):
    out = tmp_path_factory.mktemp("page") / "report.html"
    report.write(*measured, out, cases=1, clip_seconds=0.6, clip_size=64)
    return out


class Parsed(html.parser.HTMLParser):
    """The texts of a page by tag, and the attributes of every tag."""

    def __init__(self, path):
        super().__init__()
        self.texts, self.tags, self._open = {}, [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "link", "img"):
            self._open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag):
        if tag in self._open:
            while self._open.pop() != tag:
                pass

    def handle_data(self, data):
        for tag in set(self._open):
            self.texts[tag][-1] += data


def svg(source):
    """The root element of a plot, given its address or what holds that."""
    return ET.fromstring(base64.b64decode(re.search(r"data:image/svg\+xml;base64,([^\"]*)", source)[1]))


def svgs(parsed):
    """(root element, attributes of the tag) of every plot of a page."""
    found = [a for t, a in parsed.tags if t == "img" and a["src"].startswith("data:image/svg")]
    return [(svg(attributes["src"]), attributes) for attributes in found]


def words(drawing):
    """The texts in a plot."""
    return ["".join(element.itertext()) for element in drawing.iter("{http://www.w3.org/2000/svg}text")]


def embedded(path, name):
    content = path.read_text(encoding="utf-8")
    return json.loads(re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', content, re.DOTALL)[1])


def unveiled(sheet):
    """{trial: [video, [name, system] of its first clip, of its second]}."""
    veil = sheet["id"].encode()
    return json.loads(bytes(b ^ veil[i % len(veil)] for i, b in enumerate(base64.b64decode(sheet["key"]))))


def tone(path):
    """Hz that is loudest."""
    wave = audio_file.load_audio(path)
    return float(np.fft.rfftfreq(len(wave), 1 / SAMPLE_RATE)[np.abs(np.fft.rfft(wave)).argmax()])


def test_page_holds_all_and_asks_for_nothing(page):
    parsed = Parsed(page)
    for tag, attributes in parsed.tags:
        for name in ("src", "href", "poster", "srcset", "action"):
            assert (attributes.get(name) or "#").startswith(("#", "data:")), (tag, attributes)
    assert not re.search(r"https?://|@import|url\(", page.read_text(encoding="utf-8"))
    assert "default-src 'none'" in next(a["content"] for t, a in parsed.tags if a.get("http-equiv"))


def test_table_failures_notes_and_plots(page):
    parsed = Parsed(page)
    rows = [re.sub(r"\s+", " ", row) for row in parsed.texts["tr"]]
    assert any(row.startswith("Lip MAE ↓0.05330.02 to 0.093") for row in rows), rows
    assert any(row.startswith("PSNR ↑31.5–4dB0 … ∞") for row in rows), rows  # the interval is not known
    assert any(row.startswith("FID ↓12.5of the whole set") for row in rows), rows
    assert "<script>x</script>no face & no sound" in rows and "Ann/2shorter by <b>2</b> frames" in rows
    assert "lse_d: give --syncnet <file>" in parsed.texts["li"]
    assert "1 of 5 videos could not be measured" in parsed.texts["strong"]
    assert "Identity: frame <0>" in parsed.texts["p"] and parsed.texts["h1"][0] == "a <model>"
    labels = [a["alt"] for _, a in svgs(parsed)]
    assert [label.split(":")[0] for label in labels] == [
        "Mean SyncNet distance by shift",
        "Lip error by shift of the sound",
        "Loss share of the lips",
        "Lip MAE ↓",
        "PSNR ↑",
    ]
    assert labels[0].endswith("smallest, 8.5, at 2") and "3 videos" in labels[3]
    ticks = words(svgs(parsed)[1][0])
    assert [tick for tick in ticks if tick in ("0", "3", "10", "another's")] == ["0", "3", "10", "another's"]


def test_worst_and_best_cases(page):
    parsed = Parsed(page)
    assert parsed.texts["h3"][-2:] == ["Worst by Lip MAE", "Best by Lip MAE"]
    assert parsed.texts["h4"] == ["Ann/2", "Bob <i>&"]


def test_still_of_the_worst_frame_beside_the_true_one_of_its_time(page):
    source = next(a["src"] for t, a in Parsed(page).tags if t == "img" and "image/jpeg" in a["src"])
    still = cv2.imdecode(np.frombuffer(base64.b64decode(source.split(",")[1]), np.uint8), cv2.IMREAD_COLOR)
    left, right = np.split(still, 2, axis=1)
    assert (synthetic.number(left), synthetic.number(right)) == (20, 41)  # 0.82 s, at 25 and at 50 frames a second
    assert left[64:].mean() > 150 and right[64:].mean() < 90


def test_case_clip_shows_both_at_the_worst_frame_with_the_sound_of_the_result(page, tmp_path):
    path = tmp_path / "case.mp4"
    path.write_bytes(base64.b64decode(embedded(page, "clips")["case0"]))
    info = probe.probe(path)
    assert (info.height, info.width) == (64, 128) and info.fps == report_clips.FASTEST
    assert info.duration == pytest.approx(0.6, abs=0.05)
    frames = list(video_reader.read_frames(path))
    middle = frames[len(frames) // 2]
    left, right = np.split(middle.image, 2, axis=1)
    assert abs(synthetic.number(right) - 41) <= 1 and abs(synthetic.number(left) - 20) <= 1
    assert left[32:].mean() > 150 and right[32:].mean() < 90
    assert tone(path) == pytest.approx(TONES["generated"], abs=20)


def test_sheet_clips_are_alike_but_for_what_they_show(page, tmp_path):
    sheet, clips = embedded(page, "sheet"), embedded(page, "clips")
    assert len(sheet["pairs"]) == 4 and len(set(sheet["pairs"])) == 4
    first = {}
    for pair in sheet["pairs"]:
        seen = {}
        for which in "01":
            path = tmp_path / f"{pair}{which}.mp4"
            path.write_bytes(base64.b64decode(clips[pair + which]))
            side = "truth" if next(video_reader.read_frames(path)).image[32:].mean() > 120 else "generated"
            seen[side] = probe.probe(path)
            first.setdefault(pair, side)
            assert tone(path) == pytest.approx(TONES[side], abs=20)
        assert seen["truth"] == seen["generated"]
    assert set(first.values()) == {"truth", "generated"}  # else the place in the page tells


@pytest.mark.parametrize("shown", [2, 3, 4, 6])
def test_each_two_meet_equally_often_and_on_both_sides(shown):
    pairings = list(itertools.combinations(range(shown), 2))
    for videos, number in itertools.product((1, 2, 5, 9, 10, 16, 17, 40), (1, 12, 20, 100)):
        trials = judging_sheet.design(videos, shown, number, np.random.default_rng(0))
        assert len(trials) == min(number, videos * len(pairings)) == len({(v, *sorted(two)) for v, *two in trials})
        assert len({v for v, *_ in trials[:videos]}) == min(videos, len(trials))  # each before any comes again
        met = collections.Counter(tuple(two) for _, *two in trials)
        each = [(met[one, other], met[other, one]) for one, other in pairings]
        assert max(map(sum, each)) - min(map(sum, each)) <= 1, (videos, number)
        assert all(abs(a - b) <= 1 for a, b in each)


@pytest.fixture(scope="module")
def other_system(measured, tmp_path_factory):
    """The results.json of another system on the same videos, but for the first."""
    results, folder = copy.deepcopy(measured[0]), measured[1]
    other = tmp_path_factory.mktemp("other")
    results["name"] = "another"
    results["videos"] = results["videos"][1:]
    for video in results["videos"]:
        if "generated" in video["files"]:
            shutil.copy(folder / video["files"]["generated"], other / video["files"]["generated"])
    (other / "results.json").write_text(json.dumps(results), encoding="utf-8")
    return other / "results.json"


def test_sheet_of_several_systems(measured, other_system, tmp_path, capfd):
    first, out = measured[1] / "results.json", tmp_path / "sheet.html"
    flags = ["--pairs", 12, "--clip_seconds", 0.4, "--clip_size", 32]
    result = call("lipgan_keras.judging", "sheet", first, other_system, "--out", out, *flags, capfd=capfd)
    assert result.returncode == 0, result.stderr
    assert f"{out}: 12 pairs of 4: truth, frozen, a <model>, another" in result.stdout
    key, clips = unveiled(embedded(out, "sheet")), embedded(out, "clips")
    kinds = collections.Counter(tuple(kind) for _, *two in key.values() for kind in two)
    # Each of the six pairings twice; the first video is not the other system's.
    expected = [("truth", ""), ("frozen", ""), ("generated", "a <model>"), ("generated", "another")]
    assert kinds == dict.fromkeys(expected, 6)
    assert {video for video, *_ in key.values()} == {"Ann/2", "Bob <i>&", 'Bob, "4"'}
    for token, (_, *two) in key.items():
        for place, (name, _) in enumerate(two):
            path = tmp_path / "clip.mp4"
            path.write_bytes(base64.b64decode(clips[f"{token}{place}"]))
            images = [frame.image for frame in video_reader.read_frames(path)]
            assert (images[0][20:].mean() > 120) == (name != "generated")
            moves = np.abs(images[0].astype(int) - images[-1]).max() > 60
            assert moves == (name != "frozen")
            # A frozen mouth says what the systems say: a truth that has another sound would tell it apart.
            assert tone(path) == pytest.approx(TONES["truth" if name == "truth" else "generated"], abs=20)


def test_sheets_of_systems_that_cannot_be_compared(measured, other_system, tmp_path, capfd):
    first, out = measured[1] / "results.json", tmp_path / "sheet.html"

    def refused(*arguments):
        return call("lipgan_keras.judging", "sheet", *arguments, "--out", out, capfd=capfd)

    assert_one_line(refused(first, first), first, "twice")
    assert_one_line(refused(first, first.parent / "." / first.name), first, "twice")
    assert_one_line(refused(first, "--beside"), first, "cannot be compared")
    results = json.loads(first.read_text())
    (tmp_path / "results.json").write_text(json.dumps(results | {"videos": results["videos"][:1], "name": "x"}))
    assert_one_line(refused(other_system, tmp_path / "results.json"), other_system, "same videos")
    (tmp_path / "results.json").write_text(json.dumps(results | {"mode": "filelist"}))
    assert_one_line(refused(tmp_path / "results.json"), "no truth", "--beside frozen")
    assert not out.exists()


def test_sheet_hides_names(measured, tmp_path):
    results, folder = measured
    report.write(results, folder, tmp_path / "sheet.html", pairs=3, clip_seconds=0.2, clip_size=32, sheet_only=True)
    content = (tmp_path / "sheet.html").read_text(encoding="utf-8")
    clips = re.search(r'id="clips">.*?</script>', content, re.DOTALL)[0]
    content = content.replace(clips, "")  # letters at random
    assert len(embedded(tmp_path / "sheet.html", "sheet")["pairs"]) == 3
    for word in ("Ann", "Bob", "truth", "generated", "model", "MAE", base64.b64encode(b"truth").decode()[:6]):
        assert word not in content, word


def test_names_that_are_no_text_and_marks_of_html(measured, tmp_path):
    """Whatever stands in the results, the page is written, and holds no tag of theirs."""
    results = copy.deepcopy(measured[0])
    results["name"] = results["videos"][0]["name"] = results["settings"]["flag"] = "</script><img src=x>\udcff"
    results["summary"]["psnr"]["n"] = "<img src=x>"
    report.write(results, measured[1], tmp_path / "x.html", cases=0, pairs=1, clip_seconds=0.1)
    page = (tmp_path / "x.html").read_text("utf-8")
    assert "<img src=x" not in page and page.count("</script>") == 3


def test_a_video_that_is_gone_is_said(measured, tmp_path):
    results, folder = copy.deepcopy(measured[0]), measured[1]
    results["videos"][1]["files"]["generated"] = "gone.mp4"
    results["videos"][0]["files"] = {}
    report.write(results, folder, tmp_path / "report.html", cases=1, clip_seconds=0.2, clip_size=32)
    content = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert f"No clip: {folder / 'gone.mp4'}: no such file" in content
    assert content.count("gone.mp4: no such file") == 2 and "Left out of the judging sheet" in content
    assert len(embedded(tmp_path / "report.html", "sheet")["pairs"]) == 2


def test_nothing_measured(measured, tmp_path):
    results = {"version": 1, "videos": measured[0]["videos"][-1:], "missing": {"psnr": "nothing to measure"}}
    report.write(results, tmp_path, tmp_path / "report.html")
    content = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Nothing could be measured" in content and "nothing to measure" in content and 'href="#judge"' not in content
    with pytest.raises(UserError, match="no pair to judge"):
        report.write(results, tmp_path, tmp_path / "sheet.html", sheet_only=True)


@pytest.mark.parametrize("values", [[1.0], [2.0, 2.0, 2.0], [1e6, 2e6], [-3e-9, 5e-9], [0.0]])
def test_histograms_of_any_values(values):
    counts, edges = report_plots.bins(values)
    assert counts.sum() == len(values) and edges[0] <= min(values) <= max(values) <= edges[-1]
    drawing = svg(report_plots._histogram("x", values, {"unit": "$\\frac</text>\x00", "better": None}))
    assert "$\\frac</text>\ufffd" in words(drawing) and "nan" not in ET.tostring(drawing, "unicode")


def test_plots_are_the_same_each_time():
    one, other = (report_plots._share([0.1, 0.2, 0.15]) for _ in range(2))
    assert one == other and "<dc:date>" not in ET.tostring(svg(one), "unicode")


@pytest.mark.parametrize(
    "content, words",
    [
        (None, "no such file"),
        ("{", "JSON"),
        ("[]", "not the results"),
        ('{"version": 2, "videos": []}', "version 2"),
        ('{"version": 1, "videos": [{}]}', "edited"),
        ('{"version": 1, "videos": [], "metrics": {"psnr": "<b>"}}', "edited"),
        ('{"version": 1, "videos": [{"name": "a", "status": "ok", "files": {"truth": 5}}]}', "edited"),
        ('{"version": 1, "videos": [{"name": "a", "status": "ok", "worst_frame": "<script>"}]}', "edited"),
        ('{"version": 1, "videos": [{"name": "a", "status": "ok", "curves": {"lse_distances": [1]}}]}', "edited"),
    ],
)
def test_bad_results_are_named(tmp_path, capfd, content, words):
    path = tmp_path / "results.json"
    if content is not None:
        path.write_text(content)
    assert_one_line(call("lipgan_keras.report", path, capfd=capfd), path, words)


def test_command_line(measured, tmp_path, capfd):
    _, folder = measured
    out = tmp_path / "deep" / "x.html"
    flags = ["--out", out, "--pairs", 0, "--cases", 0]
    result = call("lipgan_keras.report", folder / "results.json", *flags, capfd=capfd)
    assert result.returncode == 0 and str(out) in result.stdout and not embedded(out, "clips")
    assert_one_line(
        call("lipgan_keras.report", folder / "results.json", "--out", tmp_path / "x.txt", capfd=capfd), "x.txt", ".html"
    )


# ---------------------------------------------------------------------------------------------------------------------
# In a browser

CHROMIUM = shutil.which("chromium")
DRIVER = shutil.which("chromedriver")
FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    "--mute-audio", "--window-size=1280,900",
]  # fmt: skip


@pytest.fixture
def browser(tmp_path):
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    if not CHROMIUM or not DRIVER:
        pytest.skip("chromium and chromedriver are not installed; on Debian: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in [*FLAGS, f"--user-data-dir={tmp_path / 'profile'}"]:
        options.add_argument(flag)
    (tmp_path / "downloads").mkdir()
    options.add_experimental_option("prefs", {"download.default_directory": str(tmp_path / "downloads")})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=DRIVER))
    driver.set_page_load_timeout(60)
    yield driver
    driver.quit()


def until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "nothing came of it"
        time.sleep(0.05)
    return value


def test_judging_in_a_browser(page, browser, tmp_path):
    from selenium.webdriver import ActionChains, Keys

    def script(code):
        return browser.execute_script(f"return {code}")

    def press(*keys):
        ActionChains(browser, duration=0).send_keys(*keys).perform()

    def text():
        return script("document.querySelector('#judge').innerText")

    def click(label):
        script(
            f"[...document.querySelectorAll('#judge button')].find((b) => b.innerText === {json.dumps(label)}).click()"
        )

    def plays(side):
        return script(
            f"(v => !v.paused && v.currentTime > 0.02)(document.querySelector('.side[data-side={side}] video'))"
        )

    def lit():
        """Of the left and the right clip, as they are shown."""
        return script(
            "[...document.querySelectorAll('#judge video')].map((v) => { const c = document.createElement('canvas'); "
            "c.width = c.height = 8; const g = c.getContext('2d'); g.drawImage(v, 0, 0, 8, 8); "
            "return g.getImageData(4, 6, 1, 1).data[0]; })"
        )

    browser.get(page.as_uri())
    until(
        lambda: script("[...document.querySelectorAll('video')].every((v) => v.readyState > 1 && v.videoWidth === 128)")
    )
    assert script("document.querySelectorAll('video').length") == 2
    assert script("document.documentElement.scrollWidth <= innerWidth")
    # A case plays.
    script("(v => { v.muted = true; v.play(); })(document.querySelector('video'))")
    until(lambda: script("document.querySelector('video').currentTime > 0.1"))

    script("document.querySelector('a.button').click()")
    until(lambda: "Judge by hand" in text())
    assert not browser.find_element("id", "report").is_displayed()
    name = browser.find_element("name", "judge")
    name.send_keys('Eve, "E"', Keys.ENTER)
    until(lambda: "Pair 1 of 4" in text())
    until(lambda: plays("left"))
    press("5", "4", "3")
    until(lambda: plays("right"))
    assert not plays("left")
    press("1", Keys.ARROW_LEFT)  # and hear the left one again
    until(lambda: plays("left"))

    # The answers, the place and the order survive a reload.
    def placed():
        return script("[...document.querySelectorAll('#judge input:checked')].map((i) => i.name + i.value)")

    given = ["left sync5", "left quality4", "left overall3", "right sync1"]
    assert placed() == given
    stored = script("JSON.stringify(localStorage)")
    browser.refresh()
    until(lambda: "Pair 1 of 4" in text())
    assert placed() == given and script("JSON.stringify(localStorage)") == stored
    assert "Right clip. Quality" in text()

    press(Keys.BACKSPACE, "2", "9", "x", "3")  # sync 2 after all; other keys do nothing
    until(lambda: script("[...document.querySelectorAll('#judge video')].every((v) => v.readyState > 1)"))
    shown = [lit()]
    press("4", "5", "3")  # the two last are no choice between two
    assert "Both clips. Better" in text()
    press("2")
    marks = {(1, "left"): "543", (1, "right"): "234"}
    for position in (2, 3, 4):
        until(lambda: f"Pair {position} of 4" in text())  # noqa: B023
        until(lambda: script("[...document.querySelectorAll('#judge video')].every((v) => v.readyState > 1)"))
        shown.append(lit())
        marks |= {(position, "left"): f"1{position}5", (position, "right"): f"{position}21"}
        press(*marks[position, "left"], *marks[position, "right"], "1")
    until(lambda: "All pairs are judged" in text())
    click("Back")
    until(lambda: "Pair 4 of 4" in text())
    press(Keys.BACKSPACE, "5", "1")
    marks[4, "right"] = "425"
    until(lambda: "All pairs are judged" in text())
    click("Export answers as CSV")
    (path,) = until(lambda: list((tmp_path / "downloads").glob("*.csv")))

    # What was exported is what was shown and pressed, and the summary reads it.
    rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
    assert (
        len(rows) == 8
        and {row["judge"] for row in rows} == {'Eve, "E"'}
        and {row["system"] for row in rows} == {"a <model>"}
    )
    for row in rows:
        position, left = int(row["position"]), row["side"] == "left"
        assert row["sync"] + row["quality"] + row["overall"] == marks[position, row["side"]]
        assert row["preferred"] == str(int((row["side"] == "right") == (position == 1)))
        assert row["name"] == ("truth" if shown[position - 1][not left] > 120 else "generated"), shown
    assert {row["pair"] for row in rows} == {"Ann/1", "Ann/2", "Bob <i>&", 'Bob, "4"'}
    summary = mean_opinion.summarise(mean_opinion.read(path))
    assert summary["scores"]["truth"]["sync"]["n"] == summary["scores"]["generated"]["sync"]["n"] == 4
    assert summary["preferences"]["generated over truth"]["n"] == 4

    # Other judges see other orders, and the same clip on either side.
    drawn = script(
        "[...Array(40)].map((_, i) => { begin(`${i}`); const m = state(); "
        "return [m.order, SHEET.pairs.map((pair) => clipOf(m, pair, 'left'))]; })"
    )
    assert all(sorted(order) == sorted(drawn[0][0]) for order, _ in drawn)
    assert len({order[0] for order, _ in drawn}) > 1 and {left[0] for _, left in drawn} == {0, 1}
    # Half of the four true clips are on the left, for every judge.
    names = {token: [name for name, _ in key[1:]] for token, key in unveiled(embedded(page, "sheet")).items()}
    for _, left in drawn:
        on_left = [names[token][place] for token, place in zip(embedded(page, "sheet")["pairs"], left, strict=True)]
        assert sorted(on_left) == ["generated", "generated", "truth", "truth"]

    assert browser.get_log("browser") == []
    sent = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = {m["params"]["request"]["url"].split(":")[0] for m in sent if m["method"] == "Network.requestWillBeSent"}
    assert "file" in asked and not asked & {"http", "https", "ws", "wss"}, asked
