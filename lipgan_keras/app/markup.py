"""Pieces of HTML that the page shows. What comes from outside is escaped."""

import html

from .desk import Job
from .limits import Limits

CONSENT = "The people whose face and voice these are have agreed, or they are mine"
LABEL = "Write SYNTHETIC on the picture (the file's metadata say it in any case)"


def header(live: bool) -> str:
    """The top of the page."""
    link = '<a class="lg-link" href="live">Speak live with your microphone →</a>' if live else ""
    return (
        '<header class="lg-header"><div><h1>Make a face speak</h1><p>Give a face and a voice, and get a video of the '
        f"face saying it.</p></div>{link}</header>"
    )


def step(number: int, title: str, text: str) -> str:
    """The title of a part."""
    return f'<div class="lg-step"><span>{number}</span><div><h2>{title}</h2><p>{text}</p></div></div>'


def said(text: str, kind: str = "note") -> str:
    """A sentence in a box; `kind` is "note", "done" or "error"."""
    role = "alert" if kind == "error" else "status"
    return f'<div class="lg-said lg-{kind}" role="{role}">{html.escape(text)}</div>'


def progress(job: Job, place: int) -> str:
    """How far a job is, or how many go before it."""
    if place:
        before = "one run goes" if place == 1 else f"{place} runs go"
        return said(f"You are number {place} in the line: {before} before yours. It begins by itself.")
    if not job.total:
        return _bar(0.0, "Looking for the face and listening to the voice …")
    left = job.left
    time = "" if left is None else f" · {_duration(left)} left"
    return _bar(job.done / job.total, f"Frame {job.done} of {job.total}{time}")


def footer(limits: Limits) -> str:
    """What is kept, and the limits."""
    return (
        f'<footer class="lg-footer"><p>Files: up to {limits.megabytes:g} MB and {limits.megapixels:g} megapixels; '
        f"sound: up to {limits.seconds:g} seconds. Your files and results are deleted when you close or reload this "
        "tab, and nobody else is given them. Videos made here say in their metadata that they are synthetic. Say so "
        "too where you show them.</p></footer>"
    )


def _bar(part, text):
    percent = round(100 * min(1.0, part))
    return (
        f'<div class="lg-progress" role="status"><div class="lg-bar" role="progressbar" aria-valuemin="0" '
        f'aria-valuemax="100" aria-valuenow="{percent}"><i style="width:{percent}%"></i></div>'
        f"<p>{html.escape(text)}</p></div>"
    )


def _duration(seconds):
    if seconds < 1.5:
        return "about a second"
    return f"about {seconds:.0f} s" if seconds < 90 else f"about {seconds / 60:.0f} min"
