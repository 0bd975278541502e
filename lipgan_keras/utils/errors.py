"""Errors that reach the user as one line."""

import errno
import os


class UserError(ValueError):
    """Bad input. Its message is the one line that the user reads: the file, what is wrong, what to do."""


class Incomplete(UserError):
    """What was asked for is made and written, but for a part of it. The message says which, or how much."""


class Unsupported(UserError):
    """Something that one engine cannot do, and another can."""


def describe(error: Exception, name: str | os.PathLike) -> str:
    """One line for whatever went wrong with the file `name`, where that is to stop nothing else."""
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
