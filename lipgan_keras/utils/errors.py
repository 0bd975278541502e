"""Errors that reach the user as one line."""

import errno
import os

# Of the errors of Keras's backends, of C++ libraries, of OpenCV and of OpenVINO
NO_MEMORY = ("RESOURCE_EXHAUSTED", "ResourceExhausted", "OutOfMemory", "bad_alloc", "Insufficient memory")
NO_MEMORY += ("Failed to allocate",)


class UserError(ValueError):
    """Bad input. Its message is the one line that the user reads: the file, what is wrong, what to do."""


class Incomplete(UserError):
    """What was asked for is made and written, but for a part of it. The message says which, or how much."""


class Unsupported(UserError):
    """Something that one engine cannot do, and another can."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there is no memory left: Python's, OpenCV's, OpenVINO's or a Keras backend's."""
    if isinstance(error, UserError):
        return False
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    return any(text in f"{type(error).__name__} {error}" for text in NO_MEMORY)


def describe(error: Exception, name: str | os.PathLike) -> str:
    """One line for whatever went wrong with the file `name`, where that is to stop nothing else."""
    if is_out_of_memory(error):
        error = UserError(f"{name}: there is too little memory for it; use fewer processes, or a smaller file")
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError) and error.errno is not None:
        return describe_os_error(error)
    return f"{name}: {type(error).__name__}: {' '.join(str(error).split())}"


def describe_os_error(error: OSError) -> str:
    """One line for a failing file operation, with what to do about the common ones."""
    advice = {
        errno.ENOSPC: "; free some space or write to another disc",
        errno.EDQUOT: "; free some space or write to another disc",
        errno.EFBIG: "; free some space or write to another disc",
        errno.EACCES: "; choose a place that you may write to",
        errno.EPERM: "; choose a place that you may write to",
        errno.EROFS: "; choose a place that you may write to",
    }.get(error.errno, "")
    return f"{error.filename or 'file operation'}: {error.strerror}{advice}"
