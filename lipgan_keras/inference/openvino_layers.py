"""The OpenVINO graph of a Keras model, layer by layer.

A tensor of four dimensions is NCHW in the graph, as OpenVINO computes, and NHWC in Keras; any other is as in Keras.
"""

import numpy as np

from ..utils.backend import keras
from ..utils.errors import Unsupported
from ..utils.layers import Blend, Positions, Warp

layers = keras.layers

NCHW, NHWC = [0, 3, 1, 2], [0, 2, 3, 1]  # the axes of a transpose to these
IDENTITIES = (layers.Identity, layers.Dropout, layers.SpatialDropout2D, layers.GaussianNoise, layers.GaussianDropout)


def graph(model: keras.Model):
    """`openvino.Model` with the inputs and the output of a Keras model (NHWC), the batch size left open.

    Raises:
        Unsupported: a layer, or the way in which it is used, is not known here.
    """
    from openvino import Model, opset13

    make = Maker(opset13)
    made = {}  # Keras tensor -> OpenVINO's
    parameters = []
    for tensor in model.inputs:
        parameters.append(opset13.parameter([-1, *tensor.shape[1:]], np.float32, name=tensor.name))
        made[id(tensor)] = opset13.transpose(parameters[-1], NCHW)
    for operation in model.operations:
        if not isinstance(operation, layers.InputLayer):
            inputs, output = _called(operation)
            try:
                made[id(output)] = make(operation, inputs, output, [made[id(tensor)] for tensor in inputs])
            except (Unsupported, RuntimeError) as error:  # OpenVINO's own is a RuntimeError
                raise _unsupported(operation) from error
    return Model([opset13.transpose(made[id(model.output)], NHWC)], parameters, model.name)


def _unsupported(operation):
    return Unsupported(f"OpenVINO cannot run the layer {operation.name!r} ({type(operation).__name__})")


def _called(operation):
    """The Keras tensors that a layer takes, and the one that it gives; it is called once, with nothing else."""
    nodes = operation._inbound_nodes
    if len(nodes) != 1 or len(nodes[0].output_tensors) != 1:
        raise _unsupported(operation)
    told = nodes[0].arguments
    others = [value for value in told.args if not _tensors(value)] + list(told.kwargs.values())
    if any(value is not None and value is not False for value in others):
        raise _unsupported(operation)  # such as a causal mask
    return list(nodes[0].input_tensors), nodes[0].output_tensors[0]


def _tensors(value):
    return all(isinstance(one, keras.KerasTensor) for one in (value if isinstance(value, (list, tuple)) else [value]))


def _array(variable):
    return np.ascontiguousarray(keras.ops.convert_to_numpy(variable), np.float32)


def _need(condition):
    if not condition:
        raise Unsupported


