"""The page and its live part behind one address, and what a server has to see to: its port, its files, its end."""

import contextlib
import errno
import ipaddress
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import filelock

from ..utils.errors import UserError
from ..utils.terminal import say
from .limits import Limits

PREFIX = "lipgan_page_"  # of folders with the files of visitors
YOUNG = 60.0  # seconds in which such a folder may not be locked yet
QUIET = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_RUN_HISTORY": "False",
    "GRADIO_SSR_MODE": "False",
    "GRADIO_HEARTBEAT_INTERVAL": "3",  # seconds after which a closed tab is noticed where no packet says so
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
}
# The browser asks nobody but this server, whatever a library of the page would like.
HEADERS = {
    b"content-security-policy": b"default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    b"style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' data: blob:; "
    b"font-src 'self' data:; connect-src 'self' data: blob:; worker-src 'self' blob:; frame-ancestors 'self'; "
    b"base-uri 'self'; form-action 'self'",
    b"referrer-policy": b"no-referrer",
    b"x-content-type-options": b"nosniff",
}
# Routes of Gradio's through which the server would fetch an address that a visitor names
FETCHING = ("/file=http", "/file/http", "/proxy=", "/file=//", "/file/%68")


def serve(
    host: str, port: int, checkpoint_paths: Sequence[str | os.PathLike] | None, engine: str, limits: Limits
) -> None:
    """Answer until Ctrl-C or SIGTERM.

    Raises:
        UserError: the port is in use, there is no such address, or a checkpoint cannot be used.
    """
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(_listening(host, port))
        folder = stack.enter_context(_folder())
        os.environ |= QUIET | {"GRADIO_TEMP_DIR": str(folder)}  # read when Gradio is imported
        import uvicorn

        from .studio import Studio

        examples = folder / "examples"
        examples.mkdir()
        studio = Studio(checkpoint_paths, engine, limits, examples)
        say("loading …", error=True)
        studio.warm()
        app = build(studio, limits, folder)
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, timeout_graceful_shutdown=1, ws_max_size=limits.bytes + 1
        )
        say(f"the page is at {_address(host, listening)} ; Ctrl-C ends it")
        if not _is_local(host):
            say("everybody who reaches this machine can use it; see docs/app.md", error=True)
        uvicorn.Server(config).run(sockets=[listening])


def build(studio, limits: Limits, folder: Path):
    """The FastAPI application."""
    import gradio as gr
    from fastapi import FastAPI

    from .desk import Desk
    from .live_socket import ASSETS, Live
    from .page import Page
    from .visitors import Visitors

    desk = Desk(limits.waiting)
    visitors = Visitors(folder, desk)
    visitors.sweep_for_ever()
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    if limits.live:
        Live(studio, limits, folder).add_to(app)
    font = ["system-ui", "sans-serif"]  # others would come from Google
    theme = gr.themes.Soft(primary_hue="teal", neutral_hue="slate", font=font, font_mono=["ui-monospace", "monospace"])
    theme.set(  # darker than it has them, for those who see little
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        checkbox_border_color="*neutral_500",
        checkbox_border_color_dark="*neutral_400",
        color_accent="*primary_700",
        block_title_background_fill="none",
        block_title_background_fill_dark="none",
        block_title_text_color="*body_text_color",
        block_title_text_color_dark="*body_text_color",
        block_title_padding="0",
        block_label_text_color="*primary_700",
        checkbox_label_background_fill_selected="*primary_700",
        checkbox_background_color_selected="*primary_700",
    )
    blocks = Page(studio, desk, visitors, limits).build()
    app = gr.mount_gradio_app(
        app, blocks, "", theme=theme, css_paths=ASSETS / "page.css", footer_links=[], run_history=False, ssr_mode=False,
        max_file_size=limits.bytes, show_error=True, mcp_server=False, enable_monitoring=False, pwa=False,
    )  # fmt: skip
    app.add_middleware(Guard, most_bytes=limits.bytes)
    return app


class Guard:
    """ASGI middleware: adds HEADERS, and refuses what is too large, or would have the server ask another one.

    Args:
        app: what answers.
        most_bytes: of a file; the request around it may be somewhat longer.
    """

    def __init__(self, app, most_bytes: int):
        self._app, self._most = app, most_bytes + (1 << 16)

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message):
            if message["type"] == "http.response.start":
                message = message | {"headers": [*message.get("headers", []), *HEADERS.items()]}
            await send(message)

        came = 0

        async def no_more_than_may_be():  # of requests that do not say how long they are
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            return message if came <= self._most else {"type": "http.disconnect"}

        length = dict(scope["headers"]).get(b"content-length", b"0")
        if any(part in scope["path"].lower() for part in FETCHING):
            await _refuse(with_headers, 403, "Addresses are not read.")
        elif length.isdigit() and int(length) > self._most:
            await _refuse(with_headers, 413, "The file is larger than this page takes.")
        else:
            await self._app(scope, no_more_than_may_be, with_headers)


async def _refuse(send, status, text):
    headers = [(b"content-type", b"text/plain"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket at an address, had before anything is loaded."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, UnicodeError) as error:
        raise UserError(f"--host {host}: is no address of this machine; give 127.0.0.1 or 0.0.0.0") from error
    with socket.socket(family, kind, protocol) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(address)
            listening.listen(128)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise UserError(
                    f"--port {port}: is in use, perhaps by another page; give another one, or 0 for any that is free"
                ) from error
            if error.errno == errno.EACCES:
                raise UserError(f"--port {port}: is not for everybody; give one of 1024 or above") from error
            raise UserError(f"--host {host}: cannot be answered at ({error.strerror}); give 127.0.0.1") from error
        yield listening


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """A folder for the files of visitors, that goes with this program; those of programs that were killed go too."""
    for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError, filelock.Timeout):
            if left.stat().st_mtime < time.time() - YOUNG and not left.is_symlink():
                with filelock.FileLock(left / ".lock", timeout=0):
                    shutil.rmtree(left)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX)).resolve()
    try:
        with filelock.FileLock(folder / ".lock", timeout=0):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _address(host, listening):
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{listening.getsockname()[1]}/"


def _is_local(host):
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"
