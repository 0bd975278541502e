"""Kills a command at one of its writes. Python imports this where `PYTHONPATH` names the folder.

Every change to the file system below `ROBUSTNESS_BELOW`, of whichever process of the command, adds a byte to the file
`ROBUSTNESS_COUNT`. Before change number `ROBUSTNESS_KILL_AT` the whole process group is killed; 0: never.
"""

import os
import signal
import sys

CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.truncate", "os.link", "os.symlink"}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


def watch(below, count, kill_at):
    handle = os.open(count, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def hook(event, arguments):
        if event not in CHANGES and not (event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITES):
            return
        if not place(event, arguments).startswith(below):
            return
        os.write(handle, b".")
        if os.fstat(handle).st_size == kill_at:
            os.killpg(os.getpgrp(), signal.SIGKILL)

    sys.addaudithook(hook)


def place(event, arguments):
    """The path that changes, or "" where it has none."""
    path = arguments[0]
    if not isinstance(path, str | bytes | os.PathLike):
        return ""
    path = os.fsdecode(path)
    if event in ("os.remove", "os.rmdir") and arguments[1] >= 0:  # relative to an open folder
        path = os.path.join(os.readlink(f"/proc/self/fd/{arguments[1]}"), path)
    return os.path.abspath(path)


if os.environ.get("ROBUSTNESS_BELOW"):
    watch(os.environ["ROBUSTNESS_BELOW"], os.environ["ROBUSTNESS_COUNT"], int(os.environ["ROBUSTNESS_KILL_AT"]))
