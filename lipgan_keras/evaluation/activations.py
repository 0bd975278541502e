"""Where a network looks.

    python -m lipgan_keras.evaluation.activations unet.h5 lipgan.h5 --data_root crops/ --out activations.png

Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391) tells which places of an image speak for a discriminator's score. The
mean activation maps tell at which places a generator's decoder is active. The command draws both for some checkpoints,
a row each, as LipGAN's figure 5 has it for a training without and with the discriminator, and prints how much of each
map lies on the lips.
"""

import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from ..data import clip_folder, scoring, splits
from ..data.dataset import Dataset
from ..inference import models
from ..utils import backend, cli, files
from ..utils.backend import keras
from ..utils.cli import ArgumentParser
from ..utils.errors import UserError
from ..utils.terminal import say

layers, ops = keras.layers, keras.ops
SAMPLES, MOST = 64, 512  # the networks see all at once
SMALLEST = 6  # places a side of the maps that are drawn: coarser ones do not tell lips from chin
SIDE = 12  # of the maps of the discriminators

# What each discriminator of `networks` says of a sample, from its outputs: (B,), higher is more in sync, or more real.
SCORES: dict[str, Callable] = {
    "discriminator": lambda distance: -distance[:, 0],
    "sync": lambda towers: ops.sum(towers[0] * towers[1], axis=-1),
    "quality": lambda logits: ops.mean(logits, axis=(1, 2, 3)),
}


def depends_on(model: keras.Model) -> dict[str, frozenset[int]]:
    """Of each operation of a functional model, its layers too, the numbers of the inputs that reach its output."""
    reached = {id(tensor): frozenset([number]) for number, tensor in enumerate(model.inputs)}
    found = {}
    for step in model.operations:  # from the inputs to the outputs
        tensors = keras.tree.flatten([step.input, step.output])  # what an input layer gives out is reached already
        found[step.name] = frozenset().union(*(reached.get(id(tensor), ()) for tensor in tensors))
        reached |= {id(tensor): found[step.name] for tensor in keras.tree.flatten(step.output)}
    return found


def grad_cam(
    model: keras.Model,
    inputs: np.ndarray | Sequence[np.ndarray],
    side: int = 6,
    against: bool = False,
    score: Callable | None = None,
) -> np.ndarray:
    """Which places of the images speak for a high score.

    Each channel of an inner layer weighs as much as its mean gradient. The map is the weighted sum of the channels,
    where that is above 0.

    Args:
        model: a discriminator of `networks`, or a functional model whose first input is images.
        inputs: what it takes, B samples; the images come first.
        side: of the inner layer, the last one of so many places a side that sees the images alone.
        against: the places that speak for a low score.
        score: takes the model's outputs and returns (B,); None: that of `SCORES` by the model's name.

    Returns:
        (B,side,side) float32, 0 or more. It has no unit: use it to compare places of one image.

    Raises:
        UserError: no layer has so many places, or the backend is neither TensorFlow nor JAX.
    """
    images, *others = inputs if isinstance(inputs, (list, tuple)) else [inputs]
    score = score or SCORES[model.name]
    seen = depends_on(model)
    # Of one channel are logits: all of the answer, and no evidence for it.
    sides = {
        layer.output.shape[1]: layer
        for layer in model.layers
        if seen[layer.name] == {0}
        and len(layer.output.shape) == 4
        and layer.output.shape[-1] > 1
        and not isinstance(layer, layers.InputLayer)
    }
    if side not in sides:
        raise UserError(f"{model.name}: no layer has {side} places a side; choose one of {', '.join(map(str, sides))}")
    inner = sides[side].output
    maps = _outputs(keras.Model(model.inputs[0], inner), images)
    head = keras.Model([inner, *model.inputs[1:]], model.output)
    others = [ops.convert_to_tensor(other) for other in others]

    def total(maps):
        return ops.sum(score(head([maps, *others], training=False)))

    gradient = backend.gradient(total, maps) * (-1 if against else 1)
    weights = gradient.mean(axis=(1, 2), keepdims=True)
    return np.maximum((weights * maps).sum(axis=-1), 0).astype("float32")


