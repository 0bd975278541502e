"""The site: it builds without a warning, asks nothing of the network, and every page of it is reached and complete."""

import re
import subprocess
import sys

import pytest

import commands
import messages
from helpers.checks import ROOT

# What would be fetched when a page is opened; links that a reader follows are not.
FETCHED = re.compile(
    r"""<(?:script|img|iframe|source|video|audio|embed)\b[^>]*?\ssrc\s*=\s*["']?(?P<src>[^"'\s>]+)"""
    r"""|<link\b(?=[^>]*\brel=["']?(?:stylesheet|preload|icon|preconnect|dns-prefetch))[^>]*?"""
    r"""\shref\s*=\s*["']?(?P<href>[^"'\s>]+)"""
    r"""|@import\s+(?:url\()?["']?(?P<imported>[^"')\s]+)|url\(\s*["']?(?P<url>[^"')]+)""",
    re.IGNORECASE,
)


pytestmark = pytest.mark.timeout(900)  # the build takes half a minute, and much more on a machine that does other work


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built from nothing with warnings as errors."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-E", "-b", "html", "-d", out / "trees"]
    done = subprocess.run(
        [*command, ROOT / "docs", out / "html"], capture_output=True, text=True, check=False, timeout=800
    )
    assert done.returncode == 0, done.stderr[-6000:]
    return out / "html"


def pages_of(site):
    return {path.relative_to(site).as_posix(): path.read_text(encoding="utf-8") for path in site.rglob("*.html")}


def test_nothing_is_fetched_from_elsewhere(site):
    seen, wrong = 0, []
    for path in [*site.rglob("*.html"), *site.rglob("*.css")]:
        for found in FETCHED.finditer(path.read_text(encoding="utf-8")):
            address = next(filter(None, found.groups()))
            seen += 1
            if re.match(r"(https?:)?//", address):
                wrong.append(f"{path.name}: {address}")
    assert seen > 100 and not wrong, wrong


def test_an_address_elsewhere_would_be_seen():
    for text in (
        '<script async="async" src="https://cdn.example/mathjax.js"></script>',
        '<link rel="stylesheet" type="text/css" href="//fonts.example/a.css">',
        "@import url('https://fonts.example/b.css');",
        "src: url(https://fonts.example/c.woff2)",
    ):
        (found,) = FETCHED.finditer(text)
        address = next(filter(None, found.groups()))
        assert re.match(r"(https?:)?//", address), text


def test_every_page_is_in_the_table_of_contents(site):
    pages = pages_of(site)
    sources = {
        path.relative_to(ROOT / "docs").with_suffix(".html").as_posix() for path in (ROOT / "docs").rglob("*.md")
    }
    sources = {name for name in sources if not name.startswith("_")}
    assert sources <= set(pages), sources - set(pages)
    (tree,) = re.findall(r'<div class="sidebar-tree">.*?</div>', pages["index.html"], re.DOTALL)
    listed = {link.split("#")[0] for link in re.findall(r'href="([^"]+)"', tree)}
    assert sources - {"index.html"} <= listed, sources - listed


def test_pages_hold_what_directives_and_drawings_are_to_make(site):
    pages = pages_of(site)
    architecture = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert pages["architecture.html"].count('<svg class="flow"') == architecture.count("```mermaid") > 0
    shown = pages["reference/commands.html"]
    for name in commands.COMMANDS:
        for action in commands.parser_of(name)._actions:
            for flag in action.option_strings if commands.is_shown(action) else ():
                assert flag in shown, f"{name} {flag}"
    for name in ("LipSync", "TrainConfig", "PreprocessConfig", "EvalConfig"):
        assert f".{name}" in pages["reference/api.html"], name


def test_every_public_name_of_the_reference_has_a_docstring():
    """What stands in the reference is what has a docstring: a function without one would be missing silently."""
    code = (
        "import importlib, inspect, sys; wrong = []; left_out = sys.argv[1].split(', ')\n"
        "for module in sys.argv[2:]:\n"
        "    there = importlib.import_module(module)\n"
        "    assert there.__doc__, module\n"
        "    for name, one in vars(there).items():\n"
        "        if inspect.isfunction(one) or inspect.isclass(one):\n"
        "            ours = one.__module__ == module and not name.startswith('_') and name not in left_out\n"
        "            if ours and not (one.__doc__ or '').strip():\n"
        "                wrong.append(module + '.' + name)\n"
        "print(*wrong); sys.exit(bool(wrong))\n"
    )
    page = (ROOT / "docs" / "reference" / "inside.md").read_text(encoding="utf-8")
    named = re.findall(r"automodule:: (\S+)", page)
    left_out = ", ".join(re.findall(r":exclude-members: (.+)", page))
    assert len(named) > 10
    done = subprocess.run(
        [sys.executable, "-c", code, left_out, *named], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_trouble_quotes_messages_that_there_are():
    """Each line that the page explains is one that the code can say, whatever stands for its names and numbers."""
    page = (ROOT / "docs" / "howto" / "trouble.md").read_text(encoding="utf-8")
    quoted = re.findall(r"(?m)^`(.+)`\n:", page)
    known = [re.compile(".*".join(map(re.escape, text.split("...")))) for text in messages.messages()]
    assert len(quoted) > 40
    assert not [text for text in quoted if not any(one.fullmatch(text) for one in known)]
    assert not any(one.fullmatch("photo.jpg: is too beautiful; give another picture of a face") for one in known)


def test_all_messages_are_listed():
    """Every wing and module that refuses something is named on the page of all messages."""
    page = (ROOT / "docs" / "reference" / "messages.md").read_text(encoding="utf-8")
    rooms = " ".join(re.findall(r"\{messages\} (.+)", page)).split()
    listed = {text for room in rooms for text in messages.messages(room)}
    assert not set(messages.messages()) - listed
