"""Gradio's components, less what they do to files: nothing is decoded, converted, or fetched from an address."""

from abc import ABCMeta
from typing import Any

import gradio as gr
from gradio.data_classes import FileData
from gradio_client.utils import is_http_url_like


class _Plain(type(gr.Image)):  # type: ignore[misc]
    """Gradio's own would write a stub file beside this module."""

    def __new__(cls, name, bases, attributes):
        return ABCMeta.__new__(cls, name, bases, attributes)


class _AsItIs:
    """The visitor's file stays as it is: what it may be is for `limits` to say, before anything decodes it."""

    async def async_move_resource_to_block_cache(self, url_or_file_path: Any) -> str | None:
        """Refuses addresses: the server opens no connection to anywhere."""
        if url_or_file_path is not None and is_http_url_like(str(url_or_file_path)):
            raise gr.Error("Addresses are not read; give a file", print_exception=False)
        return await super().async_move_resource_to_block_cache(url_or_file_path)  # type: ignore[misc]

    def get_block_name(self) -> str:
        """What the browser draws: the component that is made plain."""
        return type(self).__mro__[2].__name__.lower()

    def preprocess(self, payload: Any) -> str | None:
        """The path of the file."""
        return payload.path if payload and payload.path else None

    def postprocess(self, value: Any) -> FileData | None:
        """A file of ours, to be shown."""
        return None if value is None else FileData(path=str(value), orig_name=getattr(value, "name", None))


class Picture(_AsItIs, gr.Image, metaclass=_Plain):
    """A picture, by file, camera or clipboard; or one that is shown."""


class Clip(_AsItIs, gr.Video, metaclass=_Plain):
    """A video, by file or camera; or one that is shown."""


class Voice(_AsItIs, gr.Audio, metaclass=_Plain):
    """A sound, by file or microphone."""


class Download(_AsItIs, gr.DownloadButton, metaclass=_Plain):
    """A button that saves a file."""