def _outputs(model, inputs):
    """Called once each, so that compiling, as `predict` does, would not pay."""
    found = model(keras.tree.map_structure(lambda x: ops.convert_to_tensor(x, "float32"), inputs), training=False)
    return keras.tree.map_structure(ops.convert_to_numpy, found)


def decoder_maps(generator: keras.Model, faces: np.ndarray, audio: np.ndarray) -> dict[int, np.ndarray]:
    """How active the generator's decoder is at each place, from coarse to fine.

    Args:
        generator: of `networks`.
        faces, audio: B samples, see `networks.build_generator`.

    Returns:
        {side: (B,side,side) float32}: means over the channels of the last layer of each size before the image.
    """
    seen = depends_on(generator)
    last = {
        layer.output.shape[1]: layer.output
        for layer in generator.layers
        if seen[layer.name] == {0, 1}
        and isinstance(layer, layers.Activation)
        and len(layer.output.shape) == 4
        and layer.output is not generator.output
    }
    found = _outputs(keras.Model(generator.inputs, list(last.values())), [faces, audio])
    return {side: np.abs(maps).mean(axis=-1).astype("float32") for side, maps in zip(last, found, strict=True)}


@dataclasses.dataclass
class Seen:
    """What the networks of a checkpoint look at, in the mean of some samples.

    Attributes:
        checkpoint: its path.
        face: (S,S,3) float32 in 0..1, BGR, the mean of the generated faces.
        lips: (S,S) float32 in 0..1, the mean of the lip masks.
        maps: {name: (side,side) float32}, 0 or more, sums to 1: of the decoder, "12 x 12" and so on, and of the
            contrastive discriminator.
        mouth: the mean mouth and the map of the lip-sync discriminator, which sees mouths alone; None without one.
    """

    checkpoint: str
    face: np.ndarray
    lips: np.ndarray
    maps: dict[str, np.ndarray]
    mouth: tuple[np.ndarray, np.ndarray] | None

    def on_lips(self, name: str) -> float:
        """How dense a map is on the lips, against its mean over the face: 1 is as everywhere; 0 of an empty map."""
        heat = self.maps[name]
        lips = cv2.resize(self.lips, heat.shape[::-1], interpolation=cv2.INTER_AREA)
        return float((heat * lips).sum() / max(heat.mean() * lips.sum(), 1e-12))


def look(
    checkpoint: str | os.PathLike,
    data_root: str | os.PathLike,
    filelists: str | os.PathLike | None = None,
    samples: int = SAMPLES,
) -> Seen:
    """Look through the networks of a checkpoint.

    Args:
        checkpoint: with a generator; the contrastive and the lip-sync discriminator are asked where it holds them.
        data_root: folder or pack of preprocessed clips.
        filelists: folder with a val.txt that names the clips; None: all.
        samples: frames, spread evenly over the clips.

    Raises:
        UserError: a file cannot be read, or there is no clip.
    """
    generator, config = models.load_generator(checkpoint)
    clips = clip_folder.find_clips(data_root, config.audio)
    clips = splits.to_measure(clips, checkpoint, None, None, filelists, split=None if filelists else "all")[1]
    data = Dataset(clips, config, batch_size=1, pairs=False)
    rng = np.random.default_rng(0)
    chosen = scoring.spread(len(data), samples)
    places = [(int(data.clip_of[i]), int(data.frame_of[i])) for i in chosen]
    samples_drawn = [data.sample(*place, rng) for place in places if data.usable(*place)]
    if not samples_drawn:
        raise UserError(f"{data_root}: no frame can be read; give clips that preprocess.py made")
    faces, audio, targets, masks = (
        np.concatenate([sample[name] for sample in samples_drawn]) for name in ("faces", "audio", "targets", "masks")
    )
    generated = _outputs(generator, [faces, audio])
    heats = {
        f"{side} x {side}": maps for side, maps in decoder_maps(generator, faces, audio).items() if side >= SMALLEST
    }
    networks = {}
    if {"discriminator", "sync"} & set(models.read_networks(checkpoint)):
        networks, _ = models.load_discriminators(checkpoint)
    if "discriminator" in networks:
        heats["contrastive"] = grad_cam(networks["discriminator"], [targets, audio], SIDE)
    mouth = None
    if "sync" in networks:
        drawn = list(scoring.draw(scoring.pairs_of(clips, config, networks, 0), samples))
        mouths, sounds = (
            np.concatenate(parts) for parts in zip(*((p.mouths, p.sounds[0]) for p in drawn), strict=True)
        )
        heat = grad_cam(networks["sync"], [mouths, np.moveaxis(sounds[..., 0], 1, -1)], SIDE).mean(axis=0)
        middle = mouths.shape[-1] // 6 * 3
        mouth = mouths[..., middle : middle + 3].mean(axis=0), heat
    return Seen(
        os.fspath(checkpoint),
        generated.mean(axis=0),
        np.asarray(masks, "float32").reshape(len(masks), *generated.shape[1:3]).mean(axis=0),
        {name: _share(maps.mean(axis=0)) for name, maps in heats.items()},
        mouth,
    )


