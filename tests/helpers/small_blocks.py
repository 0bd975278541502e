"""A plugin of three blocks that make a generator small and quick, for tests to which any generator is good.

It has what a training keeps besides kernels: batch normalisation and its statistics. All its weights are in layers that
the project numbers, so that they have the same names whatever Keras has built before.
"""

from lipgan_keras.blocks import audio_encoder, by_side, decoder, face_encoder, layers


@face_encoder("small")
def small_face_encoder(b, face):
    x = b.conv(layers.AveragePooling2D(b.img_size // 24)(face), 8, s=2)
    return [x], layers.GlobalAveragePooling2D(keepdims=True)(x)


@audio_encoder("small")
def small_audio_encoder(b, window):
    x = layers.AveragePooling2D((4, 3))(window)
    return b.conv(x, 8, k=x.shape[1:3], pad="valid")


@decoder("small")
def small_decoder(b, maps, face_embedding, audio_embedding):
    x = layers.Concatenate()([face_embedding, audio_embedding])
    x = layers.Concatenate()([by_side(maps)[12], layers.UpSampling2D(12)(x)])
    x = layers.UpSampling2D(2)(b.conv(x, 8))
    return b.prediction(layers.UpSampling2D(b.img_size // 24)(x))
