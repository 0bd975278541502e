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
    return gpus() > 0


def gpus() -> int:
    """How many accelerators the backend sees."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return len(tf.config.list_physical_devices("GPU"))
    if BACKEND == "jax":
        import jax

        return 0 if jax.default_backend() == "cpu" else jax.device_count()
    if BACKEND == "torch":
        import torch

        return torch.cuda.device_count()
    return 0


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


def update(loss, batches, variables, optimizer, state=()):
    """One gradient step of `optimizer` on `variables`, inside a training step of either backend.

    Gradients are means over the batches, which are run one after another, so that only one need be in memory.

    Args:
        loss: function of a batch that runs the networks; returns (scalar loss, tensor or dict of tensors).
        batches: list of one or more.
        variables: the variables to move; everything else is left alone.
        state: every variable that `loss` reads or assigns (moving averages); JAX has to be told.

    Returns:
        What `loss` returned second, as a mean over the batches.
    """
    if BACKEND not in ("tensorflow", "jax"):
        raise UserError(f"KERAS_BACKEND={BACKEND}: training runs on tensorflow and jax; set one of them")
    one = _tensorflow_gradients if BACKEND == "tensorflow" else _jax_gradients
    found = None
    for batch in batches:
        new = one(loss, batch, variables, state, found)
        found = new if found is None else keras.tree.map_structure(keras.ops.add, found, new)
    if len(batches) > 1:
        found = keras.tree.map_structure(lambda total: total / len(batches), found)
    gradients, result = found
    optimizer.apply(gradients, variables)
    return result


def _tensorflow_gradients(loss, batch, variables, state, before):
    """(gradients, result), computed when `before` is."""
    import tensorflow as tf

    with tf.control_dependencies(keras.tree.flatten(before) if before else []):
        with tf.GradientTape() as tape:
            value, result = loss(batch)
        return tape.gradient(value, [v.value for v in variables]), result


def _jax_gradients(loss, batch, variables, state, before):
    """(gradients, result), computed when `before` is; `state` moves on."""
    import jax

    moved = {id(v) for v in variables}
    others = [v for v in state if id(v) not in moved]
    rest = [(v, v.value) for v in others]

    def stateless(values):
        mapping = [*zip(variables, values, strict=True), *rest]
        with keras.StatelessScope(state_mapping=mapping) as scope:
            value, result = loss(batch)
        return value, (result, [scope.get_current_value(v) for v in others])

    values = [v.value for v in variables]
    if before:
        values, _ = jax.lax.optimization_barrier((values, before))
    (_, (result, assigned)), gradients = jax.value_and_grad(stateless, has_aux=True)(values)
    for variable, value in zip(others, assigned, strict=True):
        variable.assign(value)
    return gradients, result


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
