"""The joint training step as a Keras model that `fit` drives: LipGAN's (K R et al. 2019, section 4.3) and its
extensions.

One iteration; each part is there if its network is:

    1. fakes = generator in inference mode;
    2. the contrastive discriminator, in the reference's order: with probability 1/2 train it on (fakes, audio) -> 1 and
       only evaluate it on (targets, unsynced audio) -> 1, otherwise the other way round; then train it on
       (targets, audio) -> 0;
    3. train the lip-sync discriminator on real mouths, which have to find their own audio among others. Never on fakes:
       it would learn to see what is generated and not what is in sync (Prajwal et al. 2020, arXiv 2008.10010, 3.1);
    4. train the visual-quality discriminator on targets, and on fakes with their targets' upper half;
    5. train the generator alone, on the lip-weighted MAE and on what each discriminator says of its output.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Iterator

import numpy as np

from . import blocks, losses
from .config import ADVERSARIAL_WEIGHT, lower_half
from .unsynced import pairs, same_windows, unsynced_order
from .utils import backend
from .utils.backend import has_gpu, keras, update
from .utils.optimizer import Adam

ops = keras.ops
SHARE_MOMENTUM = 0.99  # of the running means behind `lip_share`
LARGEST_LIP_WEIGHT = 1000.0
MOUTH_QUALITY = 4.0  # weight of a place all mouth in the visual-quality discriminator's judgement, against 1 elsewhere
QUALITY_BETA = 0.5  # Adam's first momentum for it (Radford et al. 2016, arXiv 1511.06434)
AVERAGED = ("generator", "sync")  # the networks that are used after training


@dataclasses.dataclass
class Weights:
    """What each part counts in the generator's loss.

    Attributes:
        lips: weight of a pixel inside the lips, against 1 outside.
        lip_share: in place of it: the share of the reconstruction loss that the lips shall have, 0..1.
        disc, sync, quality: of the discriminators' losses, beside a reconstruction loss that counts 1.
        moved, painted: for a generator that moves the identity frame's pixels (see `blocks.motion`): of the
            reconstruction loss of these alone, so that lips learn to move before the mask shows it; and of the share of
            the lower half that is painted, which then is what no pixel of the identity frame shows.
    """

    lips: float = 1.0
    lip_share: float | None = None
    disc: float = ADVERSARIAL_WEIGHT
    sync: float = 0.0
    quality: float = 0.0
    moved: float = 0.5
    painted: float = 0.005


class LipGAN(keras.Model):
    """Trains a generator, jointly with the discriminators that are given; or the lip-sync discriminator alone.

    `fit` takes batches as `make_batch` makes them: a tuple that holds one dict. Logged are, per batch:

    - mae, lip_mae, total: error of the image, and inside the lips (soft mask); the generator's loss;
    - lip_share, lip_weight: the lips' share of the reconstruction loss; what `Weights.lip_share` makes of it, if set;
    - moved, painted: see `Weights`, of a generator that moves pixels;
    - disc, unsync, sync, adv: contrastive discriminator: loss on fakes, on real faces with another's sound, on real
      pairs; and the generator's;
    - match, match_adv, quality, quality_adv: the lip-sync and the visual-quality discriminator's, and the generator's.

    Args:
        generator: model of `networks`; None trains the lip-sync discriminator alone.
        discriminator, sync, quality: models of `networks`; None: without it.
        lr: learning rate of Adam, for all networks; or a `keras.optimizers.schedules.LearningRateSchedule` over the
            steps.
        weights: of the generator's loss.
        train_sync: False takes `sync` as an expert that does not learn.
        seed: decides the coins and the unsynced pairs of `train_iteration` where the caller does not.
        ema: momentum of running means of the weights of `AVERAGED`, which `averaged` puts in their place, less at
            first; 0: none.
        clipnorm: largest norm of the gradients of a network; None: any.
        freeze_norm: the generator's batch normalisation stays as it is, scale and offset too: while the rest is trained
            it goes by the statistics that it has, and not by those of a small batch, which are noise to fine detail.
            The layers are set so for good.
    """

    def __init__(
        self,
        generator: keras.Model | None,
        discriminator: keras.Model | None = None,
        sync: keras.Model | None = None,
        quality: keras.Model | None = None,
        lr: float | keras.optimizers.schedules.LearningRateSchedule = 1e-4,
        weights: Weights | None = None,
        train_sync: bool = True,
        seed: int = 0,
        ema: float = 0.0,
        clipnorm: float | None = None,
        freeze_norm: bool = False,
    ):
        super().__init__(name="lipgan")
        # Each of the four may be None. The steps below run only where theirs is there, which types cannot say.
        self.generator: keras.Model = generator
        self.discriminator: keras.Model = discriminator
        self.sync: keras.Model = sync
        self.quality: keras.Model = quality
        self.weighting = weights or Weights()
        self.rng = np.random.default_rng(seed)
        if freeze_norm and generator is not None:
            for layer in generator._flatten_layers(include_self=False):
                layer.trainable = layer.trainable and not isinstance(layer, keras.layers.BatchNormalization)
        # Adam exactly as in Keras 2.2.4, whose epsilon was the backend's 1e-7 as well.
        # A schedule goes by the steps of the first network, the last to be trained in each: others have two updates a
        # step, or start later.
        first: Adam
        rate = lr if isinstance(lr, int | float) else lambda: lr(first.iterations)
        self.optimizers, self.statistics = {}, {}
        for name, model in self.models.items():
            if name != "sync" or train_sync:
                options = {"beta_1": QUALITY_BETA} if name == "quality" else {}
                if ema and name in AVERAGED:
                    options |= {"use_ema": True, "ema_momentum": ema}
                    # The optimizer averages what it trains; the statistics of batch normalisation are to go with it.
                    self.statistics[name] = [
                        self._like(v, f"{name}_{i}") for i, v in enumerate(model.non_trainable_weights)
                    ]
                self.optimizers[name] = Adam(rate, global_clipnorm=clipnorm, **options)
                self.optimizers[name].build(model.trainable_variables)
        if sync is not None:
            self.mouth_tower = keras.Model(sync.inputs[0], sync.outputs[0])
            self.sound_tower = keras.Model(sync.inputs[1], sync.outputs[1])
        self.moving: keras.Model = None
        if generator is not None and (parts := blocks.motion(generator)):
            self.moving = keras.Model(generator.inputs, [generator.output, parts["moved"], parts["mask"]])
        # Running means of the loss inside and outside of the lips.
        self.lip_means = self.add_weight(name="lip_means", shape=(2,), initializer="zeros", trainable=False)
        # Keras carries the state of one optimizer through a JAX step; this makes the others' part of the model.
        first, *others = self.optimizers.values()
        self.other_optimizers_state = [v for optimizer in others for v in optimizer.variables]
        self.built = True
        # XLA compiles the step for JAX and for a GPU; on a CPU TensorFlow runs its own kernels.
        gpu = backend.BACKEND == "tensorflow" and has_gpu()
        self.compile(optimizer=first, jit_compile=backend.BACKEND == "jax" or gpu)

    def _like(self, variable, name):
        return self.add_weight(name=name, shape=variable.shape, initializer="zeros", trainable=False)

    @contextlib.contextmanager
    def averaged(self) -> Iterator[dict[str, list[np.ndarray]]]:
        """Within, the networks of `AVERAGED` hold their averages, if there are any; gives their own weights by name."""
        raw = {name: _copies(self.models[name].get_weights()) for name in self.statistics}
        for name, averages in self.statistics.items():
            model, optimizer = self.models[name], self.optimizers[name]
            if int(optimizer.iterations):
                keras.optimizers.Adam.finalize_variable_values(optimizer, model.trainable_variables)
                for variable, average in zip(model.non_trainable_weights, averages, strict=True):
                    variable.assign(average)
                model.set_weights(_copies(model.get_weights()))  # on JAX they would share memory that it gives away
        try:
            yield raw
        finally:
            for name, values in raw.items():
                self.models[name].set_weights(values)

    @property
    def models(self) -> dict[str, keras.Model]:
        """The networks by name, as `checkpoints.save_checkpoint` takes them."""
        names = "generator", "discriminator", "sync", "quality"
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    def train_iteration(
        self,
        faces: np.ndarray,
        audio: np.ndarray,
        targets: np.ndarray,
        train_on_fakes: bool | None = None,
        masks: np.ndarray | None = None,
    ) -> dict[str, float]:
        """Run one iteration on a batch of single frames, with the very step that `fit` runs.

        Args:
            faces: (B,96,96,6) float32 in 0..1, identity frame and masked target.
            audio: (B,80,27,1) or (B,12,35,1) float32, the windows of the targets.
            targets: (B,96,96,3) float32 in 0..1.
            train_on_fakes: the coin; None tosses it.
            masks: see `make_batch`.

        Returns:
            The losses (see the class) as floats.

        Raises:
            UserError: no unsynced pair can be had from the batch (a single sample, or equal sounds).
        """
        if train_on_fakes is None:
            train_on_fakes = bool(self.rng.integers(2))
        unsynced = unsynced_order(same_windows(audio)) if self.discriminator is not None else None
        batch = make_batch(faces, audio, targets, unsynced, train_on_fakes, masks)
        logs = self.train_on_batch(batch, return_dict=True)
        return {name: float(value) for name, value in logs.items()}

    def train_step(self, *args):
        if backend.BACKEND != "jax":
            return self._iteration(_batches(args[0]))
        # Keras's JAX trainer hands the state over and wants it back; in between it lives in a scope.
        state, data = args
        variables = [
            self.trainable_variables,
            self.non_trainable_variables,
            self.optimizer.variables,
            self.metrics_variables,
        ]
        mapping = [
            pair for group, values in zip(variables, state, strict=False) for pair in zip(group, values, strict=False)
        ]
        with keras.StatelessScope(state_mapping=mapping) as scope:
            logs = self._iteration(_batches(data))
        return logs, tuple([scope.get_current_value(v) for v in group] for group in variables)

    def _iteration(self, batches):
        # Images come as bytes: a quarter of what has to be made, copied and sent to a GPU.
        batches = [{name: _unit(value) for name, value in batch.items()} for batch in batches]
        logs = {}
        if self.discriminator is not None or self.quality is not None:
            for batch in batches:
                batch["fakes"] = ops.stop_gradient(self.generator([batch["faces"], batch["audio"]], training=False))
        if self.discriminator is not None:
            logs |= self._train_discriminator(batches)
        for name, loss in (
            ("sync", self._sync_loss),
            ("quality", self._quality_loss),
            ("generator", self._generator_loss),
        ):
            if name in self.optimizers:
                logs |= self._train(name, loss, batches)
        for name, averages in self.statistics.items():
            optimizer = self.optimizers[name]
            keep = optimizer.momentum_after(optimizer.iterations - 1)  # it has made its step
            for average, variable in zip(averages, self.models[name].non_trainable_weights, strict=True):
                average.assign(keep * average + (1 - keep) * variable)
        return logs

    def _train(self, name, loss, batches):
        """One step of a network's optimizer."""
        model = self.models[name]
        state = model.variables
        if name == "generator":  # its loss asks the others
            state = [v for network in self.models.values() for v in network.variables] + [self.lip_means]
        return update(loss, batches, model.trainable_variables, self.optimizers[name], state)

    def _train_discriminator(self, batches):
        coin = ops.reshape(batches[0]["train_on_fakes"], ()) > 0.5
        for batch in batches:
            batch["unsynced_audio"] = ops.take(batch["audio"], batch["unsynced"], axis=0)
            batch["unlike"] = ops.where(coin, batch["fakes"], batch["targets"])
            batch["unlike_audio"] = ops.where(coin, batch["audio"], batch["unsynced_audio"])

        def loss(batch, face, audio, label, training):
            value = losses.contrastive(label, self.discriminator([batch[face], batch[audio]], training=training))
            return value, value

        def evaluate(face, audio):
            return sum(loss(batch, face, audio, 1.0, False)[0] for batch in batches) / len(batches)

        def train(face, audio, label):
            of_batch = functools.partial(loss, face=face, audio=audio, label=label, training=True)
            return self._train("discriminator", of_batch, batches)

        def nothing():
            return ops.zeros((), "float32")

        # The fakes come first whatever the coin says: what is only evaluated meets the discriminator as it was before
        # the update (fakes) or after it (unsynced). The coin picks tensors, not a branch, around the update, so that
        # the step is one graph on both backends; an evaluation has no side effect, so that can be a branch.
        fakes_before = ops.cond(coin, nothing, lambda: evaluate("fakes", "audio"))
        trained = train("unlike", "unlike_audio", 1.0)
        unsynced_after = ops.cond(coin, lambda: evaluate("targets", "unsynced_audio"), nothing)
        sync = train("targets", "audio", 0.0)
        return {
            "disc": ops.where(coin, trained, fakes_before),
            "unsync": ops.where(coin, unsynced_after, trained),
            "sync": sync,
        }

    def _sync_loss(self, batch):
        mouths, sounds = self.sync([batch["mouths"], batch["sounds"]], training=True)
        value = losses.matching(mouths, sounds, batch["relation"])
        return value, {"match": value}

    def _pasted(self, batch, images):
        """The lower half of images below the upper half of their targets, as it will be seen: so the visual-quality
        discriminator can tell it by a seam, and where it is less sharp than the face around it.
        """
        half = lower_half(images.shape[1])
        return ops.concatenate([batch["targets"][:, :half], images[:, half:]], axis=1)

    def _quality_loss(self, batch):
        fakes = self._pasted(batch, ops.round(255 * batch["fakes"]) / 255)  # as true images are: the rest gives away
        logits = self.quality(ops.concatenate([batch["targets"], fakes]), training=True)
        count = ops.shape(fakes)[0]
        weights = self._quality_weights(batch["masks"])
        value = losses.hinge_discriminator(logits[:count], logits[count:], weights)
        return value, {"quality": value}

    def _quality_weights(self, masks):
        """The mouth's share of each logit's place, as a weight."""
        cell = masks.shape[1] // self.quality.output_shape[1]
        return 1.0 + (MOUTH_QUALITY - 1.0) * ops.average_pool(masks, cell, cell)

    def _generator_loss(self, batch):
        if self.moving is None:
            prediction = self.generator([batch["faces"], batch["audio"]], training=True)
            total, logs = self._reconstruction(batch, prediction)
        else:
            prediction, *parts = self.moving([batch["faces"], batch["audio"]], training=True)
            total, logs = self._reconstruction(batch, prediction)
            logs |= self._motion(batch, *parts)
            total = total + self.weighting.moved * logs["moved"] + self.weighting.painted * logs["painted"]
        if self.discriminator is not None:
            distance = self.discriminator([prediction, batch["audio"]], training=False)
            logs["adv"] = losses.contrastive(0.0, distance)
            total = total + self.weighting.disc * logs["adv"]
        if self.sync is not None:
            logs["match_adv"] = self._match(batch, prediction)
            total = total + self.weighting.sync * logs["match_adv"]
        if self.quality is not None:
            logits = self.quality(self._pasted(batch, prediction), training=False)
            logs["quality_adv"] = losses.hinge_generator(logits, self._quality_weights(batch["masks"]))
            total = total + self.weighting.quality * logs["quality_adv"]
        return total, {"total": total} | logs

    def _reconstruction(self, batch, prediction):
        """The loss, and its values for the log."""
        targets, masks, weight = batch["targets"], batch["masks"], self.weighting.lips
        mae = losses.mean_absolute_error(targets, prediction)
        lips, rest = losses.lip_parts(targets, ops.stop_gradient(prediction), masks)
        logs = {"mae": mae, "lip_mae": lips / ops.mean(masks)}
        share = self.weighting.lip_share
        if share is not None:
            # Both means start at 0 and have seen the same steps, so that their ratio needs no correction.
            now = ops.stack([lips, rest])
            means = SHARE_MOMENTUM * ops.convert_to_tensor(self.lip_means) + (1 - SHARE_MOMENTUM) * now
            self.lip_means.assign(means)
            weight = share / (1 - share) * means[1] / ops.maximum(means[0], 1e-12)
            weight = ops.stop_gradient(ops.minimum(weight, LARGEST_LIP_WEIGHT))
            logs["lip_weight"] = weight
        logs["lip_share"] = weight * lips / ops.maximum(weight * lips + rest, 1e-12)
        if share is None and weight == 1:
            return mae, logs
        return losses.lip_weighted_mae(targets, prediction, masks, weight), logs

    def _motion(self, batch, moved, mask):
        hidden = mask[:, lower_half(mask.shape[1]) :]
        return {
            "moved": losses.lip_weighted_mae(batch["targets"], moved, batch["masks"], self.weighting.lips),
            "painted": 1.0 - ops.mean(hidden),
        }

    def _match(self, batch, prediction):
        """What the lip-sync discriminator says of the generated mouths, each run of which is to find its own audio."""
        rows, columns = batch["crop_rows"], batch["crop_columns"]
        frames = self.sync.inputs[1].shape[-1]
        runs = ops.reshape(prediction[: ops.shape(rows)[0] * frames], (-1, frames, *prediction.shape[1:]))
        mouths = ops.einsum("nay,ntyxc->ntaxc", rows, runs)
        mouths = ops.einsum("nbx,ntaxc->nabtc", columns, mouths)
        mouths = ops.reshape(mouths, (-1, *self.sync.inputs[0].shape[1:]))
        sounds = ops.stop_gradient(self.sound_tower(batch["sounds"], training=False))
        relation = batch["relation"][: ops.shape(mouths)[0]]
        return losses.matching(self.mouth_tower(mouths, training=False), sounds, relation)


