"""The networks of LipGAN (K R et al. 2019): the generator (section 4.1) in two variants, and the discriminator (4.2),
for two audio front ends; then our own two, a lip-sync and a visual-quality discriminator.

Every tensor is NHWC float32, faces are BGR (OpenCV's order) in 0..1. (Under Keras's policy "mixed_bfloat16" so are
inputs and outputs; what is normalised over a whole sample stays float32 within.) Layers carry the names that Keras
2.2.4 would give them, numbered in the order in which they are made (face encoder, audio encoder, decoder): that order
is what ties the weights of a released checkpoint to these models. `python -m lipgan_keras.networks` lists the `blocks`.
"""

from collections import Counter

from . import blocks
from .config import IMG_SIZE, IMG_SIZES, MOUTH_SIZE, VARIANTS, WINDOW_SHAPE, ModelConfig
from .utils import cli, limits
from .utils.backend import keras
from .utils.errors import UserError
from .utils.layers import NUMBERED, keep_names_apart

layers, ops = keras.layers, keras.ops

AUDIO = tuple(WINDOW_SHAPE)


class Blocks:
    """The building blocks of one model: they scale channel counts by `width` and number the layers they make."""

    def __init__(self, width: float, img_size: int = IMG_SIZE):
        self.width = width
        self.img_size = img_size
        self.face = None  # the generator's input (S,S,6), for decoders
        self.residual = False  # whether `rb` adds its blocks
        self.counts = Counter()
        keep_names_apart(NUMBERED.split())

    def name(self, kind: str) -> str:
        keep_names_apart([kind])
        self.counts[kind] += 1
        return f"{kind}_{self.counts[kind]}"

    def channels(self, n: int) -> int:
        """n, scaled by the width, and 8 at least."""
        return max(8, round(n * self.width))

    def plain_conv(self, x, n, k, s=1, pad="same"):
        return layers.Conv2D(self.channels(n), k, strides=s, padding=pad, name=self.name("conv2d"))(x)

    def norm_relu(self, x):
        x = layers.BatchNormalization(momentum=0.8, epsilon=1e-3, name=self.name("batch_normalization"))(x)
        return layers.Activation("relu", name=self.name("activation"))(x)

    def conv(self, x, n, k=3, s=1, pad="same"):
        """The paper's convolution, k x k with stride s to n channels (scaled), batch normalisation and ReLU."""
        return self.norm_relu(self.plain_conv(x, n, k, s, pad))

    def conv_transpose(self, x, n, k=3, s=2):
        """The transposed one: s times as large, n channels (scaled), batch normalisation and ReLU."""
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

    def upsampled(self, maps, face_embedding, audio_embedding):
        """The paper's decoder up to its last layers, see below."""
        return upsampled(self, maps, face_embedding, audio_embedding)

    def prediction(self, x, name="prediction"):
        """The decoder's last layers: an image (S,S,3) in 0..1."""
        x = layers.Conv2D(3, 1, name=self.name("conv2d"))(x)
        return layers.Activation("sigmoid", dtype="float32", name=name)(x)

    def disc(self, x, n, k=3, s=1, pad="same"):
        x = self.plain_conv(x, n, k, s, pad)
        x = InstanceNormalization(dtype="float32", name=self.name("instance_normalization"))(x)
        return layers.LeakyReLU(negative_slope=0.2, name=self.name("leaky_re_lu"))(x)

    def spectral(self, x, filters, k, s=1, last=False):
        x = SpectralConv2D(filters, k, strides=s, padding="same", name=self.name("spectral_conv2d"))(x)
        return x if last else layers.LeakyReLU(negative_slope=0.2, name=self.name("leaky_re_lu"))(x)

    def flatten(self, x):
        return layers.Flatten(dtype="float32", name=self.name("flatten"))(x)

    def pad_top(self, x):
        return layers.ZeroPadding2D(((1, 0), (0, 0)), name=self.name("zero_padding2d"))(x)


