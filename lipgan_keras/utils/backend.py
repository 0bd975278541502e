"""Keras, imported without its backend's start-up notices,
and the one thing that TensorFlow and JAX do differently here: gradients.
"""

import contextlib

from .errors import UserError
from .files import quiet_stderr
from .processes import signals_put_off

with signals_put_off(), quiet_stderr():  # TensorFlow's notices come before any setting of its own can stop them
    import keras

BACKEND = keras.backend.backend()


def has_gpu() -> bool:
    """Whether the backend sees an accelerator."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return bool(tf.config.list_physical_devices("GPU"))
    if BACKEND == "jax":
        import jax

        return jax.default_backend() != "cpu"
    if BACKEND == "torch":
        import torch

        return torch.cuda.is_available()
    return False


@contextlib.contextmanager
def precision(policy: str):
    """Layers that are made within compute as Keras's dtype policy says, such as "mixed_bfloat16";
    weights stay float32.
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def update(loss, variables, optimizer, state=()):
    """One gradient step of `optimizer` on `variables`, inside a training step of either backend.

    Args:
        loss: function of no arguments that runs the networks; returns (scalar loss, anything).
        variables: the variables to move; everything else is left alone.
        state: every variable that `loss` reads or assigns (moving averages); JAX has to be told.

    Returns:
        What `loss` returned second.
    """
    if BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            value, result = loss()
        gradients = tape.gradient(value, [v.value for v in variables])
    elif BACKEND == "jax":
        import jax

        moved = {id(v) for v in variables}
        others = [v for v in state if id(v) not in moved]
        rest = [(v, v.value) for v in others]

        def stateless(values):
            mapping = [*zip(variables, values, strict=True), *rest]
            with keras.StatelessScope(state_mapping=mapping) as scope:
                value, result = loss()
            return value, (result, [scope.get_current_value(v) for v in others])

        gradient = jax.value_and_grad(stateless, has_aux=True)
        (_, (result, assigned)), gradients = gradient([v.value for v in variables])
        for variable, value in zip(others, assigned, strict=True):
            variable.assign(value)
    else:
        raise UserError(f"KERAS_BACKEND={BACKEND}: training runs on tensorflow and jax; set one of them")
    optimizer.apply(gradients, variables)
    return result


def gradient(function, x):
    """The gradient of a function that changes no state: d function(x) / d x.

    Args:
        function: of one tensor; returns a scalar.
        x: array of floats.

    Returns:
        numpy array of the shape of `x`.

    Raises:
        UserError: the backend is neither TensorFlow nor JAX.
    """
    if BACKEND == "tensorflow":
        import tensorflow as tf

        tensor = tf.convert_to_tensor(x)
        with tf.GradientTape() as tape:
            tape.watch(tensor)
            value = function(tensor)
        return tape.gradient(value, tensor).numpy()
    if BACKEND == "jax":
        import jax

        # Compiled as a whole: JAX would compile each operation by itself.
        return keras.ops.convert_to_numpy(jax.jit(jax.grad(function))(keras.ops.convert_to_tensor(x)))
    raise UserError(f"KERAS_BACKEND={BACKEND}: gradients are had on tensorflow and jax; set one of them")