def make_batch(faces, audio, targets, unsynced=None, train_on_fakes=False, masks=None) -> tuple[dict[str, np.ndarray]]:
    """A batch as `LipGAN.fit` takes it, for a generator and the contrastive discriminator; `dataset.Dataset` makes
    more.

    With the lip-sync discriminator the first of the frames are R runs of T consecutive ones, and the dict also holds
        crop_rows, crop_columns: (R,48,96) what cuts the mouths out of the generated frames (`cropping.crop_matrices`);
        mouths: (S,48,48,3T) real mouths, those of the R runs first;
        sounds: (M,80,27,T) or (M,12,35,T) sounds, those of the mouths first;
        relation: (S,M) see `losses.matching`.

    Args:
        faces, audio, targets: see `LipGAN.train_iteration`; images may be uint8, 0..255, too.
        unsynced: (B,) for each face the index of the sample whose audio is its unsynced pair; None without
            discriminator.
        train_on_fakes: the coin.
        masks: (B,96,96,1) float32 in 0..1, 1 inside the lips; None: 1 in the lower half.
    """
    batch = {"faces": faces, "audio": audio, "targets": targets}
    batch["masks"] = _lower_half(targets) if masks is None else masks
    if unsynced is not None:
        batch |= pairs(unsynced, train_on_fakes)
    return (batch,)


def _lower_half(targets):
    rows = np.arange(targets.shape[1]) >= lower_half(targets.shape[1])
    return np.tile(rows.astype("float32")[:, None, None], (len(targets), 1, targets.shape[2], 1))


def _unit(x):
    """Bytes 0..255 as float32 0..1; anything else as it is."""
    return ops.cast(x, "float32") / 255 if keras.backend.standardize_dtype(x.dtype) == "uint8" else x


def _copies(arrays):
    return [np.array(array) for array in arrays]


def _batches(data):
    """The batches of a step: a dict, or a dict of some, which Keras wraps as (x,), (x, None, None) or x."""
    while isinstance(data, tuple):
        data = data[0]
    return list(data.values()) if isinstance(next(iter(data.values())), dict) else [data]