def _share(heat):
    return heat / max(float(heat.sum()), 1e-12)


def draw(found: Sequence[Seen], names: Sequence[str], path: str | os.PathLike) -> None:
    """Write the figure: a row for each checkpoint, the mean generated face, and the maps over it."""
    from matplotlib.figure import Figure

    columns = list(dict.fromkeys(name for seen in found for name in seen.maps))
    wide = 1 + len(columns) + any(seen.mouth is not None for seen in found)
    figure = Figure(figsize=(1.55 * wide, 1.75 * len(found) + 0.35), layout="constrained", dpi=110)
    axes = figure.subplots(len(found), wide, squeeze=False)
    for line, seen, name in zip(axes, found, names, strict=True):
        for axis in line:
            axis.set_axis_off()
        face = np.clip(seen.face[..., ::-1], 0, 1)
        line[0].imshow(face)
        line[0].set_title(name, fontsize=9, loc="left")
        for axis, column in zip(line[1:], columns, strict=False):
            if column in seen.maps:
                _overlay(axis, face, seen.maps[column])
                axis.set_title(f"{column}: {seen.on_lips(column):.1f}", fontsize=9)
        if seen.mouth is not None:
            mouth, heat = seen.mouth
            _overlay(line[-1], np.clip(mouth[..., ::-1], 0, 1), _share(heat))
            line[-1].set_title("lip-sync", fontsize=9)
    with files.replacing(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": files.MARK.decode()})


def _overlay(axis, face, heat):
    grey = face.mean(axis=-1, keepdims=True) * np.ones(3)
    size = face.shape[1::-1]
    heat = cv2.resize(heat / max(heat.max(), 1e-12), size, interpolation=cv2.INTER_LINEAR)
    axis.imshow(grey)
    axis.imshow(heat, cmap="inferno", alpha=0.65, vmin=0, vmax=1)


def main() -> None:
    parser = ArgumentParser(prog="python -m lipgan_keras.evaluation.activations", description="Where networks look.")
    parser.add_argument("checkpoints", type=cli.path, nargs="+", metavar="CHECKPOINT", help="a row of the figure each")
    parser.add_argument("--data_root", type=cli.path, required=True, help="folder or pack of preprocessed clips")
    parser.add_argument("--filelists", type=cli.path, help="folder with a val.txt that names the clips (default: all)")
    parser.add_argument(
        "--names", type=str, nargs="+", metavar="NAME", help="of the checkpoints (default: of their files)"
    )
    parser.add_argument("--samples", type=cli.integer(1, MOST), default=SAMPLES, help="frames to look at")
    parser.add_argument("--out", type=cli.path, required=True, help="PNG file to write")
    args = parser.parse_args()
    files.check_outfile(args.out, *args.checkpoints, args.data_root, args.filelists, suffix=".png")
    files.check_writable(Path(args.out).parent)
    names = args.names or [Path(checkpoint).stem for checkpoint in args.checkpoints]
    if len(names) != len(args.checkpoints):
        raise UserError(f"--names: {len(names)} for {len(args.checkpoints)} checkpoints; give one for each")
    found = [look(path, args.data_root, args.filelists, args.samples) for path in args.checkpoints]
    for name, seen in zip(names, found, strict=True):
        dense = ", ".join(f"{column} {seen.on_lips(column):.2f}" for column in seen.maps)
        say(f"{name}: density on the lips, 1 is as everywhere: {dense}")
    draw(found, names, args.out)
    say(args.out)


if __name__ == "__main__":
    cli.run(main)
