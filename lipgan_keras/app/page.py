"""The page: a face, a voice, options, and the result beside the source."""

import asyncio
import time
from pathlib import Path

import anyio.to_thread
import gradio as gr

from ..utils import files
from ..utils.errors import UserError
from . import faces, markup
from .components import Clip, Download, Picture, Voice
from .desk import Desk
from .limits import Limits
from .studio import Studio, Wishes
from .visitors import Visitor, Visitors
from .words import told

REGIONS = [("Mouth and chin", "jaw"), ("Mouth only", "mouth"), ("The original's rectangle", "face")]
POLL = 0.25  # seconds between two words about how far a job is
HURRY = 0.02  # seconds between two looks at whether it is over
MOST_PAD = 500  # pixels
TO_STATUS = "() => { document.querySelector('#status').scrollIntoView({block: 'center', behavior: 'smooth'}) }"
TO_RESULTS = "() => { document.querySelector('#results')?.scrollIntoView({block: 'nearest', behavior: 'smooth'}) }"
LOOKS_AT_ONCE = 2  # pictures in which faces are looked for at once


class Page:
    """Builds the page, and answers what is done on it.

    Args:
        studio: makes the videos.
        desk: does one at a time.
        visitors: who is there.
        limits: what they may give.
    """

    def __init__(self, studio: Studio, desk: Desk, visitors: Visitors, limits: Limits):
        self.studio, self.desk, self.visitors, self.limits = studio, desk, visitors, limits

    def build(self) -> gr.Blocks:
        """The page for `gr.mount_gradio_app`."""
        with gr.Blocks(title="Make a face speak", analytics_enabled=False) as blocks:
            gr.HTML(markup.header(self.limits.live > 0))
            self._build_examples()
            with gr.Row(elem_classes="lg-inputs"):
                with gr.Column(min_width=300, elem_classes="lg-card"):
                    self._build_face()
                with gr.Column(min_width=300, elem_classes="lg-card"):
                    self._build_voice()
            self._build_options()
            self._build_buttons()
            self._build_result()
            gr.HTML(markup.footer(self.limits))
            self._connect()
            blocks.unload(self.gone)
        return blocks

    def _build_examples(self):
        self.example_buttons = {}
        if self.studio.examples:
            with gr.Row(elem_classes="lg-examples"):
                gr.HTML('<p class="lg-try">Try an example, with a made-up voice:</p>')
                for name, (title, photo) in self.studio.examples.items():
                    self.example_buttons[name] = gr.Button(
                        title, icon=str(photo), size="sm", elem_id=f"example-{name}", scale=0, min_width=190
                    )

    def _build_face(self):
        gr.HTML(markup.step(1, "A face", "A photo, a video, or your camera."))
        with gr.Tabs():
            with gr.Tab("Picture"):
                self.picture = Picture(
                    sources=["upload", "webcam", "clipboard"], type="filepath", label="Picture", show_label=False,
                    height=280, elem_id="picture", buttons=[],
                )  # fmt: skip
            with gr.Tab("Video"):
                self.clip = Clip(
                    sources=["upload", "webcam"],
                    label="Video",
                    show_label=False,
                    height=280,
                    elem_id="clip",
                    buttons=[],
                )
        self.face_note = gr.HTML(visible=False, elem_id="face-note")
        self.boxed = Picture(
            visible=False, interactive=False, type="filepath", show_label=False, height=240, elem_id="boxed",
            buttons=[],
        )  # fmt: skip
        self.who = gr.Radio([], visible=False, label="Who speaks", elem_id="who")

    def _build_voice(self):
        gr.HTML(markup.step(2, "A voice", "A recording in any language, or your microphone."))
        self.voice = Voice(
            sources=["upload", "microphone"], type="filepath", label="Voice", show_label=False, elem_id="voice",
            buttons=[],
        )  # fmt: skip
        self.voice_note = gr.HTML(visible=False, elem_id="voice-note")
        self.agreed = gr.Checkbox(label=markup.CONSENT, elem_id="agreed")
        self.label = gr.Checkbox(label=markup.LABEL, value=True, elem_id="label")

    def _build_options(self):
        with gr.Accordion("Options", open=False, elem_id="options"):
            with gr.Row():
                self.region = gr.Radio(REGIONS, value="jaw", label="What is redrawn")
                self.sharpen = gr.Slider(
                    0, 2, 1, step=0.1, label="Sharpness", info="How much of the face's own detail the mouth is given"
                )
            with gr.Row():
                self.offset = gr.Slider(
                    -400, 400, 0, step=20, label="Lips earlier or later (ms)",
                    info="Above 0: the lips move earlier, as they hear later sound",
                )  # fmt: skip
                self.fps = gr.Slider(10, 60, 25, step=1, label="Frames a second", info="A video keeps its own")
            gr.HTML('<p class="lg-small">Room around the face, in pixels; below 0 takes some away. Rarely needed.</p>')
            with gr.Row(elem_classes="lg-pads"):
                self.pads = [
                    gr.Number(0, label=side, precision=0, minimum=-MOST_PAD, maximum=MOST_PAD, min_width=110)
                    for side in ("Above", "Below", "Left", "Right")
                ]
            self.checkpoint = gr.Dropdown(
                self.studio.names, value=self.studio.names[0], label="Generator", visible=len(self.studio.names) > 1
            )

    def _build_buttons(self):
        with gr.Row(elem_classes="lg-buttons"):
            self.make_button = gr.Button("Make the video", variant="primary", elem_id="make", scale=2, min_width=180)
            self.try_button = gr.Button("Try one frame", elem_id="try", min_width=140)
            # With visible=False it is loaded when it is to be seen, and an update that comes meanwhile can get lost.
            self.stop_button = gr.Button("Stop", variant="stop", visible="hidden", elem_id="stop", min_width=140)
        self.status = gr.HTML(elem_id="status")

    def _build_result(self):
        with gr.Row(visible=False, elem_classes="lg-inputs", elem_id="results") as self.results:
            with gr.Column(min_width=300, elem_classes="lg-card"):
                gr.HTML("<h2>Source</h2>")
                shown = {"show_label": False, "interactive": False, "buttons": []}
                self.source_picture = Picture(visible=False, type="filepath", elem_id="source-picture", **shown)
                self.source_clip = Clip(visible=False, elem_id="source-clip", **shown)
            with gr.Column(min_width=300, elem_classes="lg-card"):
                gr.HTML("<h2>Result</h2>")
                self.tried = Picture(visible=False, type="filepath", elem_id="tried", **shown)
                self.result = Clip(visible=False, autoplay=True, elem_id="result", **shown)
                self.download = Download("Download the video", visible=False, elem_id="download")

    def _connect(self):
        hidden = {"api_visibility": "private", "show_progress": "hidden"}
        looked = {"concurrency_limit": LOOKS_AT_ONCE, "concurrency_id": "look", **hidden}
        seen = [self.boxed, self.who, self.face_note]
        self.picture.change(self.new_picture, [self.picture, self.clip], [self.clip, *seen], **looked)
        self.clip.change(self.new_clip, [self.clip, self.picture], [self.picture, *seen], **looked)
        self.boxed.select(self.clicked, None, self.who, **hidden)
        self.who.change(self.redrawn, self.who, self.boxed, **hidden)
        self.voice.change(self.new_voice, self.voice, self.voice_note, **hidden)

        # A set, so that they come as a dict
        inputs = {
            self.picture, self.clip, self.voice, self.agreed, self.who, self.region, self.sharpen, *self.pads,
            self.offset, self.fps, self.checkpoint, self.label,
        }  # fmt: skip
        outputs = [
            self.status, self.results, self.source_picture, self.source_clip, self.tried, self.result, self.download,
            self.make_button, self.try_button, self.stop_button,
        ]  # fmt: skip
        # All wait at the desk, where they see their place: Gradio's own line holds nobody back.
        free = {"concurrency_limit": None, **hidden}
        for button, work in ((self.make_button, self.make), (self.try_button, self.try_one)):
            button.click(None, js=TO_STATUS)
            button.click(work, inputs, outputs, **free).then(None, js=TO_RESULTS)
        self.stop_button.click(self.stop, None, self.stop_button, queue=False, **hidden)
        for name, button in self.example_buttons.items():
            filled = button.click(
                lambda name=name: self.example(name), None, [self.picture, self.clip, self.voice], **hidden
            )
            made = filled.then(None, js=TO_STATUS).then(self.make, inputs, outputs, **free)
            made.then(None, js=TO_RESULTS)

    # What a visitor gives

    def new_picture(self, picture: str | None, clip: str | None, request: gr.Request):
        """Find the faces of a new picture, which takes the video's place."""
        yield from self._new_face(picture, clip, request)

    def new_clip(self, clip: str | None, picture: str | None, request: gr.Request):
        """The same of a new video."""
        yield from self._new_face(clip, picture, request)

    def _new_face(self, path, other, request):
        """Updates of the other one, the boxed picture, who speaks, and the note."""
        visitor = self.visitors.of(request.session_hash)
        hide = gr.update(visible=False, value=None)
        if path is None:
            if other is None:  # it was not the other one that cleared it
                visitor.seen = None
                yield None, hide, gr.update(visible=False, value=None, choices=[]), hide
            else:
                yield gr.skip()
            return
        self._give(visitor, path)
        nobody = gr.update(visible=False, value=None, choices=[])
        yield None, hide, nobody, _note("Looking for faces …")
        try:
            visitor.seen = None
            self.limits.check_face(path)
            visitor.seen = seen = faces.look(path)
        except Exception as error:  # noqa: BLE001 - told on the page
            yield gr.skip(), hide, nobody, _note(told(error, path), "error")
            return
        count = len(seen.boxes)
        if count == 1:
            yield gr.skip(), hide, nobody, _note("One face found.")
            return
        boxed = self._drawn(visitor, seen.largest)
        choices = [(f"Face {number + 1}", str(number)) for number in range(count)] + [("All of them", "all")]
        who = gr.update(visible=True, choices=choices, value=str(seen.largest))
        note = _note(f"{count} faces found. Click the one that is to speak.")
        yield gr.skip(), gr.update(visible=True, value=boxed), who, note

    def _give(self, visitor, path):
        if path is not None and not self.studio.is_example(path):
            self.visitors.give(visitor, path)

    def _drawn(self, visitor, chosen):
        return faces.save(visitor.seen.drawn(chosen), visitor.new(".jpg"))

    def clicked(self, event: gr.SelectData, request: gr.Request):
        """The face that was clicked is to speak."""
        seen = self.visitors.of(request.session_hash).seen
        if seen is None or len(seen.boxes) < 2:
            return gr.skip()
        return str(seen.at(*event.index))

    def redrawn(self, who: str | None, request: gr.Request):
        """The boxes, with those of the faces that are to speak in colour."""
        visitor = self.visitors.of(request.session_hash)
        if who is None or visitor.seen is None:
            return gr.skip()
        return self._drawn(visitor, _index(who))

    def new_voice(self, voice: str | None, request: gr.Request):
        """Say at once where a sound cannot be used."""
        self._give(self.visitors.of(request.session_hash), voice)
        if voice is not None:
            try:
                self.limits.check_sound(voice)
            except Exception as error:  # noqa: BLE001 - told on the page
                return _note(told(error, voice), "error")
        return gr.update(visible=False, value=None)

    def example(self, name: str):
        """Fill in an example."""
        return self.studio.examples[name][1], None, self.studio.sound

    # What a visitor asks for

    async def make(self, given: dict, request: gr.Request):
        """Make the video; updates of the page while it is made."""
        async for update in self._working(given, request, tries=False):
            yield update

    async def try_one(self, given: dict, request: gr.Request):
        """Make one frame."""
        async for update in self._working(given, request, tries=True):
            yield update

    async def _working(self, given, request, tries):
        """Nothing here takes time on the event loop: work is done at the desk, and files are looked at in threads."""
        visitor, job = self.visitors.of(request.session_hash), None
        picture, clip, voice = (given[one] for one in (self.picture, self.clip, self.voice))
        try:
            work, outfile = await anyio.to_thread.run_sync(self._work, visitor, given, tries)
            job = visitor.job = self.desk.join(work)
            if visitor.gone:  # meanwhile
                self.desk.end(job)
            yield {self.make_button: gr.update(interactive=False), self.try_button: gr.update(interactive=False),
                   self.stop_button: gr.update(visible=True, interactive=True, value="Stop")}  # fmt: skip
            while not job.over.is_set():
                yield {self.status: markup.progress(job, self.desk.place(job))}
                until = time.monotonic() + POLL
                while time.monotonic() < until and not job.over.is_set():
                    await asyncio.sleep(HURRY)
            if job.error and not job.stop.is_set():
                raise job.error
            if job.result is None:
                yield {self.status: markup.said("Stopped before the first frame: nothing was made.")}
            else:
                yield await anyio.to_thread.run_sync(self._shown, visitor, picture, clip, job.result, outfile)
        except Exception as error:  # noqa: BLE001 - told on the page
            text = await anyio.to_thread.run_sync(told, error, picture, clip, voice, visitor.folder)
            yield {self.status: markup.said(text, "error")}
        finally:
            if job is not None and not job.over.is_set():  # the tab was closed
                self.desk.end(job)
        yield {self.make_button: gr.update(interactive=True), self.try_button: gr.update(interactive=True),
               self.stop_button: gr.update(visible="hidden")}  # fmt: skip

    def _work(self, visitor: Visitor, given, tries):
        """The work for the desk, and where its result goes.

        Raises:
            UserError: something is missing, or cannot be used.
        """
        picture, voice = given[self.picture], given[self.voice]
        face = picture or given[self.clip]
        if not face or not voice:
            missing = "a face and a voice" if not (face or voice) else "a voice" if face else "a face"
            raise UserError(f"Give {missing} first, or try an example")
        if visitor.job is not None and not visitor.job.over.is_set():
            raise UserError("One is under way already; stop it first")
        self.limits.check_face(face)
        self.limits.check_sound(voice)
        if not given[self.agreed] and not self.studio.is_example(face):
            raise UserError(f"Tick “{markup.CONSENT}” first")
        wishes = Wishes(
            given[self.region],
            given[self.sharpen],
            [given[pad] or 0 for pad in self.pads],
            _chosen(given[self.who], visitor.seen),
            given[self.fps] if picture else None,
            given[self.label],
            given[self.offset],
            given[self.checkpoint],
        )
        visitor.folder.mkdir(exist_ok=True)
        if tries:
            return lambda job: self.studio.try_frame(face, voice, visitor.folder, wishes, job), visitor.new(".jpg")
        name = files.shortened(f"{Path(face).stem}_{Path(voice).stem}", 100)
        outfile = visitor.result(f"{name}.mp4")
        return lambda job: self.studio.run(face, voice, outfile, wishes, job), outfile

    def _shown(self, visitor, picture, clip, result, outfile):
        """Updates that show the source and what was made of it."""
        source = faces.save(visitor.seen.image, visitor.new(".jpg")) if visitor.seen else picture
        updates = {
            self.results: gr.update(visible=True),
            self.source_picture: gr.update(visible=picture is not None, value=source if picture else None),
            self.source_clip: gr.update(visible=picture is None, value=None if picture else clip),
        }
        is_frame = not hasattr(result, "frames")
        if is_frame:
            faces.save(result, outfile)
            text = "One frame, at the loudest moment of the voice. Set other options, or make the video."
        else:
            text = f"{result.seconds:.1f} seconds of video, made in {result.elapsed:.1f} seconds."
            text += " It was stopped, and ends there." if result.stopped else ""
            without = result.frames_without_face
            text += f" {without} of {result.frames} frames show no face, and stay as they were." if without else ""
            text += " A part of the source is damaged." if result.broken or result.damaged else ""
        return updates | {
            self.status: markup.said(text, "done"),
            self.tried: gr.update(visible=is_frame, value=outfile if is_frame else None),
            self.result: gr.update(visible=not is_frame, value=None if is_frame else outfile),
            self.download: gr.update(visible=not is_frame, value=None if is_frame else outfile),
        }

    def stop(self, request: gr.Request):
        """End the visitor's work; what is made stays."""
        job = self.visitors.of(request.session_hash).job
        if job is not None:
            self.desk.end(job)
        return gr.update(interactive=False, value="Stopping …")

    def gone(self, request: gr.Request) -> None:
        """The tab was closed, or loaded anew."""
        self.visitors.leave(request.session_hash)


def _chosen(who, seen):
    """`Options.face_index`: the largest face needs no number, and is found faster."""
    index = _index(who)
    return None if seen is not None and index == seen.largest else index


def _index(who):
    return who if who in (None, "all") else int(who)


def _note(text, kind="note"):
    return gr.update(visible=True, value=markup.said(text, kind))
