"""Adam with running means of the weights."""

from .backend import keras

ops = keras.ops


class Adam(keras.optimizers.Adam):
    """Keras's, whose averages stay beside the weights (`fit` would end with overwriting these), and reach back no
    further than a part of the training so far: those of 0.999 alone would for thousands of steps hold what there was at
    first.
    """

    @property
    def ema_momentum(self):
        return self.momentum_after(self.iterations)

    @ema_momentum.setter
    def ema_momentum(self, value):
        self._ema_momentum = value

    def get_config(self):
        return super().get_config() | {"ema_momentum": self._ema_momentum}

    def momentum_after(self, steps):
        """Of the averages, when so many steps are in them: 0, 1/10, 2/11, ... up to `ema_momentum` as it was set."""
        steps = ops.cast(steps, "float32")
        return ops.minimum(self._ema_momentum, steps / (9 + steps))

    def finalize_variable_values(self, var_list):
        pass
