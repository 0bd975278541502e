"""How fast train.py's steps are, what they are made of, and what bounds them.

    python benchmarks/train.py --data_root crops/ [--recipes NAME ...] [--precisions NAME ...] [--backends NAME ...]

Each combination runs in a process of its own. Its step is measured on one batch again and again (`step`), on batches
from the input pipeline (`with data`), and on JAX also without Keras's `fit` around it, which tells the share of the
host. Beside it stand one forward pass of the generator, the product of two large matrices, and the same arithmetic in
plain Keras: one model a network, `predict_on_batch` and `train_on_batch`, as the original's training loop has it.

Floating-point operations are counted by XLA in the step's graph, forward and backward, before it is optimised.
`--parts` tells what a step is made of: its time with each part left out in turn. `--changes` tells what could make it
faster: its time with each of CHANGES alone, and on one thread (TensorFlow).
"""

import argparse
import contextlib
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from puppet_ablation import ROOT, machine, table

from lipgan_keras.utils import cli, processes
from lipgan_keras.utils.cli import ArgumentParser
from lipgan_keras.utils.errors import UserError

BACKENDS = "tensorflow", "jax"
SIDE = {"cpu": 2048, "gpu": 8192}  # of the matrices whose product tells the device's rate
COLUMNS = (
    "recipe", "precision", "backend", "batch", "samples/s", "step, ms", "with data, ms", "share of data",
    "share of host", "GFLOPs a sample", "share of the matrix rate", "forward passes", "counted", "over plain Keras",
    "memory, MB", "first step, s",
)  # fmt: skip


def main():
    from lipgan_keras.training import config

    parser = ArgumentParser(description="Speed of training steps, and what bounds it.")
    parser.add_argument("--data_root", required=True, help="folder or pack of preprocessed clips")
    parser.add_argument("--recipes", nargs="+", choices=list(config.RECIPES), default=["lipgan", "lipsync"])
    parser.add_argument("--precisions", nargs="+", choices=config.PRECISIONS, default=["float32"])
    parser.add_argument(
        "--backends", nargs="+", choices=BACKENDS, default=[os.environ.get("KERAS_BACKEND", BACKENDS[0])]
    )
    parser.add_argument("--batch_sizes", nargs="+", type=cli.integer(2), default=[96])
    parser.add_argument("--model", default="residual")
    parser.add_argument("--decoder")
    parser.add_argument("--width", type=cli.limited("width"), default=1.0)
    parser.add_argument("--num_workers", type=cli.integer(1), help="of the input pipeline (default: as train.py)")
    parser.add_argument("--seconds", type=cli.positive(), default=8.0, help="at least, of each measurement")
    parser.add_argument(
        "--no_plain", action="store_true", help="leave plain Keras away, whose models take long to build"
    )
    parser.add_argument("--parts", action="store_true", help="the step's time with each part left out in turn, alone")
    parser.add_argument("--changes", action="store_true", help="the step's time with each change alone")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)  # the whole step, without variants
    parser.add_argument("--one", help=argparse.SUPPRESS)  # a combination, in this process
    args = parser.parse_args()
    if args.one:
        print(json.dumps((of_variants if args.parts or args.changes else measure)(args, *json.loads(args.one))))
        return
    print(f"{machine()}; {args.model}, width {args.width:g}; load average {os.getloadavg()[0]:.1f}", flush=True)
    rows = []
    for one in itertools.product(args.recipes, args.precisions, args.backends, args.batch_sizes):
        found = with_its_backend(one)
        if args.parts or args.changes:
            whole = found["whole"]
            if args.changes and one[2] == "tensorflow":
                found["1 thread"] = with_its_backend(one, threads=1)["whole"]
            made = [[*one, name, f"{1e3 * taken:.0f}", f"{100 * taken / whole:.0f} %"] for name, taken in found.items()]
            print("", *table([*COLUMNS[:4], "step", "ms", "of the whole"], made), sep="\n", flush=True)
            continue
        rows.append([*one, *(shown(column, found) for column in COLUMNS[4:])])
        print(*(f"{name} {cell}" for name, cell in zip(COLUMNS, rows[-1], strict=True)), sep=", ", flush=True)
        rate = found["matrix rate"] / 1e12
        print(f"  matrix products: {rate:.2f} TFLOP/s; data alone {found['data alone']:.0f} samples/s", flush=True)
    if rows:
        print("", *table(COLUMNS, rows), sep="\n")


