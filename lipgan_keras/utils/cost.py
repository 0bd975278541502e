"""What a network costs: floating-point operations and time."""

import math
import statistics
import time

import numpy as np

from .backend import BACKEND, keras
from .errors import UserError


def measure(model: keras.Model, runs: int = 5) -> tuple[int, float]:
    """Floating-point operations of a model for one sample, and the median of the seconds that it takes on the CPU.

    Counted are two operations for each multiply-add of a convolution or a matrix product, as TensorFlow's graph has
    them; on JAX what XLA counts, which is a little more.

    Raises:
        UserError: another backend.
    """
    if BACKEND not in ("tensorflow", "jax"):
        raise UserError(f"KERAS_BACKEND={BACKEND}: operations are counted on tensorflow and jax; set one of them")
    with keras.device("cpu:0"):
        operations, run = (_tensorflow if BACKEND == "tensorflow" else _jax)(model)
        taken = []
        for _ in range(runs + 1):
            start = time.perf_counter()
            run()
            taken.append(time.perf_counter() - start)
    return operations, statistics.median(taken[1:])  # the first reserves memory


def _tensorflow(model):
    import tensorflow as tf

    inputs = [tf.zeros((1, *tensor.shape[1:])) for tensor in model.inputs]
    run = tf.function(lambda *inputs: model(list(inputs), training=False)).get_concrete_function(*inputs)
    return sum(2 * _multiply_adds(operation) for operation in run.graph.get_operations()), lambda: run(*inputs)


def _jax(model):
    import jax

    inputs = [np.zeros((1, *tensor.shape[1:]), "float32") for tensor in model.inputs]
    state = [v.value for v in model.trainable_variables], [v.value for v in model.non_trainable_variables]
    function = jax.jit(lambda trainable, others, x: model.stateless_call(trainable, others, x, training=False)[0])
    run = function.lower(*state, inputs).compile()
    return int(run.cost_analysis()["flops"]), lambda: jax.block_until_ready(run(*state, inputs))


def _multiply_adds(operation) -> int:
    def size(tensor):
        return math.prod(tensor.shape)

    kind, inputs = operation.type, operation.inputs
    if kind == "Conv2D":
        return size(operation.outputs[0]) * math.prod(inputs[1].shape[:3])
    if kind == "DepthwiseConv2dNative":
        return size(operation.outputs[0]) * math.prod(inputs[1].shape[:2])
    if kind == "Conv2DBackpropInput":  # a transposed convolution: each input is multiplied by the whole kernel
        return math.prod(inputs[2].shape[:3]) * size(inputs[1])
    if kind in ("MatMul", "BatchMatMulV2"):
        swapped = operation.get_attr("transpose_a" if kind == "MatMul" else "adj_x")
        return size(operation.outputs[0]) * inputs[0].shape[-2 if swapped else -1]
    if kind == "Einsum":
        terms = operation.get_attr("equation").decode().split("->")[0].split(",")
        sizes = {}
        for term, x in zip(terms, inputs, strict=True):
            sizes |= dict(zip(term, x.shape, strict=True))
        return math.prod(sizes.values())
    return 0
