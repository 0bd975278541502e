"""What a run of tests has of its own: its cache, and how many processes."""

import os
import tempfile


def use_own_cache(config) -> None:
    """Neither read nor fill the user's cache of graphs; the processes of one run share theirs."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        return
    caches = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    os.environ.setdefault("MPLCONFIGDIR", os.path.join(caches, "matplotlib"))  # its list of fonts takes seconds to make
    folder = tempfile.TemporaryDirectory(prefix="lipgan_keras_cache_")
    config.add_cleanup(folder.cleanup)
    os.environ["XDG_CACHE_HOME"] = folder.name


def processes(config, most: int) -> int:
    """As many as cores, up to `most`; for tests of a file or two 0, which is this one."""
    if any("::" in argument or argument.endswith(".py") for argument in config.args):
        return 0
    cores = len(os.sched_getaffinity(0))
    return min(cores, most) if cores > 1 else 0