def shown(column, found):
    value = found.get(column)
    if value is None:
        return ""
    return f"{100 * value:.0f} %" if column.startswith("share") else f"{value:.{0 if value >= 100 else 2}f}"


def with_its_backend(one, threads=None):
    """What is found with the backend that `one` names; with so many threads of TensorFlow, of the whole step alone."""
    command = [sys.executable, str(Path(__file__).resolve()), *sys.argv[1:], "--one", json.dumps(one)]
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"KERAS_BACKEND": one[2], "PYTHONPATH": paths}
    if threads:
        command += ["--alone"]
        environment |= dict.fromkeys(processes.THREADS, str(threads))
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise UserError(f"{' '.join(map(str, one))}: ended with exit code {done.returncode}; see above")
    return json.loads(done.stdout.splitlines()[-1])


class Variant(NamedTuple):
    """What is unlike the recipe's own step.

    Attributes:
        flags: of `TrainConfig`.
        multiple: channels are rounded up to a multiple of it.
        islands: whether the layers of ISLANDS stay float32 in another precision.
        steps: in one call (`steps_per_execution`).
    """

    flags: dict = {}
    multiple: int = 1
    islands: bool = True
    steps: int = 1


# What is left out of a recipe's step
PARTS = {
    "lipgan": {"without the discriminator": Variant({"disc_weight": 0.0})},
    "lipsync": {
        "the lip-sync discriminator frozen": Variant({"sync_mode": "expert"}),
        "without it": Variant({"sync_weight": 0.0}),
        "without the visual-quality discriminator": Variant({"quality_weight": 0.0}),
        "without both": Variant({"sync_weight": 0.0, "quality_weight": 0.0}),
    },
}
CHANGES = {
    "8 steps in one call": Variant(steps=8),
    "channels in multiples of 16": Variant(multiple=16),
    "bfloat16": Variant({"precision": "mixed_bfloat16"}),
    "bfloat16, without islands of float32": Variant({"precision": "mixed_bfloat16"}, islands=False),
}
ISLANDS = "InstanceNormalization", "AveragePooling2D"  # within networks; losses need float32
ROUNDS = 3


def of_variants(args, recipe, precision, backend_name, batch_size) -> dict[str, float]:
    """Seconds of the whole step, and of its variants, on the same batch; medians of ROUNDS rounds."""
    from lipgan_keras import checkpoints

    variants = CHANGES if args.changes else PARTS.get(recipe, {})
    if args.alone:
        variants = {}
    made = {"whole": (built(args, recipe, precision, batch_size), 1)}
    with tempfile.TemporaryDirectory() as folder:
        learned = Path(folder, "sync.h5")
        lipgan, _, model_config = made["whole"][0]
        if "sync" in lipgan.models:
            checkpoints.save_checkpoint(learned, {"sync": lipgan.models["sync"]}, model_config)
        for name, variant in variants.items():
            begins = {"resume_sync": str(learned)} if "sync_mode" in variant.flags else {}
            with unlike(variant):
                one = built(args, recipe, precision, batch_size, variant.flags | begins)
            made[name] = one, variant.steps
    taken: dict[str, list[float]] = {name: [] for name in made}
    for _ in range(ROUNDS):
        for name, ((lipgan, data, _), steps) in made.items():
            taken[name].append(of_fit(lipgan, itertools.repeat(data.batch(0)), args.seconds, steps)[0])
    found = {name: statistics.median(values) for name, values in taken.items()}
    if args.parts:
        lipgan, data, _ = made["whole"][0]
        found["one forward pass of the generator"] = of_forward(lipgan.generator, data.batch(0)[0], args.seconds)[0]
    return found


