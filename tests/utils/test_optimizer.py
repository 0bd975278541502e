"""Adam of our own against Keras's."""

import numpy as np

from lipgan_keras.utils.backend import keras
from lipgan_keras.utils.optimizer import Adam


def test_steps_are_those_of_keras():
    rng = np.random.default_rng(0)
    start = [rng.standard_normal(shape).astype("float32") for shape in ((3, 4), (5,))]
    schedule = keras.optimizers.schedules.PolynomialDecay(0.1, 10, 0.01)
    sides = []
    for kind in (Adam, keras.optimizers.Adam):
        variables = [keras.Variable(value) for value in start]
        optimizer = kind(schedule, beta_1=0.5, global_clipnorm=0.7)
        optimizer.build(variables)
        sides.append((optimizer, variables))
    for _ in range(5):
        gradients = [rng.standard_normal(value.shape).astype("float32") for value in start]
        for optimizer, variables in sides:
            optimizer.apply([keras.ops.convert_to_tensor(one) for one in gradients], variables)
    (ours, mine), (theirs, others) = sides
    for one, other in zip([*mine, *ours.variables], [*others, *theirs.variables], strict=True):
        np.testing.assert_allclose(np.array(one), np.array(other), rtol=1e-5, atol=1e-7)
    assert all(np.abs(np.array(one) - value).max() > 0.1 for one, value in zip(mine, start, strict=True))
