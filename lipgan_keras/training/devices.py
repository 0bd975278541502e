"""Data parallel training on JAX: each device has all networks, and its part of each batch.

Keras's `DataParallel` does it; the step of `gan` stays as it is, and sees the whole batch: its unsynced pairs and its
sync relation cross devices. Ours is what of a batch is divided, and what one process alone does.
"""

import contextlib
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from .. import networks
from ..config import ModelConfig
from ..utils import backend
from ..utils.backend import keras, precision
from ..utils.errors import UserError
from .config import ALL

VARIABLES = "KERAS_DISTRIBUTION_"
GRACE = 5.0  # seconds from SIGTERM until a process is ended that did not end by itself
Batch = dict[str, np.ndarray]


class _DataParallel(keras.distribution.DataParallel):
    """Keras's, which refuses arrays whose first axis does not divide.

    Attributes:
        divided: lengths of first axes that are divided among the devices, as this process has them; anything else is
            given to each device whole.
    """

    divided: frozenset[int] = frozenset()

    def get_data_layout(self, data_shape: tuple[int, ...]) -> keras.distribution.TensorLayout:
        """The first axis is divided, or nothing is."""
        axes: list[str | None] = [None] * len(data_shape)
        if data_shape and data_shape[0] in self.divided:
            axes[0] = self.batch_dim_name
        return keras.distribution.TensorLayout(axes, self.device_mesh)


