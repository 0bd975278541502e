"""Which sound is wrong for which face: the unsynced pairs of the contrastive discriminator."""

import numpy as np

from .utils.errors import UserError

ROLL = 10


def pairs(unsynced, train_on_fakes) -> dict[str, np.ndarray]:
    """What a batch holds for the contrastive discriminator; see `gan.make_batch`."""
    return {"unsynced": np.asarray(unsynced, "int32"), "train_on_fakes": np.array([train_on_fakes], "float32")}


def same_windows(audio: np.ndarray) -> np.ndarray:
    """(B,B) bool: which samples of a batch have the same sound, such as two windows of silence."""
    labels = {}
    label = np.array([labels.setdefault(row, len(labels)) for row in rounded(audio)])
    return label[:, None] == label[None, :]


def rounded(windows: np.ndarray) -> list[bytes]:
    """Of each of n windows (n,...) bytes that are equal where windows are, to the third decimal."""
    windows = np.round(windows.reshape(len(windows), -1), 3) + 0.0  # no negative zero
    return [row.tobytes() for row in windows]


def unsynced_order(same: np.ndarray) -> np.ndarray:
    """Whose audio makes each sample's unsynced pair: the reference rolls the batch by 10, and so does this where it
    can.

    Args:
        same: (B,B) bool, pairs that would be in sync all the same; the diagonal is taken as true.

    Returns:
        (B,) int, never a pair for which `same` is true.

    Raises:
        UserError: a sample has no other one whose sound differs.
    """
    size = len(same)
    allowed = ~(same | np.eye(size, dtype=bool))
    rows = np.arange(size)
    for shift in (ROLL, *range(1, size)):
        order = (rows - shift) % size
        if allowed[rows, order].all():
            return order
    if not allowed.any(axis=1).all():
        raise UserError(
            f"batch_size {size}: a sample has no other whose sound differs, so no unsynced pair can be made; "
            "use a larger --batch_size or more clips"
        )
    # No single shift will do: each sample takes the first that is allowed, counted from the reference's.
    candidates = (rows[:, None] - ROLL - rows[None, :]) % size
    first = np.take_along_axis(allowed, candidates, axis=1).argmax(axis=1)
    return candidates[rows, first]