@keras.saving.register_keras_serializable("lipgan_keras")
class InstanceNormalization(keras.layers.Layer):
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
    """(96,96,6) -> the list of feature maps f0 (96x96) ... f5 (3x3), and the embedding f7 (1x1).

    (192,192,6): the same below one more map (192x192), the first of the list.
    """
    top, first = [], 7 if b.residual else 11
    if face.shape[1] == IMG_SIZE:
        f0 = b.conv(face, 32, k=first)
    else:
        top = [b.conv(face, 16, k=first)]
        f0 = b.rb(b.conv(top[0], 32, k=5 if b.residual else 7, s=2), 32, 1)
    f1 = b.rb(b.conv(f0, 64, k=5 if b.residual else 7, s=2), 64, 2)
    f2 = b.rb(b.conv(f1, 128, k=3 if b.residual else 5, s=2), 128, 3)
    f3 = b.rb(b.conv(f2, 256, s=2), 256, 2)
    f4 = b.rb(b.conv(f3, 512, s=2), 512, 2)
    f5 = b.conv(f4, 512, s=2)
    f6 = b.conv(f5, 512, pad="valid")
    f7 = b.conv(f6, 512 if b.residual else 256, k=1)
    return [*top, f0, f1, f2, f3, f4, f5], f7


def audio_encoder(b: Blocks, window):
    """The paper's, by the shape of the window: `mel_encoder` or `mfcc_encoder`."""
    return (mel_encoder if window.shape[1:3] == WINDOW_SHAPE["mel"] else mfcc_encoder)(b, window)


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


def decoder(b: Blocks, maps, face_embedding, audio_embedding):
    """The face encoder's maps and both embeddings (1x1) -> (96,96,3) or (192,192,3) in 0..1."""
    return b.prediction(upsampled(b, maps, face_embedding, audio_embedding)[0])


def upsampled(b: Blocks, maps, face_embedding, audio_embedding):
    """What the decoder paints the image with, (S,S,n), and {side: (side,side,n)} of what led to it."""
    skips = blocks.by_side(maps)

    def join(x):
        skip = skips.get(x.shape[1])
        return x if skip is None else layers.Concatenate(name=b.name("concatenate"))([skip, x])

    x = layers.Concatenate(name=b.name("concatenate"))([face_embedding, audio_embedding])
    x, features = join(b.conv_transpose(x, 512, s=3)), {}
    for n in (512, 256, 128, 64):
        x = join(b.rb(b.conv_transpose(x, n), n, 2))
    for n in (32,) if b.img_size == IMG_SIZE else (32, 16):
        features[x.shape[1]] = x
        x = join(b.conv_transpose(x, n))
    return b.conv(b.conv(x, 16), 16), features


def _variant(block, variant):
    """The paper's block, with or without residual blocks."""

    def build(b, *inputs):
        b.residual = variant == "residual"
        return block(b, *inputs)

    return build


for _name in VARIANTS:
    blocks.face_encoder(_name)(_variant(face_encoder, _name))
    blocks.audio_encoder(_name)(_variant(audio_encoder, _name))
    blocks.decoder(_name)(_variant(decoder, _name))


def build(config: ModelConfig, network: str = "generator") -> keras.Model:
    """The "generator", "discriminator", "sync" or "quality" discriminator that a configuration says; see below."""
    if network == "generator":
        return build_generator(config.variant, config.audio, config.width, config.img_size, **config.blocks)
    if network == "sync":
        return build_sync_discriminator(config.audio, config.sync_width, config.sync_frames)
    if network == "quality":
        return build_quality_discriminator(config.width, config.img_size)
    return build_discriminator(config.audio, config.width, config.img_size)


