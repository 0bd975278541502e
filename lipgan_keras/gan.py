"""The joint training step of LipGAN (K R et al. 2019, section 4.3) as a Keras model that `fit` drives.

One iteration, in the reference's order:
    1. fakes = generator in inference mode;
    2. with probability 1/2 train the discriminator on (fakes, audio) -> 1 and only evaluate it on (targets, unsynced
       audio) -> 1, otherwise the other way round;
    3. train the discriminator on (targets, audio) -> 0;
    4. train the generator alone on MAE + 0.01 * contrastive(0, discriminator(prediction, audio)).
"""

import numpy as np

from . import losses
from .backend import BACKEND, keras, update
from .cli import UserError

ops = keras.ops

ADVERSARIAL_WEIGHT = 0.01
ROLL = 10


class LipGAN(keras.Model):
    """Trains a generator, jointly with a discriminator if one is given.

    `fit` takes batches as `make_batch` makes them: a tuple that holds one dict. Logged are, per batch, `mae` and `total`
    and with a discriminator `disc` (loss on the fakes), `unsync` (on real faces with another's sound), `sync` (on real
    pairs) and `adv` (the contrastive loss that the generator sees).

    Args:
        generator, discriminator: models of `networks`; with None only the generator trains, on its MAE.
        lr: learning rate of Adam, for both networks.
        seed: decides the coins and the unsynced pairs of `train_iteration` where the caller does not.
    """

    def __init__(
        self,
        generator: keras.Model,
        discriminator: keras.Model | None = None,
        lr: float = 1e-4,
        adversarial_weight: float = ADVERSARIAL_WEIGHT,
        seed: int = 0,
    ):
        super().__init__(name="lipgan")
        self.generator = generator
        self.discriminator = discriminator
        self.adversarial_weight = adversarial_weight
        self.rng = np.random.default_rng(seed)
        # Adam exactly as in Keras 2.2.4, whose epsilon was the backend's 1e-7 as well.
        self.optimizers = {"generator": keras.optimizers.Adam(lr)}
        self.optimizers["generator"].build(generator.trainable_variables)
        if discriminator is not None:
            self.optimizers["discriminator"] = keras.optimizers.Adam(lr)
            self.optimizers["discriminator"].build(discriminator.trainable_variables)
            # Keras carries the state of one optimizer through a JAX step; this makes the other's part of the model.
            self.discriminator_optimizer_state = list(self.optimizers["discriminator"].variables)
        self.built = True
        # XLA compiles the step for JAX and for a GPU; on a CPU TensorFlow runs its own kernels.
        gpu = BACKEND == "tensorflow" and bool(_tensorflow_gpus())
        self.compile(optimizer=self.optimizers["generator"], jit_compile=BACKEND == "jax" or gpu)

    @property
    def models(self) -> dict[str, keras.Model]:
        """The networks by name, as `checkpoints.save_checkpoint` takes them."""
        models = {"generator": self.generator, "discriminator": self.discriminator}
        return {name: model for name, model in models.items() if model is not None}

    def train_iteration(
        self, faces: np.ndarray, audio: np.ndarray, targets: np.ndarray, train_on_fakes: bool | None = None
    ) -> dict[str, float]:
        """Run one iteration on a batch, with the very step that `fit` runs.

        Args:
            faces: (B,96,96,6) float32 in 0..1, identity frame and masked target.
            audio: (B,80,27,1) or (B,12,35,1) float32, the windows of the targets.
            targets: (B,96,96,3) float32 in 0..1.
            train_on_fakes: the coin; None tosses it.

        Returns:
            The losses (see the class) as floats.

        Raises:
            UserError: no unsynced pair can be had from the batch (a single sample, or equal sounds).
        """
        if train_on_fakes is None:
            train_on_fakes = bool(self.rng.integers(2))
        unsynced = unsynced_order(same_windows(audio)) if self.discriminator is not None else None
        logs = self.train_on_batch(make_batch(faces, audio, targets, unsynced, train_on_fakes), return_dict=True)
        return {name: float(value) for name, value in logs.items()}

    def train_step(self, *args):
        if BACKEND != "jax":
            return self._iteration(_first(args[0]))
        # Keras's JAX trainer hands the state over and wants it back; in between it lives in a scope.
        state, data = args
        variables = [
            self.trainable_variables,
            self.non_trainable_variables,
            self.optimizer.variables,
            self.metrics_variables,
        ]
        mapping = [pair for group, values in zip(variables, state) for pair in zip(group, values)]
        with keras.StatelessScope(state_mapping=mapping) as scope:
            logs = self._iteration(_first(data))
        return logs, tuple([scope.get_current_value(v) for v in group] for group in variables)

    def _iteration(self, batch):
        faces, audio, targets = batch["faces"], batch["audio"], batch["targets"]
        logs = {}
        if self.discriminator is not None:
            fakes = ops.stop_gradient(self.generator([faces, audio], training=False))
            logs |= self._train_discriminator(batch, fakes)
        return logs | self._train_generator(faces, audio, targets)

    def _train_discriminator(self, batch, fakes):
        audio, targets = batch["audio"], batch["targets"]
        unsynced_audio = ops.take(audio, batch["unsynced"], axis=0)
        coin = ops.reshape(batch["train_on_fakes"], ()) > 0.5
        state = self.discriminator.variables

        def evaluate(face, sound, label):
            return losses.contrastive(label, self.discriminator([face, sound], training=False))

        def train(face, sound, label):
            def loss():
                value = losses.contrastive(label, self.discriminator([face, sound], training=True))
                return value, value

            variables = self.discriminator.trainable_variables
            return update(loss, variables, self.optimizers["discriminator"], state)

        def nothing():
            return ops.zeros((), "float32")

        # The fakes come first whatever the coin says: what is only evaluated meets the discriminator as it was before
        # the update (fakes) or after it (unsynced). The coin picks tensors, not a branch, around the update, so that
        # the step is one graph on both backends; an evaluation has no side effect, so that can be a branch.
        fakes_before = ops.cond(coin, nothing, lambda: evaluate(fakes, audio, 1.0))
        trained = train(ops.where(coin, fakes, targets), ops.where(coin, audio, unsynced_audio), 1.0)
        unsynced_after = ops.cond(coin, lambda: evaluate(targets, unsynced_audio, 1.0), nothing)
        sync = train(targets, audio, 0.0)
        return {
            "disc": ops.where(coin, trained, fakes_before),
            "unsync": ops.where(coin, unsynced_after, trained),
            "sync": sync,
        }

    def _train_generator(self, faces, audio, targets):
        def loss():
            prediction = self.generator([faces, audio], training=True)
            mae = losses.mean_absolute_error(targets, prediction)
            if self.discriminator is None:
                return mae, {"total": mae, "mae": mae}
            adv = losses.contrastive(0.0, self.discriminator([prediction, audio], training=False))
            total = mae + self.adversarial_weight * adv
            return total, {"total": total, "mae": mae, "adv": adv}

        state = [v for model in self.models.values() for v in model.variables]
        return update(loss, self.generator.trainable_variables, self.optimizers["generator"], state)


