"""Adam with running means of the weights (Kingma and Ba 2015, arXiv 1412.6980)."""

import numpy as np

from .backend import keras

ops = keras.ops


class Adam(keras.optimizers.Adam):
    """Keras's, whose averages stay beside the weights (`fit` would end with overwriting these), and reach back no
    further than a part of the training so far: those of 0.999 alone would for thousands of steps hold what there was at
    first. The size of a step is computed once for all weights, not for each: the graph is smaller, and the first step
    comes sooner.
    """

    def apply(self, grads, trainable_variables=None):
        step = ops.cast(self.iterations + 1, "float32")
        unbiased = [1 - ops.power(np.float32(beta), step) for beta in (self.beta_1, self.beta_2)]
        self._size = ops.cast(self.learning_rate, "float32") * ops.sqrt(unbiased[1]) / unbiased[0]
        super().apply(grads, trainable_variables)

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        mean, square = self._momentums[index], self._velocities[index]
        self.assign_add(mean, ops.subtract(gradient, mean) * (1 - self.beta_1))
        self.assign_add(square, ops.subtract(ops.square(gradient), square) * (1 - self.beta_2))
        self.assign_sub(variable, mean * self._size / (ops.sqrt(square) + self.epsilon))

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
