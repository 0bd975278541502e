"""The registry of a generator's blocks, and the blocks that are not the paper's (`networks` holds those).

A block is a function. It takes `b`, a `networks.Blocks` (`b.conv` and other layers, `b.channels(n)` for a channel count
scaled by the width, `b.img_size`), and Keras tensors, NHWC::

    face encoder   (b, face (S,S,6)) -> list of maps from the largest to the smallest, embedding (1,1,n)
    audio encoder  (b, window (80,27,1) of mel or (12,35,1) of MFCC) -> embedding (1,1,n)
    decoder        (b, maps, face_embedding, audio_embedding) -> image (S,S,3), float32 in 0..1

S is `b.img_size`, 96 or 192. A map is square, and its side is S halved any number of times, 3 at least; sides may be
left out. A decoder takes the maps by their sides (`by_side`) and does without those that are not there, so that any
face encoder goes with any decoder. docs/blocks.md shows how to write a block of one's own.
"""

import inspect
import os
from collections.abc import Callable
from pathlib import Path

from .config import BLOCKS, IMG_SIZE, IMG_SIZES, WINDOW_SHAPE, ModelConfig
from .utils import cli, cost, files, limits, plugin
from .utils.backend import keras
from .utils.errors import UserError
from .utils.layers import Blend, Positions, Warp

layers, ops = keras.layers, keras.ops

REGISTRY = {kind: {} for kind in BLOCKS}
FILES = {}  # {(kind, name): where the block comes from}


def face_encoder(name: str) -> Callable:
    """Register the decorated function as a face encoder of this name."""
    return _register("face_encoder", name)


def audio_encoder(name: str) -> Callable:
    """Register the decorated function as an audio encoder of this name."""
    return _register("audio_encoder", name)


def decoder(name: str) -> Callable:
    """Register the decorated function as a decoder of this name."""
    return _register("decoder", name)


def _register(kind, name):
    if not limits.BLOCK_NAME.fullmatch(name):
        raise UserError(f"{kind} {name!r}: a name is up to 64 letters, digits, and _ . -; choose another")

    def register(block):
        path = plugin.running() or inspect.getfile(inspect.unwrap(block))
        taken = FILES.get((kind, name), path) != path  # the same file may be run again
        if taken or (name in BLOCKS[kind] and Path(path).parent != Path(__file__).parent):
            raise UserError(f"{kind} {name!r} is there already; choose another name")
        REGISTRY[kind][name], FILES[kind, name] = block, path
        return block

    return register


def names(kind: str) -> list[str]:
    """Of all blocks of a kind, the project's own first."""
    return [*BLOCKS[kind], *(name for name in REGISTRY[kind] if name not in BLOCKS[kind])]


def find(kind: str, name: str) -> Callable:
    """The block of this name.

    Raises:
        UserError: there is none.
    """
    if name not in REGISTRY[kind]:
        known = ", ".join(names(kind))
        raise UserError(f"{kind} {name!r} is unknown; choose one of {known}, or give its file with --plugin FILE.py")
    return REGISTRY[kind][name]


def build(kind: str, name: str, b, *inputs):
    """Call a block, and see that it returns what the contract says.

    Raises:
        UserError: there is no such block, it raises an error, or it returns something else.
    """
    block = find(kind, name)
    try:
        found = block(b, *inputs)
    except UserError:
        raise
    except Exception as error:
        if name in BLOCKS[kind]:
            raise
        raise UserError(f"{kind} {name!r}: {plugin.told(error, FILES[kind, name])}") from error
    maps, embedding = found if kind == "face_encoder" and _is_pair(found) else ((), found)
    sides = [side for level in range(8) if (side := b.img_size >> level) >= 3]
    for one in maps:
        shape = getattr(one, "shape", None)
        if shape is None or len(shape) != 4 or shape[1] != shape[2] or shape[1] not in sides:
            allowed = ", ".join(map(str, sides))
            raise UserError(f"{kind} {name!r}: has a map {_shown(one)}; its sides are to be one of {allowed}")
        sides = [side for side in sides if side < shape[1]]
    n = getattr(embedding, "shape", [0])[-1]
    shape = (None, b.img_size, b.img_size, 3) if kind == "decoder" else (None, 1, 1, n)
    if tuple(getattr(embedding, "shape", ())) != shape or (kind == "face_encoder" and not _is_pair(found)):
        known = {"face_encoder": "a list of maps and an embedding (1,1,n)", "audio_encoder": "an embedding (1,1,n)"}
        wanted = known.get(kind, f"an image {b.img_size}x{b.img_size}x3")
        raise UserError(f"{kind} {name!r}: returns {_shown(found)}; it is to return {wanted}")
    return found