@contextlib.contextmanager
def unlike(variant):
    """Networks that are built within are of this variant."""
    from lipgan_keras import networks
    from lipgan_keras.utils.backend import keras

    channels, init = networks.Blocks.channels, keras.layers.Layer.__init__

    def without_islands(self, *args, dtype=None, **kwargs):
        init(self, *args, dtype=None if type(self).__name__ in ISLANDS else dtype, **kwargs)

    networks.Blocks.channels = lambda self, n: -(-channels(self, n) // variant.multiple) * variant.multiple
    if not variant.islands:
        keras.layers.Layer.__init__ = without_islands
    try:
        yield
    finally:
        networks.Blocks.channels, keras.layers.Layer.__init__ = channels, init


def built(args, recipe, precision, batch_size, flags=None):
    """The networks and optimizers of a training, its data, and its configuration."""
    from lipgan_keras.training import config, trainer
    from lipgan_keras.training.config import TrainConfig

    with tempfile.TemporaryDirectory() as folder:
        flags = {"precision": precision} | (flags or {})
        quality = flags.get("quality_weight", config.RECIPES[recipe].quality_weight)
        options = TrainConfig(
            args.data_root, recipe=recipe, batch_size=batch_size, model=args.model, decoder=args.decoder,
            width=args.width, quality_start=0 if quality else None, logdir=folder, **flags,
        ).completed()  # fmt: skip
        clips = trainer.clip_folder.find_clips(options.data_root, options.audio, progress=False)
        model_config = trainer._config(options, None)
        data = trainer._dataset(options, model_config, clips)
        run = trainer.Run(options, model_config, None, Path(folder, "checkpoint.h5"), None, wait=False)
        run.next_stage()
    return run.lipgan, data, model_config


def measure(args, recipe, precision, backend_name, batch_size) -> dict[str, float]:
    from lipgan_keras.utils.backend import has_gpu

    lipgan, data, _ = built(args, recipe, precision, batch_size)
    samples = data.samples or data.sync_samples
    batch = data.batch(0)
    side = SIDE["gpu" if has_gpu() else "cpu"]
    found = {"matrix rate": 2 * side**3 / of_matrices(side, precision, args.seconds)}
    step, found["first step, s"] = of_fit(lipgan, itertools.repeat(batch), args.seconds)
    alone, whole = of_data(lipgan, data, args, has_gpu())
    found["data alone"] = samples / alone
    found |= {"samples/s": samples / whole, "step, ms": 1e3 * step, "with data, ms": 1e3 * whole}
    found["share of data"] = max(0.0, 1 - step / whole)
    operations = None
    if backend_name == "jax":
        operations, device = of_step(lipgan, batch, args.seconds)
        found["share of host"] = max(0.0, 1 - device / step)
        found["memory, MB"] = memory()
        found["GFLOPs a sample"] = operations and operations / samples / 1e9
        found["share of the matrix rate"] = operations and operations / step / found["matrix rate"]
    if lipgan.generator is not None:
        forward, counted = of_forward(lipgan.generator, batch[0], args.seconds)
        found["forward passes"] = step / forward
        found["counted"] = operations / counted if operations and counted else None
    if not args.no_plain:
        found["over plain Keras"] = step / of_plain(lipgan, batch[0], args.seconds)
    return found


def median_of(call, seconds, warm=2) -> float:
    """The median of the seconds that a call takes, which waits for its result."""
    for _ in range(warm):
        call()
    taken, end = [], time.perf_counter() + seconds
    while len(taken) < 5 or time.perf_counter() < end:
        began = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def of_matrices(side, precision, seconds):
    """Seconds of a product of two square matrices, in the precision that convolutions have."""
    from lipgan_keras.utils.backend import BACKEND, keras

    dtype = "bfloat16" if precision == "mixed_bfloat16" else "float32"
    a, b = (keras.ops.cast(keras.random.normal((side, side), seed=seed), dtype) for seed in (1, 2))
    times = 8  # products that wait for one another, so that the call around them does not count

    def product(a, b):
        for _ in range(times):
            a = a @ b * 0.02
        return a[:1, :1]

    if BACKEND == "jax":
        import jax

        run = jax.jit(product)
    else:
        import tensorflow as tf

        run = tf.function(product)
    return median_of(lambda: keras.ops.convert_to_numpy(keras.ops.cast(run(a, b), "float32")), seconds / 2) / times


class Clock:
    """The seconds of a step within `fit`, without those of the first ones."""

    def __init__(self, seconds, steps):
        from lipgan_keras.utils.backend import keras

        self.seconds, self.steps, self.value = seconds, steps, None
        self.callback = keras.callbacks.LambdaCallback(on_train_batch_end=self.end)
        self.done, self.began = 0, None
        self.made, self.first = time.perf_counter(), None

    def end(self, batch, logs):
        self.done += 1
        if self.done == 1:
            self.wait(logs)
            self.first = time.perf_counter() - self.made
        if self.done == 3:
            self.wait(logs)
            self.began = time.perf_counter()
        elif self.began and self.done * self.steps % 10 == 0:  # as train.py fetches the losses
            self.wait(logs)
            taken = time.perf_counter() - self.began
            if taken > self.seconds:
                self.value = taken / (self.done - 3) / self.steps
                self.callback.model.stop_training = True

    @staticmethod
    def wait(logs):
        float(next(iter(logs.values())))


def of_fit(lipgan, batches, seconds, steps=1) -> tuple[float, float]:
    """Seconds of a step within `fit`, and of the first call, which compiles it; so many steps in one call."""
    clock = Clock(seconds, steps)
    batches = (batch for batch in batches)  # `fit` takes no other iterator
    lipgan.steps_per_execution = steps
    lipgan.fit(batches, steps_per_epoch=10**6, epochs=1, shuffle=False, verbose=0, callbacks=[clock.callback])
    return clock.value, clock.first


def of_data(lipgan, data, args, gpu) -> tuple[float, float]:
    """Seconds of a batch that nothing trains on, and of a step on such batches; one loader makes them all."""
    from lipgan_keras.data.loader import Loader

    with Loader(data, 0, args.num_workers, processes=gpu) as loader:
        batches = iter(loader)
        for _ in range(2 * loader.workers + 1):
            next(batches)
        began, count = time.perf_counter(), 0
        while (taken := time.perf_counter() - began) < args.seconds / 2:
            next(batches)
            count += 1
        return taken / max(count, 1), of_fit(lipgan, batches, 1.5 * args.seconds)[0]


def of_step(lipgan, batch, seconds) -> tuple[float, float]:
    """Floating-point operations of a step on JAX, and its seconds where nothing but XLA runs."""
    import jax

    names = ("trainable_variables", "non_trainable_variables", "optimizer_variables", "metrics_variables")
    batch = jax.tree.map(jax.numpy.asarray, batch)
    state = lipgan._get_jax_state(**dict.fromkeys(names, True))
    lowered = jax.jit(lipgan.train_step, donate_argnums=0).lower(state, batch)
    kept, again = [jax.tree.map(jax.numpy.array, state)], itertools.repeat(batch)  # the step gives its state away

    def call():
        logs, kept[0] = lipgan.train_function(kept[0], again)
        jax.block_until_ready(logs)

    return counted(lowered), median_of(call, seconds)


def counted(lowered) -> float | None:
    """Floating-point operations, where XLA counts them: on a CPU."""
    found = lowered.cost_analysis()
    return found and float(found["flops"])


def memory() -> float | None:
    """MB that the device held at most; None where it does not tell."""
    import jax

    found = jax.devices()[0].memory_stats() or {}
    return found["peak_bytes_in_use"] / 1e6 if "peak_bytes_in_use" in found else None


def of_forward(generator, batch, seconds) -> tuple[float, float | None]:
    """Seconds of the generator's forward pass on the faces of a batch, and its operations on JAX."""
    from lipgan_keras.utils.backend import BACKEND, keras

    inputs = [keras.ops.cast(batch["faces"], "float32") / 255, keras.ops.convert_to_tensor(batch["audio"])]
    if BACKEND == "tensorflow":
        import tensorflow as tf

        run = tf.function(lambda inputs: generator(inputs, training=False))
        return median_of(lambda: run(inputs).numpy(), seconds / 2), None
    import jax

    state = [v.value for v in generator.trainable_variables], [v.value for v in generator.non_trainable_variables]
    lowered = jax.jit(lambda a, b, x: generator.stateless_call(a, b, x, training=False)[0]).lower(*state, inputs)
    run = lowered.compile()
    taken = median_of(lambda: jax.block_until_ready(run(*state, inputs)), seconds / 2)
    return taken, counted(lowered)


# -------------------------------------------------------------------------------------------------------- plain Keras


def of_plain(lipgan, batch, seconds) -> float:
    """Seconds of the same arithmetic as a script would write it, with Keras's own training steps."""
    from lipgan_keras import losses
    from lipgan_keras.utils.backend import keras

    ops, models = keras.ops, lipgan.models
    images = {name: value / np.float32(255) for name, value in batch.items() if value.dtype == np.uint8}
    batch = batch | images

    def compiled(inputs, outputs, loss, frozen=()):
        model = keras.Model(inputs, outputs)

        class Trained(keras.Model):
            def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
                return loss(y, y_pred)

        for one in frozen:
            one.trainable = False
        trained = Trained(model.inputs, model.outputs)
        trained.compile(keras.optimizers.Adam(1e-4), jit_compile=lipgan.jit_compile)
        return trained

    calls = []
    generator, disc, sync, quality = (models.get(name) for name in ("generator", "discriminator", "sync", "quality"))
    fakes = {}

    def predict():
        fakes["now"] = generator.predict_on_batch([batch["faces"], batch["audio"]])

    if disc is not None or quality is not None:
        calls.append(predict)
    if disc is not None:
        alone = compiled(disc.inputs, disc.outputs, lambda y, d: losses.contrastive(y, keras.tree.flatten(d)[0]))
        ones, zeros = np.ones((len(batch["faces"]), 1), "float32"), np.zeros((len(batch["faces"]), 1), "float32")
        calls.append(lambda: alone.train_on_batch([fakes["now"], batch["audio"]], ones))
        calls.append(lambda: alone.test_on_batch([batch["targets"], batch["audio"][batch["unsynced"]]], ones))
        calls.append(lambda: alone.train_on_batch([batch["targets"], batch["audio"]], zeros))
    if sync is not None:
        learns = compiled(sync.inputs, sync.outputs, lambda y, found: losses.matching(*found, y))
        calls.append(lambda: learns.train_on_batch([batch["mouths"], batch["sounds"]], batch["relation"]))
    if quality is not None:
        weights = np.asarray(lipgan._quality_weights(ops.convert_to_tensor(batch["masks"])))
        count = len(batch["faces"])

        def hinge(y, logits):
            logits = keras.tree.flatten(logits)[0]
            return losses.hinge_discriminator(logits[:count], logits[count:], y[:count])

        tells, both = compiled(quality.inputs, quality.outputs, hinge), np.concatenate([weights, weights])

        def pasted():
            half = batch["targets"].shape[1] // 2
            return np.concatenate([batch["targets"][:, :half], fakes["now"][:, half:]], axis=1)

        calls.append(lambda: tells.train_on_batch(np.concatenate([batch["targets"], pasted()]), both))
    for call in calls:
        call()  # Keras reads what is trainable at the first step; then it may be frozen for the generator's
    if generator is not None:
        calls.append(plain_generator(lipgan, batch, compiled))
    return median_of(lambda: [call() for call in calls], seconds)


def plain_generator(lipgan, batch, compiled):
    """A training step of the generator on the reconstruction and what each discriminator says."""
    from lipgan_keras import losses
    from lipgan_keras.utils.backend import keras

    ops, models = keras.ops, lipgan.models
    face, audio = (keras.Input(one.shape[1:]) for one in models["generator"].inputs)
    image = models["generator"]([face, audio])
    inputs, outputs, given = [face, audio], [image], [batch["faces"], batch["audio"]]
    frozen = [models[name] for name in models if name != "generator"]
    names = [name for name in models if name != "generator"]
    if "discriminator" in models:
        outputs.append(models["discriminator"]([image, audio]))
    if "quality" in models:
        outputs.append(models["quality"](image))

    def loss(y, found):
        found = dict(
            zip(["image", *(name for name in names if name != "sync")], keras.tree.flatten(found), strict=True)
        )
        total = losses.lip_weighted_mae(y["targets"], found["image"], y["masks"], lipgan.weighting.lips)
        if "discriminator" in found:
            total = total + losses.contrastive(0.0, found["discriminator"])
        if "quality" in found:
            total = total - ops.mean(found["quality"])
        if "sync" in models:
            total = total + lipgan._match(y, found["image"])
        return total

    together = compiled(inputs, outputs, loss, frozen)
    return lambda: together.train_on_batch(given, batch)


if __name__ == "__main__":
    cli.run(main)
