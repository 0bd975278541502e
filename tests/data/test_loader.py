import itertools
import os
import signal
import time
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest

from helpers.clips import make_root, packed
from lipgan_keras.config import ModelConfig
from lipgan_keras.data import augment, clip_folder
from lipgan_keras.data.augment_audio import Sound
from lipgan_keras.data.dataset import Dataset
from lipgan_keras.data.loader import Loader
from lipgan_keras.utils.errors import UserError


def data_of(root, kind="mel", **options):
    clips = clip_folder.find_clips(root, kind, progress=False)
    options = {
        "sync": True,
        "seed": 3,
        "augmentation": augment.NAMES,
        "sound": Sound(augment.NAMES),
        "shared": True,
    } | options
    return Dataset(clips, ModelConfig("basic", kind), 10, **options)


def ended(process):
    # Not join(): the pool's own thread waits for the process too, and whoever comes second does not hear of its end.
    waited = time.monotonic() + 20
    while process.is_alive() and time.monotonic() < waited:
        time.sleep(0.05)
    return not process.is_alive()


@pytest.mark.parametrize("kept", ["folder", "pack"])
@pytest.mark.slow
def test_processes_make_the_batches_that_threads_make(tmp_path, kept):
    """In order, from any number on, whatever is kept; images that one has decoded are there for all."""
    root = make_root(tmp_path / "crops", frames=range(20))
    root = packed(root) if kept == "pack" else root
    data = data_of(root, cache_bytes=1 << 30 if kept == "folder" else 1_500_000)
    with Loader(data_of(root), 2, 1) as loader:
        expected = list(itertools.islice(loader, 10))
    with Loader(data, 2, 2, processes=True) as loader:
        before = sum(data.images.there)
        made = list(itertools.islice(loader, 10))
        processes = list(loader.pool._processes.values())
    assert len(processes) == 2 and all(map(ended, processes))
    for one, other in zip(made, expected, strict=True):
        assert one[0].keys() == other[0].keys()
        assert all(
            np.array_equal(one[0][name], other[0][name]) and one[0][name].dtype == other[0][name].dtype
            for name in one[0]
        )
    made[0][0]["faces"][:] = 7  # its own, not the room of another batch
    assert not any((batch["faces"] == 7).all() for (batch,) in made[1:])
    if kept == "folder":
        there = np.flatnonzero(np.frombuffer(data.images.there, np.uint8))
        assert len(there) > before and len(there) == data.images.count  # all 80 frames, of 10 batches of 10 runs
        assert all((data.images.images[i] == data.clips[i // 20].image(i % 20, 96)).all() for i in there)


@pytest.mark.slow
def test_what_keeps_a_process_from_a_batch_comes_out(tmp_path):
    data = data_of(make_root(tmp_path), sync=False, augmentation=(), sound=None, cache_bytes=0)
    paths = sorted(tmp_path.rglob("*.jpg"))
    with pytest.raises(UserError, match="jpg: cannot be read"), Loader(data, 0, 2, processes=True) as loader:
        for path in paths:
            path.write_text("text")
        try:
            for _ in loader:
                pass
        except UserError as error:
            raise RuntimeError("as TensorFlow has it: " + repr(error)) from None
    assert all(map(ended, (loader.pool._processes or {}).values()))


@pytest.mark.slow
def test_a_process_that_dies(tmp_path):
    with (
        pytest.raises(UserError, match="--num_workers"),
        Loader(data_of(make_root(tmp_path)), 0, 2, processes=True) as loader,
    ):
        for i, _ in enumerate(loader):
            if i == 1:
                os.kill(next(iter(loader.pool._processes)), signal.SIGKILL)
                time.sleep(0.5)


def test_what_a_process_is_handed_is_small(tmp_path):
    """Nothing that is kept goes along, and so little memory is taken as is written to."""
    data = data_of(make_root(tmp_path), sound=None)
    shared, data.images.memory = data.images.memory, None  # which cannot be handed on but at a process's start
    data.batch(0)
    assert len(ForkingPickler.dumps(data)) < 100_000
    assert data.features.items and data.images.count * 96 * 96 * 3 < shared.size
