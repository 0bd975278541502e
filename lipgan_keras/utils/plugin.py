"""A user's own Python file, run as a module."""

import hashlib
import importlib.machinery
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from . import files
from .errors import UserError

_running: list[str] = []  # paths of the files whose code runs now


def running() -> str | None:
    """The absolute path of the file whose code runs now; None: none's."""
    return _running[-1] if _running else None


def run(path: str | os.PathLike, check: Callable[[str], None] = lambda path: None) -> None:
    """Run the code in a Python file, once in a process as long as its content stays.

    Args:
        check: called with the absolute path when it has run; may raise a UserError.

    Raises:
        UserError: it cannot be read, or raises an error: the line says where.
    """
    path = os.path.abspath(path)
    files.regular(path)
    try:
        source = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); --plugin takes a Python file") from error
    name = f"lipgan_keras_plugin_{hashlib.sha256(os.fsencode(path) + source).hexdigest()[:16]}"
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, path, loader=_Source(name, path))
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    _running.append(path)
    try:
        spec.loader.exec_module(module)
        check(path)
    except BaseException as error:
        del sys.modules[name]
        if not isinstance(error, (Exception, SystemExit)):
            raise
        raise UserError(told(error, path)) from error
    finally:
        _running.pop()


class _Source(importlib.machinery.SourceFileLoader):
    def get_code(self, fullname):  # without a __pycache__ beside the file, which would go by its time
        return self.source_to_code(self.get_data(self.path), self.path)


def told(error: BaseException, path: str) -> str:
    """One line for an error that the code in a file has raised: the file, its line, and what is wrong."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    if isinstance(error, SyntaxError) and error.filename == path:
        lines = [error.lineno]
    text = " ".join(str(error).split())
    kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
    return f"{path}{f', line {lines[-1]}' if lines else ''}: {kind}{text if len(text) < 300 else f'{text[:300]} ...'}"
