"""What writes a generator in each format, and what it needs for that."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..utils import files, openvino_core
from ..utils.errors import Unsupported, UserError

if TYPE_CHECKING:
    from ..utils.backend import keras

OUTPUT = "prediction"


@dataclasses.dataclass(frozen=True)
class Format:
    """How a generator is written.

    Attributes:
        name: as `--format` has it.
        title: what people call it.
        suffixes: of the files that are written, the first one's is the user's; none: a folder.
        write: of the generator and a path for each suffix.
        packages: what has to be installed: {module: what pip calls it}.
        needs_tensorflow: whether Keras has to run on TensorFlow.
    """

    name: str
    title: str
    suffixes: Sequence[str]
    write: Callable[..., None]
    packages: dict[str, str] = dataclasses.field(default_factory=dict)
    needs_tensorflow: bool = False


def _keras(generator, path):
    generator.save(path)


def _openvino(generator, path, weights):
    from ..inference import openvino_graph

    ov = openvino_core.import_openvino()
    graph = openvino_graph.convert(generator)
    for tensor, keras_tensor in zip(graph.inputs, generator.inputs, strict=True):
        tensor.set_names({keras_tensor.name})
    graph.outputs[0].set_names({OUTPUT})
    ov.serialize(graph, os.fspath(path), os.fspath(weights))


def _served(generator):
    """A module of TensorFlow that holds the weights and nothing else of Keras, and its function."""
    import tensorflow as tf

    module = tf.Module()
    module.weights = [variable.value for variable in generator.variables]

    @tf.function(
        input_signature=[tf.TensorSpec([None, *x.shape[1:]], tf.float32, name=x.name) for x in generator.inputs]
    )
    def serve(input_face, input_audio):
        return {OUTPUT: generator([input_face, input_audio], training=False)}

    module.serve = serve
    return module


def _saved_model(generator, folder):
    import tensorflow as tf

    module = _served(generator)
    tf.saved_model.save(module, os.fspath(folder), signatures={"serving_default": module.serve})


def _litert(generator, path):
    import tensorflow as tf

    module = _served(generator)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([module.serve.get_concrete_function()], module)
    Path(path).write_bytes(converter.convert())


def _onnx(generator, path):
    generator([np.zeros((1, *x.shape[1:]), np.float32) for x in generator.inputs], training=False)  # as Keras asks for
    generator.export(os.fspath(path), format="onnx", verbose=False)
    import onnx

    model = onnx.load(path)
    graph = model.graph
    (old,) = (value.name for value in graph.output)
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [OUTPUT if name == old else name for name in names]
    graph.output[0].name = OUTPUT
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.checker.check_model(model)
    onnx.save(model, path)


TENSORFLOW = {"needs_tensorflow": True}
FORMATS = {
    one.name: one
    for one in (
        Format("keras", "Keras", [".keras"], _keras),
        Format("savedmodel", "SavedModel", [], _saved_model, **TENSORFLOW),
        Format("openvino", "OpenVINO", [".xml", ".bin"], _openvino, {"openvino": "openvino"}),
        Format("onnx", "ONNX", [".onnx"], _onnx, {"onnx": "onnx", "tf2onnx": "tf2onnx"}, **TENSORFLOW),
        Format("litert", "LiteRT", [".tflite"], _litert, **TENSORFLOW),
    )
}


def check(form: Format) -> None:
    """See that a format can be written here.

    Raises:
        UserError: a package is missing, or Keras runs on another backend.
    """
    missing = [package for module, package in form.packages.items() if not importlib.util.find_spec(module)]
    if missing:
        raise UserError(f"--format {form.name}: needs {' and '.join(missing)}; run: pip install {' '.join(missing)}")
    from ..utils.backend import BACKEND

    if form.needs_tensorflow and BACKEND != "tensorflow":
        raise UserError(
            f"--format {form.name}: is made by TensorFlow, and KERAS_BACKEND is {BACKEND}; set it to tensorflow, or "
            "choose keras or openvino, which any backend can make"
        )
    if form.name == "litert":
        import tensorflow as tf

        if not hasattr(getattr(tf, "lite", None), "TFLiteConverter"):
            raise UserError("--format litert: this TensorFlow has no TFLiteConverter; install tensorflow 2.18 to 2.21")


def write(form: Format, generator: keras.Model, *paths: Path) -> None:
    """Write a generator.

    Raises:
        UserError: the format cannot have one of its layers.
    """
    with warnings.catch_warnings(), contextlib.ExitStack() as stack:
        warnings.simplefilter("ignore")  # of libraries about each other
        stack.enter_context(files.quiet_stderr())
        try:
            form.write(generator, *paths)
        except (UserError, OSError, MemoryError):
            raise
        except Exception as error:  # of the libraries below, of many kinds
            why = str(error) if isinstance(error, Unsupported) else f"{type(error).__name__}: {error}"
            raise UserError(
                f"--format {form.name}: {form.title} cannot have this generator ({' '.join(why.split())[:120]}); "
                "choose keras"
            ) from error
