"""The networks of LipGAN (K R et al. 2019, section 4): two generators and a discriminator, for two audio front ends.

Every tensor is NHWC float32, faces are BGR (OpenCV's order) in 0..1. Layers carry the names that Keras 2.2.4 would give
them, numbered in the order in which they are made (face encoder, audio encoder, decoder): that order is what ties the
weights of a released checkpoint to these models.
"""

from collections import Counter

import numpy as np

from .audio import WINDOW_SHAPE
from .backend import keras
from .cli import UserError

layers, ops = keras.layers, keras.ops

IMG_SIZE = 96
VARIANTS = ("residual", "basic")
AUDIO = tuple(WINDOW_SHAPE)


class Blocks:
    """The building blocks of one model: they scale channel counts by `width` and number the layers they make."""

    def __init__(self, width: float, residual: bool = False):
        self.width = width
        self.residual = residual  # whether `rb` adds its blocks
        self.counts = Counter()

    def name(self, kind: str) -> str:
        self.counts[kind] += 1
        return f"{kind}_{self.counts[kind]}"

    def channels(self, n: int) -> int:
        return max(8, round(n * self.width))

    def plain_conv(self, x, n, k, s=1, pad="same"):
        return layers.Conv2D(self.channels(n), k, strides=s, padding=pad, name=self.name("conv2d"))(x)

    def norm_relu(self, x):
        x = layers.BatchNormalization(momentum=0.8, epsilon=1e-3, name=self.name("batch_normalization"))(x)
        return layers.Activation("relu", name=self.name("activation"))(x)

    def conv(self, x, n, k=3, s=1, pad="same"):
        return self.norm_relu(self.plain_conv(x, n, k, s, pad))

    def conv_transpose(self, x, n, k=3, s=2):
        name = self.name("conv2d_transpose")
        return self.norm_relu(layers.Conv2DTranspose(self.channels(n), k, strides=s, padding="same", name=name)(x))

    def rb(self, x, n, repeats=1):
        """`repeats` residual blocks where the variant has them, else nothing."""
        for _ in range(repeats if self.residual else 0):
            shortcut = x
            x = self.conv(self.conv(x, n), n)
            x = layers.Add(name=self.name("add"))([x, shortcut])
            x = layers.Activation("relu", name=self.name("activation"))(x)
        return x

    def disc(self, x, n, k=3, s=1, pad="same"):
        x = self.plain_conv(x, n, k, s, pad)
        x = InstanceNormalization(name=self.name("instance_normalization"))(x)
        return layers.LeakyReLU(negative_slope=0.2, name=self.name("leaky_re_lu"))(x)

    def pad_top(self, x):
        return layers.ZeroPadding2D(((1, 0), (0, 0)), name=self.name("zero_padding2d"))(x)


@keras.saving.register_keras_serializable("lipgan_keras")
class InstanceNormalization(layers.Layer):
    """(x - mean) / (std + 1e-3) with one mean, std, gamma and beta for a whole sample, channels included."""

    def build(self, input_shape):
        self.gamma = self.add_weight(name="gamma", shape=(1,), initializer="ones")
        self.beta = self.add_weight(name="beta", shape=(1,), initializer="zeros")

    def call(self, x):
        mean = ops.mean(x, axis=(1, 2, 3), keepdims=True)
        variance = ops.mean(ops.square(x - mean), axis=(1, 2, 3), keepdims=True)
        std = ops.sqrt(ops.maximum(variance, 1e-12))  # the gradient of a square root at 0 is infinite
        return self.gamma * (x - mean) / (std + 1e-3) + self.beta


