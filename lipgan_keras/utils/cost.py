"""What a network costs: floating-point operations and time."""

import math
import statistics
import time

import numpy as np

from .backend import BACKEND, keras
from .errors import UserError


def flops(model: keras.Model) -> int:
    """Floating-point operations of a model for one sample: two for each multiply-add of a convolution or a matrix
    product, as TensorFlow's graph has them. On JAX, what XLA counts, which is a little more.

    Raises:
        UserError: another backend.
    """
    if BACKEND == "jax":
        import jax

        inputs = [np.zeros((1, *tensor.shape[1:]), "float32") for tensor in model.inputs]
        state = [v.value for v in model.trainable_variables], [v.value for v in model.non_trainable_variables]
        run = jax.jit(lambda trainable, others, x: model.stateless_call(trainable, others, x, training=False)[0])
        return int(run.lower(*state, inputs).compile().cost_analysis()["flops"])
    if BACKEND != "tensorflow":
        raise UserError(f"KERAS_BACKEND={BACKEND}: operations are counted on tensorflow and jax; set one of them")
    import tensorflow as tf

    specs = [tf.TensorSpec((1, *tensor.shape[1:]), "float32") for tensor in model.inputs]
    graph = tf.function(lambda *inputs: model(list(inputs), training=False)).get_concrete_function(*specs).graph
    return sum(2 * _multiply_adds(operation) for operation in graph.get_operations())


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
        return math.prod(
            {k: n for term, x in zip(terms, inputs, strict=True) for k, n in zip(term, x.shape, strict=True)}.values()
        )
    return 0


def cpu_seconds(model: keras.Model, runs: int = 5) -> float:
    """The median time of a call with one sample, on the CPU, compiled before."""
    inputs = [np.zeros((1, *tensor.shape[1:]), "float32") for tensor in model.inputs]
    taken = []
    with keras.device("cpu"):
        model.predict_on_batch(inputs)
        for _ in range(runs):
            start = time.perf_counter()
            model.predict_on_batch(inputs)
            taken.append(time.perf_counter() - start)
    return statistics.median(taken)