class Devices:
    """The devices that a training runs on.

    Attributes:
        count: of all hosts.
        rank: number of this process; that of rank 0 logs, validates and writes.
        hosts: how many processes there are, one a host.
    """

    def __init__(self, devices: list[str], rank: int = 0, hosts: int = 1):
        self.count, self.rank, self.hosts = len(devices), rank, hosts
        self._parallel = None
        if self.count > 1:
            self._parallel = _DataParallel(devices=devices, auto_shard_dataset=False)

    @property
    def leads(self) -> bool:
        """Whether this process logs, validates and writes."""
        return self.rank == 0

    def describe(self) -> str:
        """How many there are, in words; nothing of one."""
        if self.count == 1:
            return ""
        return f"; on {self.count} devices" + (f" of {self.hosts} hosts" if self.hosts > 1 else "")

    def check(self, batch_size: int) -> None:
        """Refuse a batch that does not divide.

        Raises:
            UserError: it does not.
        """
        if batch_size % self.count:
            least = max(1, batch_size // self.count) * self.count
            raise UserError(
                f"--batch_size {batch_size}: does not divide among {self.count} devices; use {least}, for example"
            )

    def scope(self) -> contextlib.AbstractContextManager:
        """Networks that are built within have their weights on all devices."""
        return self._parallel.scope() if self._parallel else contextlib.nullcontext()

    def part(self, batch: Batch) -> Batch:
        """This process's part of a batch; all batches are of the same shapes."""
        if not self._parallel:
            return batch
        divided = divisible({len(array) for array in batch.values()}, self.count, self.hosts)
        self._parallel.divided = frozenset(length // self.hosts for length in divided)
        return {name: self._part(array) if len(array) in divided else array for name, array in batch.items()}

    def _part(self, array):
        size = len(array) // self.hosts
        return array[self.rank * size : (self.rank + 1) * size]

    def judged(self, models: dict[str, keras.Model], config: ModelConfig, policy: str) -> "Judged":
        """The networks that a validation runs, which one device of the leading process does alone."""
        return Judged(models, config, policy) if self._parallel and self.leads else Judged(models)

    def agree(self, value: int) -> int:
        """What the process of rank 0 says; all wait for it."""
        if self.hosts == 1:
            return value
        from jax.experimental import multihost_utils

        return int(multihost_utils.broadcast_one_to_all(np.int32(value)))


class Judged:
    """Networks that are judged while others are trained.

    Args:
        models: that are trained.
        config, policy: to build copies of them with; without, they themselves are judged.

    Attributes:
        models: that are judged.
    """

    def __init__(self, models: dict[str, keras.Model], config: ModelConfig | None = None, policy: str = "float32"):
        self._trained, self._alone, self.models = models, config is not None, models
        if config is not None:
            with _alone(), precision(policy):
                self.models = {name: networks.build(config, name) for name in models}

    def __call__(self, judge: Callable[[], Any]) -> Any:
        """What `judge` returns, with the weights as they are now."""
        if not self._alone:
            return judge()
        with _alone():
            for name, model in self.models.items():
                model.set_weights(self._trained[name].get_weights())
            return judge()


@contextlib.contextmanager
def _alone():
    """Within, Keras knows of one device."""
    before = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(before)


def divisible(lengths: Iterable[int], devices: int, hosts: int) -> set[int]:
    """Which lengths of first axes are divided among devices.

    Keras asks about a shape alone. So none is divided whose part of a process is as long as what is whole.
    """
    lengths = set(lengths)
    divided = {length for length in lengths if length % devices == 0}
    while clash := {length for length in divided if length // hosts in lengths - divided}:
        divided -= clash
    return divided


@contextlib.contextmanager
def opened(
    devices: int | str, hosts: int | None = None, host_id: int | None = None, coordinator: str | None = None
) -> Iterator[Devices]:
    """The devices of this training, until the block ends.

    Args:
        devices: of each host, a number or ALL.
        hosts, host_id, coordinator: how many processes there are, which one this is, from 0, and the address
            "host:port" of number 0; None: what KERAS_DISTRIBUTION_NUM_PROCESSES, KERAS_DISTRIBUTION_PROCESS_ID and
            KERAS_DISTRIBUTION_JOB_ADDRESSES say, or one process.

    Raises:
        UserError: there are not so many devices, the backend cannot, or the other hosts do not answer.
    """
    hosts = _number("NUM_PROCESSES", 1) if hosts is None else hosts
    several = hosts > 1
    if backend.BACKEND != "jax":
        _check_single(devices, several)
        yield Devices([""])
        return
    if not several:
        yield _found(devices)
        return
    import jax

    _join(hosts, host_id, coordinator)
    try:
        yield _found(devices)
    except jax.errors.JaxRuntimeError as error:
        raise UserError(
            f"--hosts {hosts}: another host has ended, or is out of reach; start all of them again, and they go on "
            f"from the last checkpoint ({str(error).splitlines()[0]:.200})"
        ) from error
    jax.distributed.shutdown()


def _check_single(devices, several):
    """Refuse what needs JAX: the replicas of TensorFlow see a part of the batch, in which half of the pairs are not."""
    if several or (devices != ALL and devices > 1) or (devices == ALL and backend.gpus() > 1):
        flag = "--hosts" if several else f"--devices {devices}"
        raise UserError(
            f"{flag}: KERAS_BACKEND={backend.BACKEND} trains on one device, as its replicas do not see the whole "
            "batch; set KERAS_BACKEND=jax"
        )


def _found(devices):
    import jax

    hosts, rank = jax.process_count(), jax.process_index()
    chosen = []
    for host in range(hosts):
        theirs = [device for device in jax.devices() if device.process_index == host]
        if devices != ALL and devices > len(theirs):
            count = "one device" if len(theirs) == 1 else f"{len(theirs)} devices"
            where = "JAX" if hosts == 1 else f"JAX on host {host}"
            raise UserError(f"--devices {devices}: {where} sees {count} ({theirs[0].platform}); use fewer")
        chosen += theirs if devices == ALL else theirs[:devices]
    return Devices([f"{device.platform}:{device.id}" for device in chosen], rank, hosts)


def _number(name, otherwise=None):
    """Of a variable that `keras.distribution.initialize` reads, too."""
    text = os.environ.get(VARIABLES + name, "")
    if text and not text.isdecimal():
        raise UserError(f"{VARIABLES}{name}={text}: is no number")
    return int(text) if text else otherwise


def _join(hosts, host_id, coordinator):
    host_id = _number("PROCESS_ID") if host_id is None else host_id
    coordinator = coordinator or os.environ.get(f"{VARIABLES}JOB_ADDRESSES")
    if host_id is None or host_id >= hosts:
        raise UserError(f"--hosts {hosts}: goes with --host_id, 0 to {hosts - 1}, another one on each host")
    if not coordinator or not re.fullmatch(r".+:\d{1,5}", coordinator):
        raise UserError(f"--hosts {hosts}: goes with --coordinator, such as 10.0.0.1:1234, the same on all hosts")
    import jax

    with contextlib.suppress(AttributeError):  # of releases that do not know it
        # JAX would take SIGTERM for itself, and go on.
        jax.config.update("jax_enable_preemption_service", False)
    _end_where_others_are_waited_for()
    try:
        keras.distribution.initialize(coordinator, hosts, host_id)
    except Exception as error:  # noqa: BLE001 - of kinds that JAX gives no name
        raise UserError(f"--coordinator {coordinator}: the hosts do not find together ({error})") from error


def _end_where_others_are_waited_for():
    """Let SIGTERM end a process that waits for other hosts in native code, where Python's handlers do not run."""
    reads, writes = os.pipe()
    os.set_blocking(writes, False)
    signal.set_wakeup_fd(writes, warn_on_full_buffer=False)

    def watch():
        while os.read(reads, 1) != bytes([signal.SIGTERM]):
            pass
        time.sleep(GRACE)  # where Python's handler runs, the process has ended by then
        os._exit(128 + signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
