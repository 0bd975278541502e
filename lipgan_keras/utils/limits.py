"""The ranges of what a model and its training may have: one for flags, configurations and files.

A file can declare anything, and a network of a width of 1e9 would be built before anyone saw that its weights are
missing. So what training accepts is what loading accepts.
"""

import re
from typing import Any

from .errors import UserError

LIMITS = {
    "width": (0.001, 4),  # at the most 800 million weights of a generator, 3 GB
    "sync_width": (0.001, 4),
    "sync_frames": (1, 50),  # two seconds
    "audio_offset_ms": (-60_000, 60_000),
    "step": (0, 10**9),
    "steps": (1, 10**9),
    "seed": (0, 2**32 - 2),  # what numpy takes, and one more for the visual-quality discriminator
}
BLOCK_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def wrong(values: dict[str, Any]) -> str | None:
    """What is wrong with the first number out of its range, such as "width 9 is out of range; give 0.001 to 4".

    Args:
        values: names without a range, and None, are passed over.
    """
    for name, value in values.items():
        least, most = LIMITS.get(name, (None, None))
        if value is not None and least is not None and not least <= value <= most:
            return f"{name} {value:g} is out of range; give {least:,} to {most:,}"
    return None


def checked(**values: Any) -> dict[str, Any]:
    """The same values.

    Raises:
        UserError: one is out of its range.
    """
    if problem := wrong(values):
        raise UserError(f"--{problem}")
    return values
