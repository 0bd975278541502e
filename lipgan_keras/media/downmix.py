"""Many channels of sound to one.

Players let two channels be heard by two ears, where channels of opposite sign are as loud as others. Their mean is
silent. So a file whose channels cancel is heard by one of them. Of 5.1 players make a stereo mix, in which the centre,
where speech is, is some 13 dB louder than in the mean of six channels; the mean has the same speech.
"""

import numpy as np

CANCELS = 0.1  # of the power that a mean of unlike channels has, below which channels cancel
SILENT = 1e-4  # of the loudest block's power, below which a block does not count


def mono(channels: np.ndarray, channel: int | None = None) -> np.ndarray:
    """The mean of channels, or one of them.

    Args:
        channels: (channels, n) floating-point samples.
        channel: `ChannelMeter.channel`; None: the mean.

    Returns:
        float32 (n,).
    """
    channels = np.asarray(channels, np.float32)
    if channel is not None and channel < len(channels):
        return channels[channel]
    return channels.mean(axis=0)


class ChannelMeter:
    """Tells whether the channels of a file cancel each other, from all of its blocks."""

    def __init__(self):
        self._blocks: list[tuple[float, bool, np.ndarray]] = []

    def add(self, channels: np.ndarray) -> None:
        """Hear the next block, (channels, n) floating-point samples of any n."""
        if channels.shape[0] < 2 or not channels.shape[1]:  # most files are mono: nothing is computed for them
            return
        channels = np.nan_to_num(np.asarray(channels, np.float64), posinf=1, neginf=-1)
        energy = np.square(channels).sum(axis=1)
        mixed = float(np.square(channels.mean(axis=0)).sum())
        cancels = mixed < CANCELS * energy.sum() / len(channels) ** 2
        self._blocks.append((channels.shape[1], cancels, energy))

    @property
    def channel(self) -> int | None:
        """The channel to hear in place of the mean: the loudest one, if most of the sound cancels; else None."""
        power = np.array([energy.max() / samples for samples, _, energy in self._blocks])
        loud = [block for block, p in zip(self._blocks, power, strict=True) if p > SILENT * power.max() > 0]
        cancelling = [(samples, energy) for samples, cancels, energy in loud if cancels]
        if not cancelling or sum(n for n, _ in cancelling) <= sum(n for n, _, _ in loud) / 2:
            return None
        width = min(len(energy) for _, energy in cancelling)
        total = np.sum([energy[:width] for _, energy in cancelling], axis=0)
        return int(np.flatnonzero(total >= 0.9 * total.max())[0])  # the first of those that are about as loud

    def note(self, path) -> str:
        """What is to be said of a file where `channel` is not None."""
        return f"{path}: its channels cancel each other, so that only channel {self.channel + 1} is heard"