def build_generator(
    variant: str = "residual",
    audio: str = "mel",
    width: float = 1.0,
    img_size: int = IMG_SIZE,
    face_encoder: str | None = None,
    audio_encoder: str | None = None,
    decoder: str | None = None,
) -> keras.Model:
    """The generator: [`input_face`, `input_audio`] -> `prediction`.

    `input_face` (B,96,96,6) float32 in 0..1 is the identity frame, then the target frame with rows 48: set to 0;
    `input_audio` (B,80,27,1) mel or (B,12,35,1) MFCC; `prediction` (B,96,96,3) in 0..1. With `img_size` 192 the faces
    are (B,192,192,...), masked from row 96, and encoder and decoder have one more level at the top.

    Args:
        variant: "residual" (the released one) or "basic": a preset of the three blocks.
        audio: the front end, "mel" or "mfcc".
        width: factor on every channel count, none of which falls below 8.
        img_size: 96 (the reference's) or 192.
        face_encoder, audio_encoder, decoder: names of blocks (see `blocks`) in place of the variant's.

    Raises:
        UserError: an unknown variant, front end, width, image size or block, or a block that breaks the contract.
    """
    _check(audio, width, img_size)
    if variant not in VARIANTS:
        raise UserError(f"model {variant!r} is unknown; choose one of {', '.join(VARIANTS)}")
    b = Blocks(width, img_size)
    face = keras.Input((img_size, img_size, 6), name="input_face")
    sound = keras.Input((*WINDOW_SHAPE[audio], 1), name="input_audio")
    b.face = face
    maps, face_embedding = blocks.build("face_encoder", face_encoder or variant, b, face)
    audio_embedding = blocks.build("audio_encoder", audio_encoder or variant, b, sound)
    image = blocks.build("decoder", decoder or variant, b, maps, face_embedding, audio_embedding)
    return keras.Model([face, sound], image, name="generator")