def make_batch(faces, audio, targets, unsynced=None, train_on_fakes=False) -> tuple[dict[str, np.ndarray]]:
    """A batch as `LipGAN.fit` takes it.

    Args:
        faces, audio, targets: see `LipGAN.train_iteration`.
        unsynced: (B,) for each face the index of the sample whose audio is its unsynced pair; None without discriminator.
        train_on_fakes: the coin.
    """
    batch = {"faces": faces, "audio": audio, "targets": targets}
    if unsynced is not None:
        batch |= {"unsynced": np.asarray(unsynced, "int32"), "train_on_fakes": np.array([train_on_fakes], "float32")}
    return (batch,)


def same_windows(audio: np.ndarray) -> np.ndarray:
    """(B,B) bool: which samples of a batch have the same sound, such as two windows of silence."""
    _, label = np.unique(np.round(audio.reshape(len(audio), -1), 3), axis=0, return_inverse=True)
    label = label.ravel()
    return label[:, None] == label[None, :]


def unsynced_order(same: np.ndarray) -> np.ndarray:
    """Whose audio makes each sample's unsynced pair: the reference rolls the batch by 10, and so does this where it can.

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


def _first(data):
    """The dict of a batch, which Keras wraps as (x,), (x, None, None) or x."""
    while isinstance(data, tuple):
        data = data[0]
    return data


def _tensorflow_gpus():
    import tensorflow as tf

    return tf.config.list_physical_devices("GPU")
