"""Sound of many channels is heard, also where their mean is silent."""

import numpy as np
import pytest

from lipgan_keras.media import downmix

RNG = np.random.default_rng(0)
VOICE, MUSIC = (RNG.standard_normal(48000).astype(np.float32) * 0.1 for _ in range(2))
NOTHING = np.zeros_like(VOICE)


def heard(channels, block=1024):
    meter = downmix.ChannelMeter()
    for i in range(0, channels.shape[1], block):
        meter.add(channels[:, i : i + block])
    return meter.channel


@pytest.mark.parametrize(
    "channels",
    [
        [VOICE],
        [VOICE, VOICE],
        [VOICE, NOTHING],
        [VOICE, MUSIC],
        [NOTHING, NOTHING],
        [VOICE + MUSIC, VOICE - MUSIC],
        [MUSIC, -0.3 * MUSIC],
        [NOTHING, NOTHING, VOICE, NOTHING, NOTHING, NOTHING],
        [MUSIC, -MUSIC, VOICE, NOTHING, MUSIC, -MUSIC],
        np.empty((2, 0), np.float32),
    ],
)
def test_channels_are_averaged(channels):
    channels = np.array(channels)
    assert heard(channels) is None
    np.testing.assert_array_equal(downmix.mono(channels, None), channels.mean(axis=0))


@pytest.mark.parametrize(
    ("channels", "expected"),
    [
        ([VOICE, -VOICE], 0),
        ([0.97 * VOICE, -VOICE], 0),
        ([0.8 * VOICE, -VOICE], 1),
        ([VOICE + 0.1 * MUSIC, -VOICE + 0.1 * MUSIC], 0),
        ([NOTHING, VOICE, NOTHING, -VOICE], 1),
    ],
)
def test_one_is_heard_of_channels_that_cancel(channels, expected):
    channels = np.array(channels)
    assert heard(channels) == expected
    np.testing.assert_array_equal(downmix.mono(channels, expected), channels[expected])
    # In a part of the file only, between silence, and whatever the blocks
    quiet = np.zeros((len(channels), 40000), np.float32)
    assert heard(np.concatenate([quiet, channels, quiet], axis=1), 777) == expected
    beside = np.repeat(MUSIC[None, :30000], len(channels), 0)
    assert heard(np.concatenate([channels, beside], axis=1)) == expected
    assert heard(np.concatenate([channels, beside, beside], axis=1)) is None


def test_it_says_which():
    meter = downmix.ChannelMeter()
    meter.add(np.array([VOICE, -VOICE]))
    assert meter.note("a.wav") == "a.wav: its channels cancel each other, so that only channel 1 is heard"
    meter.add(np.array([VOICE, np.full_like(VOICE, np.nan)]))
    assert meter.channel is None or meter.channel == 0