class Maker:
    """Makes the nodes of one layer after the other; `ops` is an opset of OpenVINO."""

    def __init__(self, ops):
        self.ops = ops
        self.of_images = {  # take and give NCHW
            layers.Conv2D: self.convolution,
            layers.Conv2DTranspose: self.transposed_convolution,
            layers.DepthwiseConv2D: self.depthwise_convolution,
            layers.SeparableConv2D: self.separable_convolution,
            layers.BatchNormalization: self.batch_normalisation,
            layers.ZeroPadding2D: self.padding,
            layers.UpSampling2D: self.upsampling,
            layers.AveragePooling2D: self.pooling,
            layers.MaxPooling2D: self.pooling,
            layers.GlobalAveragePooling2D: self.global_average,
            Warp: self.warped,
            Blend: self.blended,
        }
        self.of_any = {  # take and give what Keras does
            layers.Dense: self.dense,
            layers.LayerNormalization: self.layer_normalisation,
            layers.MultiHeadAttention: self.attention,
            layers.Permute: lambda layer, x: ops.transpose(x, [0, *layer.dims]),
            layers.Reshape: lambda layer, x: x,
            layers.Flatten: lambda layer, x: x,
            Positions: lambda layer, x: ops.add(x, self.constant(layer.table)),
        }
        self.merging = {layers.Add: ops.add, layers.Multiply: ops.multiply, layers.Maximum: ops.maximum}
        # Whose axes do not matter, or are named
        self.of_either = {
            layers.Activation: lambda layer, x: self.activated(layer, x),
            layers.LeakyReLU: lambda layer, x: self.leaky(x, layer.negative_slope),
            layers.Concatenate: self.concatenation,
        }
        self.of_either |= {kind: lambda layer, x: x for kind in IDENTITIES}
        self.of_either |= {kind: self.merged for kind in self.merging}

    def __call__(self, layer, inputs, output, x):
        """Of a layer, its Keras tensors, and the nodes that it takes."""
        kind = type(layer)  # never of a class below it, which may compute something else
        ranks = {len(tensor.shape) for tensor in inputs}
        _need(getattr(layer, "data_format", "channels_last") == "channels_last")
        if kind in self.of_images:
            _need(ranks == {4})
            return self.of_images[kind](layer, *x)
        if kind in self.of_either:
            _need(len(ranks) == 1)
            return self.of_either[kind](layer, *x)
        _need(kind in self.of_any)
        x = [
            self.ops.transpose(one, NHWC) if len(tensor.shape) == 4 else one
            for tensor, one in zip(inputs, x, strict=True)
        ]
        y = self.of_any[kind](layer, *x)
        if kind in (layers.Reshape, layers.Flatten):
            _need(None not in output.shape[1:])
            y = self.ops.reshape(y, np.array([-1, *output.shape[1:]]), special_zero=False)
        return self.ops.transpose(y, NCHW) if len(output.shape) == 4 else y

    def constant(self, values, axes=None):
        array = values if isinstance(values, np.ndarray) else _array(values)
        return self.ops.constant(np.ascontiguousarray(array.transpose(axes) if axes else array, np.float32))

    def channels(self, values):
        return self.constant(_array(values).reshape(1, -1, 1, 1))

    def finished(self, layer, y):
        """With bias and activation of a convolution."""
        return self.activated(layer, y if layer.bias is None else self.ops.add(y, self.channels(layer.bias)))

    def activated(self, layer, x):
        ops, function = self.ops, layer.activation
        known = {
            "linear": lambda x: x,
            "relu": ops.relu,
            "sigmoid": ops.sigmoid,
            "tanh": ops.tanh,
            "silu": ops.swish,
            "gelu": lambda x: ops.gelu(x, "erf"),
            "leaky_relu": lambda x: self.leaky(x, 0.2),
        }
        name = getattr(function, "__name__", "")
        _need(name in known and function is getattr(keras.activations, name))
        return known[name](x)

    def leaky(self, x, slope):
        return self.ops.prelu(x, self.ops.constant(np.array([slope], np.float32)))

    def convolution(self, layer, x):
        _need(layer.groups == 1)
        return self.finished(layer, self.convolved(layer, x, self.constant(layer.kernel, (3, 2, 0, 1))))

    def convolved(self, layer, x, kernel, grouped=False):
        pads = "same_upper" if layer.padding == "same" else "valid"
        convolution = self.ops.group_convolution if grouped else self.ops.convolution
        return convolution(x, kernel, list(layer.strides), [0, 0], [0, 0], list(layer.dilation_rate), pads)

    def transposed_convolution(self, layer, x):
        _need(layer.output_padding is None and set(layer.dilation_rate) == {1})
        cut = [kernel - stride for kernel, stride in zip(layer.kernel_size, layer.strides, strict=True)]
        _need(min(cut) >= 0)
        first = [n // 2 if layer.padding == "same" else 0 for n in cut]
        last = [n - n // 2 if layer.padding == "same" else 0 for n in cut]
        kernel = self.constant(layer.kernel, (3, 2, 0, 1))
        y = self.ops.convolution_backprop_data(x, kernel, list(layer.strides), pads_begin=first, pads_end=last)
        return self.finished(layer, y)

    def depthwise_convolution(self, layer, x):
        return self.finished(layer, self.depthwise(layer, x, layer.kernel))

    def depthwise(self, layer, x, kernel):
        kernel = _array(kernel).transpose(2, 3, 0, 1)[:, :, None]
        return self.convolved(layer, x, self.constant(kernel), grouped=True)

    def separable_convolution(self, layer, x):
        kernel = self.constant(layer.pointwise_kernel, (3, 2, 0, 1))
        y = self.depthwise(layer, x, layer.depthwise_kernel)
        return self.finished(layer, self.ops.convolution(y, kernel, [1, 1], [0, 0], [0, 0], [1, 1]))

    def batch_normalisation(self, layer, x):
        """A product and a sum, which OpenVINO merges into the convolution before."""
        _need(layer.axis in (-1, 3))
        scale = 1 / np.sqrt(_array(layer.moving_variance) + layer.epsilon)
        scale = scale if layer.gamma is None else scale * _array(layer.gamma)
        shift = -_array(layer.moving_mean) * scale
        shift = shift if layer.beta is None else shift + _array(layer.beta)
        return self.ops.add(self.ops.multiply(x, self.channels(scale)), self.channels(shift))

    def padding(self, layer, x):
        (top, bottom), (left, right) = layer.padding
        return self.ops.pad(x, [0, 0, top, left], [0, 0, bottom, right], "constant", self.ops.constant(np.float32(0)))

    def upsampling(self, layer, x):
        mode = {"nearest": "nearest", "bilinear": "linear_onnx"}.get(layer.interpolation)
        _need(mode)
        return self.ops.interpolate(
            x,
            np.array(layer.size, np.float32),
            mode,
            "scales",
            coordinate_transformation_mode="asymmetric" if mode == "nearest" else "half_pixel",
            nearest_mode="floor",
            axes=np.array([2, 3]),
        )

    def pooling(self, layer, x):
        pads = "same_upper" if layer.padding == "same" else "valid"
        sides = list(layer.strides), [0, 0], [0, 0]
        if isinstance(layer, layers.AveragePooling2D):
            return self.ops.avg_pool(x, *sides, list(layer.pool_size), True, auto_pad=pads)  # padding does not count
        return self.ops.max_pool(x, sides[0], [1, 1], *sides[1:], list(layer.pool_size), auto_pad=pads).output(0)

    def global_average(self, layer, x):
        _need(layer.keepdims)
        return self.ops.reduce_mean(x, np.array([2, 3]), keep_dims=True)

    def warped(self, layer, image, flow):
        ops, side = self.ops, layer.output.shape[1]
        places = np.stack(np.meshgrid(np.arange(side), np.arange(side)), -1)
        last = side - 1  # where the grid is 1; it is -1 at 0
        grid = ops.multiply(ops.transpose(flow, NHWC), self.constant(np.float32([2 * side / 8 / last])))
        grid = ops.add(grid, self.constant(np.float32(2 * places / last - 1)))
        image = ops.strided_slice(image, [0, 0], [0, 3], [1, 1], [1, 0], [1, 0])
        return ops.grid_sample(image, grid, {"mode": "bicubic", "padding_mode": "border", "align_corners": True})

    def blended(self, layer, a, b, mask):
        return self.ops.add(a, self.ops.multiply(mask, self.ops.subtract(b, a)))

    def dense(self, layer, x):
        y = self.ops.matmul(x, self.constant(layer.kernel), False, False)
        return self.activated(layer, y if layer.bias is None else self.ops.add(y, self.constant(layer.bias)))

    def layer_normalisation(self, layer, x):
        axis = layer.axis if isinstance(layer.axis, (list, tuple)) else [layer.axis]
        rank = len(layer.output.shape)
        _need([a % rank for a in axis] == [rank - 1] and not getattr(layer, "rms_scaling", False))
        y = self.ops.mvn(x, np.array([-1]), True, float(layer.epsilon), "inside_sqrt")
        y = y if layer.gamma is None else self.ops.multiply(y, self.constant(layer.gamma))
        return y if layer.beta is None else self.ops.add(y, self.constant(layer.beta))

    def attention(self, layer, query, value, key=None):
        ops, config = self.ops, layer.get_config()
        _need(len(layer.output.shape) == 3 and config["attention_axes"] in (None, [1], (1,)))
        heads, weights = config["num_heads"], [_array(weight) for weight in layer.weights]
        kernels = weights[::2] if config["use_bias"] else weights
        biases = weights[1::2] if config["use_bias"] else [np.zeros(1, np.float32)] * 4
        _need(len(kernels) == 4)

        def projected(x, kernel, bias):
            """(B,heads,T,n)"""
            y = ops.matmul(x, self.constant(kernel.reshape(len(kernel), -1)), False, False)
            y = ops.add(y, self.constant(bias.reshape(-1)))
            y = ops.reshape(y, np.array([0, 0, heads, kernel.shape[-1]]), special_zero=True)
            return ops.transpose(y, [0, 2, 1, 3])

        inputs = (query, value if key is None else key, value)
        q, k, v = (projected(*one) for one in zip(inputs, kernels, biases, strict=False))
        scores = ops.matmul(ops.multiply(q, self.constant(np.float32([kernels[0].shape[-1] ** -0.5]))), k, False, True)
        y = ops.transpose(ops.matmul(ops.softmax(scores, -1), v, False, False), [0, 2, 1, 3])
        y = ops.reshape(y, np.array([0, 0, heads * kernels[2].shape[-1]]), special_zero=True)
        y = ops.matmul(y, self.constant(kernels[3].reshape(-1, kernels[3].shape[-1])), False, False)
        return ops.add(y, self.constant(biases[3]))

    def concatenation(self, layer, *x):
        rank = len(layer.output.shape)
        return self.ops.concat(list(x), (NCHW.index(layer.axis % rank) if rank == 4 else layer.axis % rank))

    def merged(self, layer, *x):
        y = x[0]
        for one in x[1:]:
            y = self.merging[type(layer)](y, one)
        return y
