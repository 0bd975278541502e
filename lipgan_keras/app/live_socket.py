"""A photo that speaks along with a visitor's microphone: one WebSocket, and the small page that opens it.

The visitor sends a line of JSON, then the photo, then raw 16 kHz signed 16-bit little-endian mono PCM in pieces. Back
come lines of JSON and, as binary messages, JPEG frames. Each queue is bounded: what is too much is left out.
"""

import asyncio
import contextlib
import json
import queue
import secrets
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import anyio.to_thread
import cv2
import numpy as np
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from fastapi.responses import FileResponse, Response

from ..inference.blend import REGIONS
from ..live.schedule import Schedule
from ..live.show import Show
from ..live.sound import LiveSound
from ..utils.errors import UserError
from .limits import Limits
from .studio import Studio
from .words import told

ASSETS = Path(__file__).parent.parent / "assets"
FILES = {"live.css": "text/css", "live.js": "text/javascript", "microphone.js": "text/javascript"}
PIECES, FRAMES = 50, 4  # of sound and of pictures that may wait
MOST_PIECE = 1 << 16  # bytes of a message with sound: two seconds
MOST_HELLO = 2000  # characters
PATIENCE = 20.0  # seconds without a message after which the line is taken for dead
JPEG = [cv2.IMWRITE_JPEG_QUALITY, 80]


class Live:
    """Who speaks live, and how many may.

    Args:
        studio: makes the heads.
        limits: of a visitor, and of how many there are.
        folder: for the photo, as long as it is read.
    """

    def __init__(self, studio: Studio, limits: Limits, folder: Path):
        self.studio, self.limits, self.folder = studio, limits, folder
        self.speaking = 0

    def add_to(self, app: FastAPI) -> None:
        """Its page, the files of the page, and the socket."""
        app.get("/live", include_in_schema=False)(self.page)
        app.get("/live-files/{name}", include_in_schema=False)(self.file)
        app.websocket("/live/socket")(self.speak)

    async def page(self) -> FileResponse:
        """The page."""
        return FileResponse(ASSETS / "live.html", media_type="text/html")

    async def file(self, name: str) -> Response:
        """What the page needs beside itself, and the photos of the examples."""
        if name in FILES:
            return FileResponse(ASSETS / name, media_type=FILES[name])
        if name in self.studio.examples:
            return FileResponse(self.studio.examples[name][1])
        return Response(status_code=404)

    async def speak(self, socket: WebSocket) -> None:
        """One visitor's line, from its first word to its last."""
        if not _is_ours(socket):  # another site's page that reaches this server through a visitor's browser
            await socket.close(4403)
            return
        await socket.accept()
        if self.speaking >= self.limits.live:
            await _end(socket, "Somebody else is speaking just now. Try again in a few minutes.")
            return
        self.speaking += 1
        try:
            await _Line(self, socket).hold()
        except WebSocketDisconnect:
            pass
        except Exception as error:  # noqa: BLE001 - told on the page
            await _end(socket, await anyio.to_thread.run_sync(told, error))
        finally:
            self.speaking -= 1