def _is_pair(found):
    return isinstance(found, (tuple, list)) and len(found) == 2 and isinstance(found[0], (tuple, list))


def _shown(value):
    return "x".join(map(str, value.shape[1:])) if hasattr(value, "shape") else f"a {type(value).__name__}"


def by_side(maps: list) -> dict[int, object]:
    """{side in pixels: map} of a face encoder's maps."""
    return {one.shape[1]: one for one in maps}


def load_plugin(path: str | os.PathLike) -> None:
    """Run a Python file, which registers blocks.

    Raises:
        UserError: it cannot be read, raises an error, or registers nothing.
    """

    def check(path):
        if path not in FILES.values():
            raise UserError('registers no block; put @face_encoder("NAME"), or another kind, before a function')

    plugin.run(path, check)


def check(config: ModelConfig) -> None:
    """See that a generator's blocks are there, before what takes long.

    Raises:
        UserError: one is unknown.
    """
    for kind, name in config.other_blocks.items():
        find(kind, name)


def digest(config: ModelConfig) -> str:
    """Changes with the files of those of a generator's blocks that do not come with the project.

    Raises:
        UserError: a block is unknown.
    """
    check(config)
    return files.digest(*sorted({FILES[block] for block in config.other_blocks.items()}))


@face_encoder("mobilenet")
def mobilenet(b, face):
    """Inverted residual blocks of depthwise-separable convolutions (Sandler et al. 2018, arXiv 1801.04381), with the
    sides and channel counts of the paper's maps.
    """

    def depthwise(x, s=1, pad="same"):
        return b.norm_relu(layers.DepthwiseConv2D(3, s, pad, name=b.name("depthwise_conv2d"))(x))

    def separable(x, n, s=1, pad="same"):
        """Twice as wide within; linear at the end."""
        x = b.plain_conv(depthwise(b.conv(x, 2 * n, k=1), s, pad), n, k=1)
        return layers.BatchNormalization(momentum=0.8, name=b.name("batch_normalization"))(x)

    x, maps = b.conv(face, 32 if b.img_size == IMG_SIZE else 16), []
    for n in (64, 128, 256, 512, 512) if b.img_size == IMG_SIZE else (32, 64, 128, 256, 512, 512):
        maps.append(x)
        x = b.conv(depthwise(x, s=2), n, k=1)
        x = layers.Add(name=b.name("add"))([x, separable(x, n)])
    return [*maps, x], b.conv(depthwise(x, pad="valid"), 512, k=1)