def face_encoder(b: Blocks, face):
    """(96,96,6) -> the list of feature maps f0 (96x96) ... f5 (3x3), and the embedding f7 (1x1)."""
    f0 = b.conv(face, 32, k=7 if b.residual else 11)
    f1 = b.rb(b.conv(f0, 64, k=5 if b.residual else 7, s=2), 64, 2)
    f2 = b.rb(b.conv(f1, 128, k=3 if b.residual else 5, s=2), 128, 3)
    f3 = b.rb(b.conv(f2, 256, s=2), 256, 2)
    f4 = b.rb(b.conv(f3, 512, s=2), 512, 2)
    f5 = b.conv(f4, 512, s=2)
    f6 = b.conv(f5, 512, pad="valid")
    f7 = b.conv(f6, 512 if b.residual else 256, k=1)
    return [f0, f1, f2, f3, f4, f5], f7


def mel_encoder(b: Blocks, mel):
    """(80,27,1) -> (1,1,512)."""
    x = b.conv(mel, 32)
    x = b.rb(x, 32, 2) if b.residual else b.conv(b.conv(x, 32), 32)
    for n, s in ((64, 3), (128, (3, 1)), (256, 3)):
        x = b.conv(x, n, s=s)
        x = b.rb(x, n, 2) if b.residual else b.conv(b.conv(x, n), n)
    x = b.conv(x, 512, pad="valid")
    return b.conv(x, 512, k=1)


def mfcc_encoder(b: Blocks, mfcc):
    """(12,35,1) -> (1,1,512), or (1,1,256) in the basic variant."""
    x = b.rb(b.conv(mfcc, 128), 128, 3)
    x = b.pad_top(x)
    x = b.conv(x, 256, s=(1, 2))
    if b.residual:
        x = b.rb(x, 256, 2)
        x = b.rb(b.conv(x, 512, s=2), 512, 2)
    else:
        x = b.conv(x, 256)
        x = b.conv(x, 256, s=2)
    x = b.rb(b.conv(x, 512, s=2), 512, 1)
    x = b.conv(x, 512, k=(4, 5), pad="valid")
    return b.conv(x, 512 if b.residual else 256, k=1)


def decoder(b: Blocks, skips, embedding):
    """Joint face and audio embedding (1x1), and the face encoder's maps -> (96,96,3) in 0..1."""
    f0, f1, f2, f3, f4, f5 = skips

    def join(skip, x):
        return layers.Concatenate(name=b.name("concatenate"))([skip, x])

    x = join(f5, b.conv_transpose(embedding, 512, s=3))
    x = b.conv_transpose(x, 512)
    x = join(f4, b.rb(x, 512, 2)) if b.residual else join(f4, x)
    for n, skip in ((256, f3), (128, f2), (64, f1)):
        x = join(skip, b.rb(b.conv_transpose(x, n), n, 2))
    x = join(f0, b.conv_transpose(x, 32))
    x = b.conv(b.conv(x, 16), 16)
    x = layers.Conv2D(3, 1, name=b.name("conv2d"))(x)
    return layers.Activation("sigmoid", dtype="float32", name="prediction")(x)


def build_generator(
    variant: str = "residual", audio: str = "mel", width: float = 1.0, img_size: int = IMG_SIZE
) -> keras.Model:
    """The generator: [`input_face`, `input_audio`] -> `prediction`.

    `input_face` (B,96,96,6) float32 in 0..1 is the identity frame, then the target frame with rows 48: set to 0;
    `input_audio` (B,80,27,1) mel or (B,12,35,1) MFCC; `prediction` (B,96,96,3) in 0..1.

    Args:
        variant: "residual" (the released one) or "basic".
        audio: the front end, "mel" or "mfcc".
        width: factor on every channel count, none of which falls below 8.

    Raises:
        UserError: an unknown variant, front end, width or image size.
    """
    _check(audio, width, img_size)
    if variant not in VARIANTS:
        raise UserError(f"model {variant!r} is unknown; choose one of {', '.join(VARIANTS)}")
    b = Blocks(width, residual=variant == "residual")
    face = keras.Input((img_size, img_size, 6), name="input_face")
    sound = keras.Input((*WINDOW_SHAPE[audio], 1), name="input_audio")
    skips, face_embedding = face_encoder(b, face)
    sound_embedding = mel_encoder(b, sound) if audio == "mel" else mfcc_encoder(b, sound)
    embedding = layers.Concatenate(name=b.name("concatenate"))([face_embedding, sound_embedding])
    return keras.Model([face, sound], decoder(b, skips, embedding), name="generator")