class _Line:
    """One visitor's."""

    def __init__(self, live: Live, socket: WebSocket):
        self.live, self.socket = live, socket
        self.stop = threading.Event()
        self.sound = LiveSound()
        self.pieces: queue.Queue = queue.Queue(PIECES)
        self.frames: asyncio.Queue = asyncio.Queue(FRAMES)

    async def hold(self):
        head = await self._head()
        height, width = head.image.shape[:2]
        await self.socket.send_json({"ready": True, "width": width, "height": height, "seconds": self._seconds})
        sink = _Sink(self.frames, asyncio.get_running_loop())
        show = Show(self.sound, Schedule(head.config), head, sink, "page", self.stop)
        sink.start(head.rest)
        threading.Thread(target=self._feed, name="live sound", daemon=True).start()
        shown = asyncio.create_task(anyio.to_thread.run_sync(show.run))
        sent, heard = asyncio.create_task(self._send()), asyncio.create_task(self._hear())
        tasks = [shown, sent, heard]
        try:
            done, _ = await asyncio.wait(tasks, timeout=self._seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.stop.set()
            self.sound.end()
            for task in (sent, heard):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()
        if not done:
            await _end(self.socket, f"{self._seconds:g} seconds are over. Begin anew, if nobody else waits.")
        elif heard in done:
            await _end(self.socket)

    @property
    def _seconds(self):
        return self.live.limits.live_seconds

    async def _head(self):
        """The face of the photo that comes first."""
        asked = _wishes(await self._receive("text"))
        if asked["example"] is not None:
            if asked["example"] not in self.live.studio.examples:
                raise UserError("There is no such example")
            path = self.live.studio.examples[asked["example"]][1]
            return await anyio.to_thread.run_sync(self.live.studio.head, path, asked["region"], asked["label"])
        if not asked["agreed"]:
            raise UserError("Tick that the person in the photo has agreed")
        photo = await self._receive("bytes")
        return await anyio.to_thread.run_sync(self._head_of, photo, asked)

    def _head_of(self, photo, asked):
        path = self.live.folder / secrets.token_hex(16) / "The photo"
        path.parent.mkdir()
        try:
            path.write_bytes(photo)
            self.live.limits.check_face(path)
            return self.live.studio.head(path, asked["region"], asked["label"])
        except UserError as error:
            raise UserError(str(error).replace(f"{path}: ", "The photo ")) from error
        finally:
            path.unlink(missing_ok=True)
            path.parent.rmdir()

    async def _receive(self, kind):
        """The next message, of a kind; None: the visitor has said that it is enough."""
        try:
            message = await asyncio.wait_for(self.socket.receive(), PATIENCE)
        except asyncio.TimeoutError:
            raise UserError("No sound came for a while. Is the microphone on?") from None
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1006))
        if message.get("text") == "end":
            return None
        if message.get(kind) is None:
            raise UserError("The page and the server do not understand each other; load the page anew")
        return message[kind]

    async def _hear(self):
        while True:
            piece = await self._receive("bytes")
            if piece is None:
                return
            if len(piece) > MOST_PIECE or len(piece) % 2:
                raise UserError("The page and the server do not understand each other; load the page anew")
            with contextlib.suppress(queue.Full):
                self.pieces.put_nowait((piece, time.monotonic()))

    async def _send(self):
        while True:
            data = await self.frames.get()
            try:
                await self.socket.send_bytes(data)
            except RuntimeError:  # of Starlette's, where the line was closed meanwhile
                raise WebSocketDisconnect(1006) from None

    def _feed(self):
        while not self.stop.is_set():
            with contextlib.suppress(queue.Empty):
                piece, came = self.pieces.get(timeout=0.1)
                self.sound.append(np.frombuffer(piece, "<i2") / np.float32(32768), came)


class _Sink:
    """Where `Show` gives its frames; of more than FRAMES that wait the oldest goes."""

    def __init__(self, frames: asyncio.Queue, loop: asyncio.AbstractEventLoop):
        self._frames, self._loop = frames, loop

    def start(self, rest: np.ndarray) -> None:
        self.show(-1, rest)

    def show(self, k: int, image: np.ndarray) -> None:
        data = cv2.imencode(".jpg", image, JPEG)[1].tobytes()
        with contextlib.suppress(RuntimeError):  # the server is ending
            self._loop.call_soon_threadsafe(self._put, data)

    def _put(self, data):
        if self._frames.full():
            self._frames.get_nowait()
        self._frames.put_nowait(data)

    def idle(self) -> None:
        pass

    def finish(self, seconds: float) -> None:
        pass


def _wishes(text):
    """What the first line says.

    Raises:
        UserError: it is none of ours.
    """
    try:
        asked = json.loads(text or "") if len(text or "") <= MOST_HELLO else None
    except ValueError:
        asked = None
    if not isinstance(asked, dict) or asked.get("region", "jaw") not in REGIONS:
        raise UserError("The page and the server do not understand each other; load the page anew")
    example = asked.get("example")
    return {
        "agreed": asked.get("agreed") is True,
        "label": asked.get("label") is not False,
        "region": asked.get("region", "jaw"),
        "example": example if isinstance(example, str) else None,
    }


def _is_ours(socket):
    """Whether a page of this server asks: browsers say whose it is. What is no browser says nothing."""
    origin = socket.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == socket.headers.get("host")


async def _end(socket, text=None):
    with contextlib.suppress(RuntimeError, WebSocketDisconnect):  # it is closed already
        await socket.send_json({"end": text})
        await socket.close()
