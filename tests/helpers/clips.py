"""Clips as each of the three programs leaves them, folders of them, and packs."""

import cv2
import numpy as np

from lipgan_keras import audio
from lipgan_keras.data import clip_folder, pack
from lipgan_keras.media import audio_file

POINTS = np.array([[30, 40], [66, 40], [48, 55], [34, 70], [62, 70]], "float32")


def make_clip(
    folder,
    layout="lipgan_keras",
    frames=range(14),
    click=None,
    rate=16000,
    seconds=1.6,
    size=96,
    delay=0.0,
    seed=0,
    steady=None,
):
    """A clip's folder as each program writes it. Frame N is of brightness N; the sound is noise, or one click.

    delay: of the source frames' times against N/25, for "lipgan_keras"; steady: what its landmarks.npz says of that.
    """
    folder.mkdir(parents=True)
    frames = list(frames)
    if click is None:
        wave = np.random.default_rng(seed).standard_normal(int(seconds * rate)).astype("float32") * 0.1
    else:
        wave = np.zeros(int(seconds * rate), "float32")
        wave[round(click * rate)] = 1
    for n in frames:
        image = np.full((size, size + 5 * (layout == "wav2lip"), 3), n % 256, "uint8")
        cv2.imwrite(str(folder / f"{n}.jpg"), image)
    if layout == "lipgan_mfcc":
        for n in frames:
            np.savez(folder / f"{n}.npz", mfcc=np.full((12, 35), n, "float32"))
        return folder
    audio_file.save_wav(folder / "audio.wav", wave, rate)
    if layout != "wav2lip":
        np.savez(folder / "mels.npz", spec=audio.melspectrogram(audio_file.load_audio(folder / "audio.wav")))
    if layout == "lipgan_keras":
        arrays = {"landmarks": np.tile(POINTS, (len(frames), 1, 1)), "box": np.tile([0.0, 0, 96, 96], (len(frames), 1))}
        arrays |= {} if steady is None else {"steady": np.uint8(steady)}
        time = np.array(frames) / 25 + delay
        np.savez(
            folder / "landmarks.npz",
            frames=frames,
            time=time,
            duration=np.full(len(frames), 0.03),
            img_size=size,
            **arrays,
        )
    return folder


def make_root(root, clips=4, **options):
    for i in range(clips):
        make_clip(root / "main" / "video" / f"clip{i}", seed=i, **options)
    return root


def find(root, kind="mel"):
    return clip_folder.find_clips(root, kind, progress=False)


def packed(root, path=None, max_bytes=10**8):
    path = path or root.with_name(f"{root.name}.pack")
    pack.write(root, pack.clip_folders(root), path, max_bytes)
    return path