def build_discriminator(audio: str = "mel", width: float = 1.0, img_size: int = IMG_SIZE) -> keras.Model:
    """The contrastive discriminator: [`input_face_disc`, audio] -> distance.

    Face (B,96,96,3) float32 in 0..1 and audio (B,80,27,1) mel or (B,12,35,1) MFCC -> (B,1), the Euclidean distance
    (0..2) of the two L2-normalised embeddings: small when the face says the sound.

    Raises:
        UserError: an unknown front end, width or image size.
    """
    _check(audio, width, img_size)
    b = Blocks(width)
    face = keras.Input((img_size, img_size, 3), name="input_face_disc")
    sound = keras.Input((*WINDOW_SHAPE[audio], 1), name="input_audio" if audio == "mel" else "input_audio_disc")
    difference = unit(face_critic(b, face)) - unit(mel_critic(b, sound) if audio == "mel" else mfcc_critic(b, sound))
    squared = ops.sum(ops.square(difference), axis=-1, keepdims=True)
    return keras.Model([face, sound], ops.sqrt(ops.maximum(squared, 1e-7)), name="discriminator")


def unit(x):
    """L2-normalise (B,n)."""
    return x * ops.rsqrt(ops.maximum(ops.sum(ops.square(x), axis=-1, keepdims=True), 1e-12))


def face_critic(b: Blocks, face):
    x = b.disc(face, 64, k=7, s=2)
    x = b.disc(x, 128, k=5, s=2)
    for n in (256, 512, 512):
        x = b.disc(x, n, s=2)
    return layers.Flatten(name=b.name("flatten"))(b.plain_conv(x, 512, 3, pad="valid"))


def mel_critic(b: Blocks, mel):
    x = mel
    for n, s in ((32, 1), (64, 3), (128, (3, 1)), (256, 3)):
        x = b.disc(x, n, s=s)
    x = b.disc(x, 512, pad="valid")
    return layers.Flatten(name=b.name("flatten"))(b.disc(x, 512, k=1))


def mfcc_critic(b: Blocks, mfcc):
    x = b.pad_top(b.disc(b.disc(mfcc, 64), 128))
    for n, s in ((256, (1, 2)), (256, 1), (256, 2), (512, 2)):
        x = b.disc(x, n, s=s)
    return layers.Flatten(name=b.name("flatten"))(b.plain_conv(x, 512, (4, 5), pad="valid"))


def _check(audio, width, img_size):
    if audio not in AUDIO:
        raise UserError(f"audio front end {audio!r} is unknown; choose one of {', '.join(AUDIO)}")
    if img_size != IMG_SIZE:
        raise UserError(f"img_size {img_size} is not supported; the networks take faces of {IMG_SIZE}x{IMG_SIZE} only")
    if not 0 < width < float("inf"):
        raise UserError(f"width {width} is not a positive number; 1.0 is the reference's size")


def predict(generator: keras.Model, faces: np.ndarray, audio: np.ndarray, batch_size: int = 64) -> np.ndarray:
    """Run a generator on any number of samples.

    Args:
        faces, audio: as `build_generator` describes its inputs.
        batch_size: of every call, the last one filled up with zeros, so that the generator is compiled once.

    Returns:
        (n,96,96,3) float32 in 0..1.
    """
    outputs = []
    for i in range(0, len(faces), batch_size):
        batch = [array[i : i + batch_size] for array in (faces, audio)]
        count = len(batch[0])
        missing = [(0, batch_size - count)] + [(0, 0)] * 3
        outputs.append(generator.predict_on_batch([np.pad(array, missing) for array in batch])[:count])
    return np.concatenate(outputs)