def build_discriminator(audio: str = "mel", width: float = 1.0, img_size: int = IMG_SIZE) -> keras.Model:
    """The contrastive discriminator: [`input_face_disc`, audio] -> distance.

    Face (B,96,96,3) float32 in 0..1 and audio (B,80,27,1) mel or (B,12,35,1) MFCC -> (B,1), the Euclidean distance
    (0..2) of the two L2-normalised embeddings: small when the face says the audio. With `img_size` 192 the face is
    (B,192,192,3).

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
    x = face if face.shape[1] == IMG_SIZE else b.disc(face, 32, k=7, s=2)
    x = b.disc(x, 64, k=7, s=2)
    x = b.disc(x, 128, k=5, s=2)
    for n in (256, 512, 512):
        x = b.disc(x, n, s=2)
    return b.flatten(b.plain_conv(x, 512, 3, pad="valid"))


def mel_critic(b: Blocks, mel):
    x = mel
    for n, s in ((32, 1), (64, 3), (128, (3, 1)), (256, 3)):
        x = b.disc(x, n, s=s)
    x = b.disc(x, 512, pad="valid")
    return b.flatten(b.disc(x, 512, k=1))


def mfcc_critic(b: Blocks, mfcc):
    x = b.pad_top(b.disc(b.disc(mfcc, 64), 128))
    for n, s in ((256, (1, 2)), (256, 1), (256, 2), (512, 2)):
        x = b.disc(x, n, s=s)
    return b.flatten(b.plain_conv(x, 512, (4, 5), pad="valid"))


@keras.saving.register_keras_serializable("lipgan_keras")
class SpectralConv2D(keras.layers.Conv2D):
    """A convolution whose kernel is divided by its largest singular value (Miyato et al. 2018, arXiv 1802.05957).

    The value comes from one power iteration a training step, which `u` (1,filters) carries on.
    """

    def build(self, input_shape):
        super().build(input_shape)
        start = keras.initializers.RandomNormal(seed=self.filters)
        self.u = self.add_weight(name="u", shape=(1, self.filters), initializer=start, trainable=False)

    def call(self, x, training=False):
        matrix = ops.cast(ops.reshape(self.kernel, (-1, self.filters)), "float32")
        fixed = ops.stop_gradient(matrix)
        v = unit(ops.cast(self.u, "float32") @ ops.transpose(fixed))
        u = unit(v @ fixed)
        if training:
            self.u.assign(u)
        sigma = ops.sum(v @ matrix * u)
        return self.convolution_op(x, self.kernel / ops.cast(sigma, self.compute_dtype)) + self.bias


def build_sync_discriminator(audio: str = "mel", width: float = 1.0, frames: int = 5) -> keras.Model:
    """The lip-sync discriminator: [`input_mouths`, `input_sounds`] -> two embeddings.

    It sees mouths alone, so that nothing but their movement can tell, and several frames at once, as SyncNet (Chung and
    Zisserman 2016) and Wav2Lip's expert do (arXiv 2008.10010).

    `input_mouths` (B,48,48,3T) float32 in 0..1, T = `frames` consecutive mouths, BGR each (`regions.mouth_box`);
    `input_sounds` (B,80,27,T) mel or (B,12,35,T) MFCC, the windows of those frames. Both outputs are (B,512 * width)
    and L2-normalised: their scalar product is the cosine similarity, -1..1, high where the mouths say the audio.

    Raises:
        UserError: an unknown front end, width, or number of frames.
    """
    _check(audio, width, IMG_SIZE)
    limits.checked(sync_frames=frames)
    b = Blocks(width)
    mouths = keras.Input((MOUTH_SIZE, MOUTH_SIZE, 3 * frames), name="input_mouths")
    sounds = keras.Input((*WINDOW_SHAPE[audio], frames), name="input_sounds")
    return keras.Model([mouths, sounds], [mouth_tower(b, mouths), sound_tower(b, sounds, audio)], name="sync")


def mouth_tower(b: Blocks, x):
    # Light and skin are not to count: each run of mouths has mean 0 and deviation 1.
    x = layers.GroupNormalization(1, center=False, scale=False, name=b.name("group_normalization"))(x)
    x = b.conv(x, 64, k=5, s=2)
    for n in (128, 256, 512):
        x = b.conv(b.conv(x, n, s=2), n)
    return embedding(b, b.conv(x, 512, pad="valid"))


def sound_tower(b: Blocks, x, audio):
    if audio == "mel":
        x = b.conv(x, 64)
        for n, s in ((128, 3), (256, (3, 1)), (512, 3)):
            x = b.conv(b.conv(x, n, s=s), n)
    else:
        x = b.pad_top(b.conv(b.conv(x, 128), 128))
        for n, s in ((256, (1, 2)), (256, 2), (512, 2)):
            x = b.conv(b.conv(x, n, s=s), n)
    return embedding(b, b.conv(x, 512, k=x.shape[1:3], pad="valid"))


def embedding(b: Blocks, x):
    return unit(b.flatten(b.plain_conv(x, 512, 1)))


def build_quality_discriminator(width: float = 1.0, img_size: int = IMG_SIZE) -> keras.Model:
    """The visual-quality discriminator: `input_face_quality` (B,96,96,3) float32 in 0..1 -> (B,6,6,1) logits.

    Each logit, high for real, judges the piece of 81 pixels around its place (Isola et al. 2017, arXiv 1611.07004); all
    layers are spectrally normalised. It sees fine detail alone, what is left of an image when the mean of 3x3 pixels is
    taken away: from whole images it cannot tell a good generator's slight blur. With `img_size` 192 there is one more
    level, and faces are (B,192,192,3).

    Raises:
        UserError: an unknown width or image size.
    """
    _check("mel", width, img_size)
    b = Blocks(width)
    face = keras.Input((img_size, img_size, 3), name="input_face_quality")
    x = 10 * (face - layers.AveragePooling2D(3, 1, "same", dtype="float32")(face))
    for n in (32, 64, 128, 256, 512)[0 if img_size > IMG_SIZE else 1 :]:
        x = b.spectral(x, b.channels(n), k=5 if n == 64 else 4, s=2)
    logits = layers.Activation("linear", dtype="float32", name="logits")(b.spectral(x, 1, k=3, last=True))
    return keras.Model(face, logits, name="quality")


def _check(audio, width, img_size):
    if audio not in AUDIO:
        raise UserError(f"audio front end {audio!r} is unknown; choose one of {', '.join(AUDIO)}")
    if img_size not in IMG_SIZES:
        raise UserError(f"img_size {img_size} is not supported; choose one of {', '.join(map(str, IMG_SIZES))}")
    limits.checked(width=width)


if __name__ == "__main__":
    cli.run(lambda: blocks.main(Blocks))