@audio_encoder("attention")
def attention(b, window):
    """Self-attention over time: after two convolutions that halve the bands, pre-norm transformer blocks whose tokens
    are the time steps (as Whisper's encoder, arXiv 2212.04356). The embedding sees each step in its place.
    """

    def dense(x, n, activation=None):
        return layers.Dense(n, activation=activation, name=b.name("dense"))(x)

    def norm(x):
        return layers.LayerNormalization(epsilon=1e-5, name=b.name("layer_normalization"))(x)

    def add(x, y):
        return layers.Add(name=b.name("add"))([x, y])

    n, heads = b.channels(256), 4
    x = b.conv(b.conv(window, 32, s=(2, 1)), 64, s=(2, 1))
    x = layers.Permute((2, 1, 3))(x)
    x = layers.Reshape((x.shape[1], x.shape[2] * x.shape[3]))(x)
    x = Positions(name=b.name("positions"))(dense(x, n))
    for _ in range(3):
        y = norm(x)
        name = b.name("multi_head_attention")
        x = add(x, layers.MultiHeadAttention(heads, max(4, n // heads), flash_attention=False, name=name)(y, y))
        x = add(x, dense(dense(norm(x), 2 * n, "gelu"), n))
    x = dense(norm(x), b.channels(64))
    return b.conv(layers.Reshape((1, 1, x.shape[1] * x.shape[2]))(x), 512, k=1)


@decoder("film")
def film(b, maps, face_embedding, audio_embedding):
    """Resize-convolutions (Odena et al. 2016, distill.pub/2016/deconv-checkerboard), whose features the audio embedding
    scales and shifts at every level (FiLM, Perez et al. 2018, arXiv 1709.07871).
    """

    def modulated(x, n):
        x = b.plain_conv(x, n, k=3)
        x = layers.BatchNormalization(momentum=0.8, name=b.name("batch_normalization"))(x)
        width, small = b.channels(n), keras.initializers.RandomNormal(0, 0.02)
        scale, shift = (
            layers.Conv2D(width, 1, kernel_initializer=small, bias_initializer=start, name=b.name("conv2d"))(
                audio_embedding
            )
            for start in ("ones", "zeros")
        )
        x = layers.Add(name=b.name("add"))([layers.Multiply()([x, scale]), shift])
        return layers.Activation("relu", name=b.name("activation"))(x)

    skips, side = by_side(maps), 1
    x = layers.Concatenate(name=b.name("concatenate"))([face_embedding, audio_embedding])
    for n in (512, 512, 256, 128, 64, 32) if b.img_size == IMG_SIZE else (512, 512, 256, 128, 64, 32, 16):
        factor = 3 if side == 1 else 2
        side *= factor
        x = layers.UpSampling2D(factor)(b.conv(x, n, k=1))
        if side in skips:
            x = layers.Concatenate(name=b.name("concatenate"))([skips[side], x])
        x = modulated(x, n)
    return b.prediction(b.conv(x, 16))


@decoder("warp")
def warp(b, maps, face_embedding, audio_embedding):
    """The paper's decoder, which paints what the identity frame does not show; where it shows it, its own pixels,
    moved. Flow and mask are those of Siarohin et al. 2019 (arXiv 2003.00196).
    """

    def head(x, n):
        return layers.Conv2D(n, 3, padding="same", kernel_initializer="zeros", name=b.name("conv2d"))(x)

    b.residual = False
    x, features = b.upsampled(maps, face_embedding, audio_embedding)
    painted = b.prediction(x, "painted")
    flow = head(b.conv(features[b.img_size // 2], 64), 2)
    flow = layers.UpSampling2D(2, interpolation="bilinear", name="flow")(flow)
    moved = Warp(dtype="float32", name="moved")([b.face, flow])
    mask = layers.Activation("sigmoid", dtype="float32", name="mask")(head(x, 1))
    return Blend(dtype="float32", name="prediction")([painted, moved, mask])


def motion(generator: keras.Model) -> dict:
    """What a generator says of the identity frame's pixels that it moves: tensors by name; {} where it moves none.

    Those of the decoder `warp`: "moved" (B,S,S,3), all of the frame; "flow" (B,S,S,2), from a pixel to where it is
    taken from, x and y in eighths of the side; "mask" (B,S,S,1) in 0..1, the share that is moved and not painted.
    """
    found = {layer.name: layer.output for layer in generator.layers if layer.name in ("moved", "flow", "mask")}
    return found if len(found) == 3 else {}


def main(make) -> None:
    """List all blocks: what `python -m lipgan_keras.networks` does. `make` is `networks.Blocks`."""
    parser = cli.ArgumentParser(
        prog="python -m lipgan_keras.networks",
        description="List the blocks: name, kind, parameters, and floating-point operations and CPU time of one face.",
    )
    parser.add_argument("--width", type=cli.limited("width"), default=1.0, help="factor on all channel counts")
    parser.add_argument("--img_size", type=int, choices=IMG_SIZES, default=IMG_SIZE, help="side of the face crops")
    parser.add_argument("--audio", choices=list(WINDOW_SHAPE), default="mel", help="audio front end")
    cli.add_plugin_flag(parser)
    args = parser.parse_args()
    if args.plugin:
        load_plugin(args.plugin)
    face = keras.Input((args.img_size, args.img_size, 6))
    window = keras.Input((*WINDOW_SHAPE[args.audio], 1))
    # A decoder is given what the paper's encoders make.
    maps, seen = build("face_encoder", "residual", make(args.width, args.img_size), face)
    heard = build("audio_encoder", "residual", make(args.width, args.img_size), window)
    for kind, inputs in (("face_encoder", [face]), ("audio_encoder", [window]), ("decoder", [*maps, seen, heard])):
        for name in names(kind):
            given, b = [keras.Input(one.shape[1:]) for one in inputs], make(args.width, args.img_size)
            told = [given[:-2], *given[-2:]] if kind == "decoder" else given
            b.face = keras.Input(face.shape[1:])
            model = keras.Model([*given, b.face], keras.tree.flatten(build(kind, name, b, *told)))
            operations, seconds = cost.measure(model)
            size = f"{model.count_params():>12,} parameters {operations / 1e6:>10,.2f} MFLOPs"
            print(f"{name:<12} {kind:<13} {size} {seconds * 1e3:>8.2f} ms")
