# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Why lip-sync GANs work
#
# You give a lip-sync GAN a face and a voice. It paints the mouth that says the voice. This lesson shows how it learns
# that, what goes wrong, and how you see that it went wrong. You need to know a little Keras.
#
# The lesson has seven sections. Each one ends with an exercise that breaks something on purpose. **Guess first what you
# will see. Then change the line, run the cells of the section again, and open the answer.**
#
# All faces here are *puppets*: a photo whose mouth a program moves. So we know the true opening of the mouth in every
# frame. The networks are small and the trainings are short, so that a laptop with two cores runs everything in a few
# minutes. Where a short training cannot show something, the text says so, and shows a longer one that was measured
# before.

# %%
# This cell installs the package where Python does not find it, as on Colab. It does nothing where it is installed.
import importlib.util
import subprocess
import sys

REPOSITORY = ""  # the address of the repository, such as "git+https://HOST/OWNER/lipgan_keras"

if importlib.util.find_spec("lipgan_keras") is None:
    if not REPOSITORY:
        raise SystemExit("lipgan_keras is not installed; set REPOSITORY to its address, and run this cell again")
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", f"lipgan-keras[lesson] @ {REPOSITORY}"], check=True)
    importlib.invalidate_caches()

# %%
import csv
import os
import shutil
import tempfile
import time
from pathlib import Path

import cv2
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Video, display

from lipgan_keras import LipSync, TrainConfig, audio, checkpoints, networks, train
from lipgan_keras.config import ModelConfig
from lipgan_keras.data import scoring, splits
from lipgan_keras.data.clip_folder import find_clips
from lipgan_keras.data.dataset import Dataset
from lipgan_keras.evaluation.activations import decoder_maps, depends_on, grad_cam
from lipgan_keras.face import cropping, regions, smoothing, tracking
from lipgan_keras.face.photos import shipped_photos
from lipgan_keras.media import audio_file, video_reader
from lipgan_keras.puppets.clips import make_clips
from lipgan_keras.puppets.demo import correlation
from lipgan_keras.puppets.speech import synthesise_speech
from lipgan_keras.utils.backend import keras

os.chdir(tempfile.mkdtemp(prefix="lesson-"))  # where all files of the lesson go
ASTRONAUT = shipped_photos()["astronaut"]  # Eileen Collins, of scikit-image
plt.rcParams.update({"figure.dpi": 80, "font.size": 11, "axes.spines.top": False, "axes.spines.right": False})
TIMES = {}


def begin(section):
    """Start the clock of a section: wall and processor seconds."""
    TIMES[section] = time.perf_counter(), time.process_time()


def end(section):
    """Stop it."""
    wall, cpu = time.perf_counter() - TIMES[section][0], time.process_time() - TIMES[section][1]
    TIMES[section] = wall, cpu
    print(f"{section}: {wall:.0f} s, {cpu:.0f} s of processor time")


def show(axes, image, title=""):
    """Draw an image, bytes or floats in 0..1, in OpenCV's order of the colours: blue, green, red."""
    axes.imshow(np.clip(image[..., ::-1] / (255 if image.dtype == np.uint8 else 1), 0, 1))
    axes.set_title(title, fontsize=11)
    axes.axis("off")


def show_rows(rows, size, heats=None):
    """Draw rows of images, {words: images}, maybe with maps of the same names over them."""
    figure = plt.figure(figsize=size)
    for part, (words, images) in zip(figure.subfigures(len(rows), 1), rows.items(), strict=True):
        part.suptitle(words, x=0.01, ha="left", fontsize=11)
        places = part.subplots(1, len(images))
        part.subplots_adjust(left=0.01, right=0.99, bottom=0.02, top=0.84, wspace=0.05)
        for number, (one, image) in enumerate(zip(places, images, strict=True)):
            show(one, image)
            if heats:
                heat = heats[words][number] / max(heats[words][number].max(), 1e-9)
                heat = np.clip(cv2.resize(heat, image.shape[:2], interpolation=cv2.INTER_CUBIC), 0, 1)
                one.imshow(heat, cmap="cool", alpha=0.8 * heat, vmin=0, vmax=1)
    plt.show()


# %% [markdown]
# ## 1. What the network sees
#
# The generator paints one frame at a time. It gets three things:
#
# - an **identity frame**: the same person at another moment. It tells what the person looks like.
# - the **upper half** of the frame that it is to paint. It tells how the head is held. The lower half is black.
# - the **audio window**: a third of a second of sound around the frame, as a mel spectrogram. 80 rows are frequencies,
#   27 columns are steps of 12.5 ms.
#
# It returns the whole frame, with a mouth.
#
# The first cell makes 24 clips of 4 seconds. A synthesiser makes the sound. The same numbers move the mouth.

# %%
begin("1. What the network sees")
OFFSET_MS = 0  # exercise 1

CROPS = Path("crops")
make_clips(CROPS, 24, seed=1, seconds=4, photos=[ASTRONAUT], crops=True, mirror=False)
clips = find_clips(CROPS, "mel")


def opening_of(clip):
    """(frames,) the true opening of a puppet's mouth, 0 shut to 1 wide open."""
    return np.load(clip.folder.with_suffix(".npz"))["opening"]


clip, FRAME, IDENTITY = clips[1], 49, 85
clock = audio.WindowClock(offset_ms=OFFSET_MS)
windows = clock.windows(clip.features("mel"), clip.start[: clip.shown], clip.end[: clip.shown])
faces, target = regions.assemble(clip.image(IDENTITY, 96), clip.image(FRAME, 96))
print("what the generator gets:", faces.shape, "and", windows[FRAME].shape, "- what it is to paint:", target.shape)

figure, axes = plt.subplots(1, 4, figsize=(11, 3.2), layout="constrained")
show(axes[0], faces[..., :3], "identity frame")
show(axes[1], faces[..., 3:], "frame, lower half hidden")
axes[2].imshow(windows[FRAME, ..., 0], origin="lower", aspect="auto", cmap="magma", vmin=-4, vmax=4)
axes[2].set(xlabel="step of 12.5 ms", ylabel="frequency (mel row)")
axes[2].set_title("audio window, 80 x 27", fontsize=11)
show(axes[3], target, "what it is to paint")
plt.show()

# %% [markdown]
# The next plot shows two seconds of the clip. Above is the sound, below is the mouth. The box is the window of one
# frame. Its middle lies on the middle of the frame.

# %%
opening = opening_of(clip)
mel = clip.features("mel")
middle = clock.centres(clip.start[FRAME], clip.end[FRAME])
figure, (above, below) = plt.subplots(2, 1, figsize=(11, 4.2), sharex=True, layout="constrained")
above.imshow(mel, origin="lower", aspect="auto", cmap="magma", extent=(0, mel.shape[1] / 80, 0, 80))
above.add_patch(plt.Rectangle((middle - 13.5 / 80, 0.5), 27 / 80, 79, fill=False, color="cyan", lw=2))
above.set_ylabel("sound: mel row")
below.plot(clip.start[: clip.shown] + 0.02, opening, color="tab:red")
below.axvline(clip.start[FRAME] + 0.02, color="tab:cyan", lw=2)
below.set(xlim=(0.5, 2.9), ylabel="mouth opening", xlabel="seconds")
plt.show()

loudness = windows[:, 10:60, 12:15, 0].mean(axis=(1, 2))
print(
    f"loudness in the middle of the window against the opening: correlation {np.corrcoef(loudness, opening)[0, 1]:.2f}"
)
end("1. What the network sees")

# %% [markdown]
# A louder sound goes with a wider mouth. This relation is what there is to learn. A network learns much more of it than
# the loudness: the bands tell an *ee* from an *oo*.
#
# **Exercise 1.** Set `OFFSET_MS = 400` at the top of the section. The window then hears what is said 0.4 s later.
#
# <details><summary>What you should see</summary>
# The box moves to the right of the line. The correlation falls from 0.87 to nearly 0. A network cannot learn to listen
# from such data. Real videos are often out of time too, by a frame or by five.
# </details>

# %% [markdown]
# ## 2. The architecture
#
# The next cell builds the generator of the paper (K R et al. 2019, section 4.1), and draws it from its layers. Each box
# is a tensor. Its height is its side in pixels, its width the number of its channels, both on a scale of logarithms.
#
# - The **face encoder** makes the image smaller and smaller, down to one vector.
# - The **audio encoder** does the same with the window.
# - The **decoder** takes both vectors and makes an image, larger and larger.
# - The arcs are **skip connections**. They hand the encoder's maps to the decoder. So the decoder need not remember
#   skin and background. It only has to change the mouth.

# %%
begin("2. The architecture")
INPUT_LEFT_OUT = None  # exercise 2: "identity", "upper half" or "sound"


def parts_of(model):
    """The sizes of the maps in each part of a generator, in order, and the sides at which a skip connection joins."""
    names = {frozenset([0]): "face encoder", frozenset([1]): "audio encoder", frozenset([0, 1]): "decoder"}
    parts, skips, seen = {name: [] for name in names.values()}, [], depends_on(model)
    for layer in model.layers:
        part, (height, *_, channels) = parts[names[seen[layer.name]]], layer.output.shape[1:]
        if isinstance(layer, keras.layers.Concatenate):
            skips.append(height)
        elif isinstance(layer, (keras.layers.InputLayer, keras.layers.Activation)):
            part += [(height, channels)] if (height, channels) not in part[-1:] else []
    return parts, skips


def draw_part(axes, sizes, x, y, colour, name):
    """Draw the maps of a part from x on; returns where it ends, and {height: the tops of the boxes of it}."""
    first, tops = x, {}
    for height, channels in sizes:
        high, wide = 0.6 + np.log2(height), 0.2 + 0.13 * np.log2(channels)
        axes.add_patch(plt.Rectangle((x, y - high / 2), wide, high, fc=colour, alpha=0.55, ec="black"))
        axes.text(x + wide / 2, y - high / 2 - 0.2, f"{height}\n{channels}", ha="center", va="top", fontsize=8)
        tops.setdefault(height, []).append((x + wide / 2, y + high / 2))
        x += wide + 0.45
    axes.text((first + x) / 2, y - 5.2, name, ha="center", color=colour, fontsize=13)
    return x, tops


def draw_network(model, axes):
    """Draw a generator: its encoders on the left, its decoder on the right."""
    parts, skips = parts_of(model)
    face_end, tops = draw_part(axes, parts["face encoder"], 0, 5.5, "tab:blue", "face encoder")
    sound_end, _ = draw_part(axes, parts["audio encoder"], 0, -5.5, "tab:orange", "audio encoder")
    first = max(face_end, sound_end) + 1
    last, joined = draw_part(axes, parts["decoder"], first, 5.5, "tab:green", "decoder")
    for x, y in ((face_end, 5.5), (sound_end, -5.5)):
        axes.annotate("", (first - 0.2, 5.5), (x - 0.2, y), arrowprops={"arrowstyle": "->", "lw": 1.5})
    for side in [side for side in skips if side in tops and side in joined and side > 1]:
        arc = {"arrowstyle": "->", "color": "grey", "connectionstyle": "arc3,rad=-0.16", "shrinkB": 4}
        axes.annotate("", joined[side][0], tops[side][-1], arrowprops=arc)
    axes.set(xlim=(-0.3, last), ylim=(-11, 12.5))
    axes.axis("off")


generator = networks.build_generator("basic")
figure, axes = plt.subplots(figsize=(12, 5.6), layout="constrained")
draw_network(generator, axes)
plt.show()
for name in ("discriminator", "sync", "quality"):
    model = networks.build(ModelConfig("basic"), name)
    print(f"{name:14} {model.count_params():>12,} parameters, sees {', '.join(str(i.shape[1:]) for i in model.inputs)}")
print(f"{'generator':14} {generator.count_params():>12,} parameters")

# %% [markdown]
# In each label the upper number is the height, and the lower one the channels. Figure 2 of the paper shows the same.
#
# The next cell asks a trained generator what each input is for. It is the one that ships with the package. Its decoder
# moves pixels of the identity frame, and paints only what these do not show, such as teeth.

# %%
shipped, shipped_config = checkpoints.load_generator(checkpoints.SHIPPED)
given = {"faces": faces[None].copy(), "sound": windows[FRAME : FRAME + 1].copy()}
if INPUT_LEFT_OUT == "identity":
    given["faces"][..., :3] = 0
if INPUT_LEFT_OUT == "upper half":
    given["faces"][..., 3:] = 0
if INPUT_LEFT_OUT == "sound":
    given["sound"][:] = -4  # silence
painted = shipped.predict_on_batch([given["faces"], given["sound"]])[0]
figure, axes = plt.subplots(1, 4, figsize=(11, 3.1), layout="constrained")
for one, image, title in zip(
    axes,
    (given["faces"][0, ..., :3], given["faces"][0, ..., 3:], painted, target),
    ("identity frame", "frame, lower half hidden", "painted", "truth"),
    strict=True,
):
    show(one, image, title)
plt.show()
end("2. The architecture")

# %% [markdown]
# **Exercise 2.** Set `INPUT_LEFT_OUT` to `"identity"`, then to `"upper half"`, then to `"sound"`.
#
# <details><summary>What you should see</summary>
# Without the identity frame the lower half stays black: the network does not know who this is. Without the upper half
# the mouth is right, but the head is held as in the identity frame, and the image gets soft. Without the sound the
# picture looks perfect, and the mouth is shut. So nobody sees the last mistake who looks at one image.
# </details>

# %% [markdown]
# ## 3. The leak
#
# The lower half is hidden. So the network must listen, one would think. But the crop itself may tell how open the mouth
# is. A face detector finds eyes, nose and the corners of the mouth. The corners come down with the jaw. A crop that
# hangs on them comes down too. So **the eyes move up in the crop when the mouth opens.** The network sees the eyes.
#
# The next cell films two puppets, runs the detector, and cuts each frame twice: with a crop that follows the jaw, and
# with a *steady* crop. A steady crop hangs on eyes and nose, and on the mean place of the mouth over a second.

# %%
begin("3. The leak")
VISIBLE_ROWS = 48  # exercise 3: of the 96 rows of a crop

openings, cuts, eyes = [], {"follows the jaw": [], "steady": []}, {"follows the jaw": [], "steady": []}
for video in make_clips("videos", 2, seed=5, seconds=6, photos=[ASTRONAUT], mirror=False):
    seen = list(tracking.follow(video_reader.read_frames(video)))
    openings.append(np.load(video.with_suffix(".npz"))["opening"][: len(seen)])
    points = np.stack([one.face.landmarks for _, one in seen])
    for style, placed in (("follows the jaw", points), ("steady", smoothing.steadied(points))):
        boxes = [cropping.landmarks_box(five) for five in placed]
        cuts[style].append(
            np.stack([cropping.extract(frame.image, box) for (frame, _), box in zip(seen, boxes, strict=True)])
        )
        eyes[style].append(
            np.array([cropping.to_crop(p[:2], b)[:, 1].mean() for p, b in zip(points, boxes, strict=True)])
        )

shut, wide = np.argmin(openings[0]), np.argmax(openings[0])
figure, axes = plt.subplot_mosaic(
    [["shut", "wide", "jaw"], ["shut", "wide", "steady"]],
    figsize=(11.5, 3.8),
    width_ratios=(1, 1, 2.3),
    layout="constrained",
)
for name, frame in (("shut", shut), ("wide", wide)):
    axes[name].axhline(eyes["follows the jaw"][0][shut], color="white", ls="--", lw=1)
    show(axes[name], cuts["follows the jaw"][0][frame], f"follows the jaw, {name}")
    axes[name].axhline(eyes["follows the jaw"][0][frame], color="cyan")
for name, style in (("jaw", "follows the jaw"), ("steady", "steady")):
    r = np.corrcoef(eyes[style][0], openings[0])[0, 1]
    axes[name].plot(eyes[style][0] - eyes[style][0].mean(), label="row of the eyes in the crop")
    axes[name].set_title(f"crop: {style}; correlation of eyes and mouth {r:.2f}", fontsize=11)
    axes[name].plot(
        -3 * (openings[0] - openings[0].mean()), color="tab:red", alpha=0.6, label="mouth (scaled, upside down)"
    )
    axes[name].set_ylim(-3.2, 3.2)
    axes[name].set_ylabel("pixels")
axes["jaw"].legend(loc="lower left", fontsize=9, ncols=2)
axes["steady"].set_xlabel("frame")
plt.show()

# %% [markdown]
# Now we measure the leak. A linear regression gets the upper rows of one video's crops, and learns the opening of the
# mouth. Then it guesses the opening in the other video. No sound is used. A perfect crop would give it nothing.


# %%
def leak(crops, rows):
    """How well a linear regression tells the mouth's opening in the second video from the top rows of its crops."""

    def features(images):
        grey = images[:, :rows].astype("float32").mean(axis=-1) / 255
        return np.stack([cv2.resize(one, (24, rows // 4), interpolation=cv2.INTER_AREA).ravel() for one in grey])

    known, new = (features(images) for images in crops)
    mean, truth = known.mean(axis=0), openings[0] - openings[0].mean()
    known, new = known - mean, new - mean
    weights = known.T @ np.linalg.solve(known @ known.T + np.eye(len(known)), truth)  # ridge regression
    return np.corrcoef(new @ weights, openings[1])[0, 1]


rows = np.unique([16, 24, 32, 40, 48, 64, 96, VISIBLE_ROWS])
figure, axes = plt.subplots(figsize=(8, 3.6), layout="constrained")
for style, colour in (("follows the jaw", "tab:red"), ("steady", "tab:blue")):
    values = {count: leak(cuts[style], count) for count in rows}
    axes.plot(rows, [values[count] for count in rows], "o-", color=colour, label=f"crop: {style}")
    told = values[VISIBLE_ROWS]
    print(f"{style:16} {VISIBLE_ROWS} rows tell the opening: correlation {told:.2f}, {told**2:.0%} of its variance")
axes.axvline(VISIBLE_ROWS, color="grey", ls=":")
axes.text(VISIBLE_ROWS + 1, 0.05, "what the generator sees ends here", color="grey")
axes.set(
    xlabel="rows of the crop that the regression sees, from the top",
    ylabel="correlation with the truth",
    ylim=(0, 1.05),
)
axes.legend(loc="lower right", bbox_to_anchor=(1, 0.1))
plt.show()
end("3. The leak")

# %% [markdown]
# Look at the left end of the plot: the regression sees only hair and forehead there. It still reads the mouth from
# crops that follow the jaw. A network that reads it too has a small loss and a dead mouth: in a photo the eyes never
# move. The steady crop gives less away. Some is left: a mean over a second still follows slow changes, such as a
# pause, and cheeks and nose move with the jaw. So the package can also take the upper half from another moment
# (`--augment upper`). Then only the sound is right.
#
# **Exercise 3.** Set `VISIBLE_ROWS = 64`. The network would see the upper lip.
#
# <details><summary>What you should see</summary>
# Both crops then give the opening away nearly completely (a correlation of 0.99). No crop helps if too
# little is hidden.
# </details>

# %% [markdown]
# ## 4. Three losses
#
# First a small generator learns with the plain loss, **L1**: the mean absolute error of all pixels. That is the
# *start*. Then three copies of it go on:
#
# 1. **L1**: the same loss as before.
# 2. **Lips**: a pixel in the lips weighs 6 times as much.
# 3. **GAN**: the loss of 2, and two discriminators. One is the paper's: it sees a face and a sound. The other one
#    judges pictures: it sees fine detail, and says *real* or *painted*.
#
# Let us see where the losses look. The lips are a small part of the picture.

# %%
begin("4. Three losses")
LIP_WEIGHT = 6  # exercise 4
START, STEPS = 80, 100  # of the start, and of each training that goes on from it

mask = regions.lip_mask(clip.points(FRAME, 96))
figure, axes = plt.subplots(1, 3, figsize=(10.5, 3.3), layout="constrained")
show(axes[0], target, "a frame")
axes[1].imshow(np.ones_like(mask), cmap="Blues", vmin=0, vmax=LIP_WEIGHT)
axes[1].set_title("L1: each pixel weighs 1", fontsize=11)
drawn = axes[2].imshow(1 + (LIP_WEIGHT - 1) * mask, cmap="Blues", vmin=0, vmax=LIP_WEIGHT)
axes[2].set_title(f"Lips: up to {LIP_WEIGHT}", fontsize=11)
figure.colorbar(drawn, ax=axes[2], label="weight")
for one in axes[1:]:
    one.axis("off")
plt.show()
share = mask.mean()
in_lips = LIP_WEIGHT * share / (1 + (LIP_WEIGHT - 1) * share)
print(f"The lips have {share:.0%} of the weight in L1, and {in_lips:.0%} in Lips.")

# %% [markdown]
# The next cell trains. It takes most of the time of the lesson.


# %%
def trained(name, **options):
    """Train a small generator anew; returns its log and its checkpoint."""
    shutil.rmtree(name, ignore_errors=True)
    common = dict(recipe="unet", model="basic", width=0.125, batch_size=16, lr=2e-3, steps=STEPS, checkpoint_freq=40)
    common |= dict(ema=0.9, val_fraction=0.15, augment=["none"], num_workers=1)
    train(TrainConfig(str(CROPS), logdir=name, **(common | options)))
    with open(Path(name) / "log.csv", newline="") as file:
        return list(csv.DictReader(file)), Path(name) / "checkpoint.h5"


logs, files = {}, {}
logs["start"], files["start"] = trained("start", steps=START)
GOES_ON = dict(resume_gen=str(files["start"]), lr_schedule="cosine")
logs["L1"], files["L1"] = trained("l1", **GOES_ON)
logs["Lips"], files["Lips"] = trained("lips", lip_weight=LIP_WEIGHT, **GOES_ON)
# At half the rate: networks that learn against each other swing.
DISCRIMINATORS = dict(disc_weight=0.01, quality_weight=0.005, quality_start=0, lr=1e-3)
logs["GAN"], files["GAN"] = trained("gan", lip_weight=LIP_WEIGHT, **DISCRIMINATORS, **GOES_ON)

# %% [markdown]
# The left plot shows the error in the lips on clips that were held out. The full line is the error under the right
# sound. The dashed line is the error under the sound of another moment. **The gap between the two is what the
# generator hears.**
# The right plot shows the gap alone.

# %%
COLOURS = {"start": "black", "L1": "tab:gray", "Lips": "tab:blue", "GAN": "tab:green"}


def column(log, name):
    """(steps, values) of a column of log.csv, where it has values."""
    return np.array([(int(row["step"]), float(row[name])) for row in log if row[name]]).T


figure, axes = plt.subplots(1, 2, figsize=(11, 3.9), layout="constrained")
for name, log in logs.items():
    (steps, right), (_, wrong) = column(log, "val_lip_mae"), column(log, "val_lip_mae_wrong_sound")
    steps = steps if name == "start" else steps + START
    axes[0].plot(steps, right, color=COLOURS[name], label=name)
    axes[0].plot(steps, wrong, "--", color=COLOURS[name])
    axes[1].plot(steps, wrong / right - 1, "o-", color=COLOURS[name], label=name)
    print(f"{name:5} lip error {right[-1]:.4f}, under wrong sound {wrong[-1]:.4f} ({wrong[-1] / right[-1] - 1:+.1%})")
axes[0].set(xlabel="training step", ylabel="error in the lips", title="right sound (full), wrong sound (dashed)")
axes[1].set(xlabel="training step", ylabel="gap, share of the error", title="the gap: what the generator hears")
axes[1].yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
axes[0].legend()
plt.show()

# %% [markdown]
# Now the mouths, of held-out clips, from shut to wide open. *Detail* is the strength of the fine structure in the lips,
# as a share of the truth's.

# %%
held_out = splits.split_clips(clips, 0.15)[1]
data = Dataset(held_out, ModelConfig("basic"), batch_size=1, pairs=False)
places = [(number, frame) for number in range(len(held_out)) for frame in range(3, 97, 4 * len(held_out))]
rng = np.random.default_rng(0)
samples = [data.sample(number, frame, rng) for number, frame in places]
held = {name: np.concatenate([sample[name] for sample in samples]) for name in samples[0]}
generators = {name: checkpoints.load_generator(file)[0] for name, file in files.items()}
outputs = {name: model.predict([held["faces"], held["audio"]], verbose=0) for name, model in generators.items()}


def detail(images):
    """How strong that is in the lips what a blur of 3 x 3 pixels takes away."""
    fine = np.stack([one - cv2.blur(one, (3, 3)) for one in images])
    return np.sqrt((held["masks"] * np.square(fine)).sum() / held["masks"].sum())


truth = np.array([opening_of(held_out[number])[frame] for number, frame in places])
chosen = np.argsort(truth)[np.linspace(0, len(truth) - 1, 8).astype(int)]
rows = {}
for name, images in ({"truth": held["targets"]} | outputs).items():
    share = detail(images) / detail(held["targets"])
    print(f"{name:5} detail {share:.0%}")
    rows[f"{name}: detail {share:.0%}"] = images[chosen, 40:88, 18:78]
show_rows(rows, (10.5, 6.6))
end("4. Three losses")

# %% [markdown]
# What you see:
#
# - The **start** paints one mouth for all sounds. It hears nothing.
# - **Lips** has the smallest error in the lips, and hears more than **L1** after as many steps.
# - **GAN** has mouths with more detail, some of it noise, and the *larger* error. This is no mistake. Whoever is unsure
#   and wants a small error paints the mean of all mouths that may be right, and a mean is blurred. The discriminator
#   knows that a blur is painted. So the generator has to decide, and pays for what it decides wrongly. Error alone
#   cannot judge a GAN.
# - None of these mouths speaks yet. 180 steps are too few.
#
# Longer trainings show more. The next plot is **stored**: it is not computed here. Each bar is
# a training of 1,500 steps, 20 to 40 minutes on 4 cores, judged on three strangers (docs/results_puppets.md).

# %%
STORED = {  # lip error; correlation with the speech under loud music, dubbed; movement as a share of the truth's
    "L1": (0.0444, 0.71, 0.87),
    "lips": (0.0420, 0.59, 0.91),
    "all, no\nsync disc.": (0.0445, 0.81, 0.66),
    "all, no\nquality disc.": (0.0377, 0.85, 1.16),
    "all": (0.0376, 0.86, 1.11),
}
figure, axes = plt.subplots(1, 3, figsize=(11.5, 3.4), layout="constrained")
for number, (one, title, aim) in enumerate(
    zip(axes, ("lip error", "follows speech under music", "movement"), (0, 1, 1), strict=True)
):
    one.barh(list(STORED), [values[number] for values in STORED.values()], color="tab:purple", alpha=0.7)
    one.axvline(aim, color="black", ls=":")
    one.set_title(f"{title} (best: {aim})", fontsize=11)
    one.invert_yaxis()
for one in axes[1:]:
    one.set_yticks([])
figure.suptitle("Stored, measured before: 1,500 steps, docs/results_puppets.md", fontsize=11)
plt.show()

# %% [markdown]
# *All* is the package's recipe `lipsync`: the lips' loss, a discriminator of lip-sync, one of pictures, and varied
# faces and sounds. Music in the training makes it deaf to music. Without the lip-sync discriminator mouths move too
# little.
#
# **Exercise 4.** Set `LIP_WEIGHT = 1000`, and run the section again.
#
# <details><summary>What you should see</summary>
# The lips have 99% of the weight, and the rest of the face hardly counts. Look at `logs["Lips"][-1]["val_mae"]`, the
# error of the whole image: it is 0.070, and 0.041 in L1. The lips are no better than with a weight of 6 (0.044). A loss
# needs both: the lips, and the face around them.
# </details>

# %% [markdown]
# ## 5. A generator that does not listen
#
# A generator can have a small loss and ignore the sound. You do not see it in an image, and not in the loss. You see
# it if you **play it the wrong sound**: a generator that listens gets worse.
#
# We have such a generator: the *start*. Its loss had fallen a lot when it stopped. Now the held-out frames get a sound
# that is late or early by some frames. The start and the generator *Lips* paint them.

# %%
begin("5. A generator that does not listen")
DELAY_FRAMES = 0  # exercise 5

generators["start"], _ = checkpoints.load_generator(files["start"])
shifts = np.array([-12, -9, -6, -4, -2, -1, 0, 1, 2, 4, 6, 9, 12])


def lip_error(model, shift):
    """Error in the lips of the held-out frames when the sound is played so many frames late."""
    clock = audio.WindowClock(offset_ms=-40 * (shift + DELAY_FRAMES))
    heard = []
    for number, frame in places:
        one = held_out[number]
        heard.append(clock.windows(one.features("mel"), one.start[[frame]], one.end[[frame]])[0])
    made = model.predict([held["faces"], np.stack(heard)], verbose=0)
    return scoring.lip_mae(held["masks"][..., 0], held["targets"], made).mean()


(_, losses) = column(logs["start"], "val_mae")
print(f"start: the loss on held-out clips fell from {losses[0]:.3f} to {losses[-1]:.3f}")
figure, axes = plt.subplots(figsize=(8.5, 3.9), layout="constrained")
for name, words in (("start", "start: ignores the sound"), ("Lips", "Lips: listens")):
    errors = np.array([lip_error(generators[name], shift) for shift in shifts])
    axes.plot(shifts, errors, "o-", color=COLOURS[name], label=words)
    best, cost = shifts[errors.argmin()], np.ptp(errors) / errors.min()
    print(f"{name:5} least error at a shift of {best:+d} frames; wrong sound costs up to {cost:.1%}")
axes.axvline(0, color="grey", ls=":")
axes.set(xlabel="the sound is played so many frames late", ylabel="error in the lips")
axes.legend()
plt.show()
end("5. A generator that does not listen")

# %% [markdown]
# This is the one plot. A generator that listens has a **V**: the error is least where sound and image fit. A generator
# that does not listen has a **flat line**. `train.py` logs two points of this plot, `val_lip_mae` and
# `val_lip_mae_wrong_sound`. `evaluate.py` measures the same on videos.
#
# **Exercise 5.** Set `DELAY_FRAMES = 4`: somebody cut the sound 4 frames too late.
#
# <details><summary>What you should see</summary>
# The V moves 4 frames to the left. Its least error is where the shift makes up for the delay. So the plot also measures
# how far sound and image are apart. The flat line stays flat.
# </details>

# %% [markdown]
# ## 6. What each discriminator looks at
#
# **Grad-CAM** asks a network which places of the image speak for its score. It takes an inner layer, and weighs each
# channel by its mean gradient. Bright places made the score higher.
#
# There are three discriminators. The paper's (*contrastive*) and the one of pictures (*quality*) come from the GAN
# above. The one of *lip-sync* sees five mouths in a row and their sound. We train it alone here, for it learns from
# real mouths only.

# %%
begin("6. What each discriminator looks at")
TRAINED = True  # exercise 6

_, files["sync"] = trained(
    "sync",
    recipe="sync",
    width=0.25,
    steps=80,
    checkpoint_freq=80,
    lr=1e-3,
    ema=0.0,
)
judges = {}
for name, file in (("discriminator", files["GAN"]), ("quality", files["GAN"]), ("sync", files["sync"])):
    keras.utils.set_random_seed(0)
    judges[name] = networks.build(checkpoints.read_config(file), name)
    if TRAINED:
        checkpoints.load_weights(judges[name], file)

known = scoring.pairs_of(splits.split_clips(clips, 0.15)[0], ModelConfig("basic"), judges, 0)
pairs = scoring.pairs_of(held_out, ModelConfig("basic"), judges, 0)
tests = [scoring.score(judges, scoring.draw(one, 192)) for one in (known, pairs)]
for name, value in scoring.held_out_accuracy(*tests).items():
    print(f"{name:14} tells sound in time from sound out of time in {value:.0%} of held-out pairs (a guess: 50%)")
pasted = np.concatenate([held["targets"][:, :48], outputs["GAN"][:, 48:]], axis=1)
logits = [judges["quality"].predict(one, verbose=0).mean(axis=(1, 2, 3)) for one in (held["targets"], pasted)]
told = np.mean(logits[0][:, None] > logits[1][None])
print(f"{'quality':14} tells a true frame from a painted one in {told:.0%} of held-out pairs")

# %%
few = chosen[[0, 2, 4, 6, 7]]
drawn = next(iter(scoring.draw(pairs, 5)))
mouths, sounds = drawn.mouths[:5], np.moveaxis(drawn.sounds[0][:5, ..., 0], 1, -1)
words = (
    "contrastive: what speaks for 'in sync', in true frames",
    "quality: what speaks for 'painted', in frames that the GAN painted below the true upper half",
    "lip-sync: what speaks for 'in sync', in true mouths (the third of five)",
)
heats = {
    words[0]: grad_cam(judges["discriminator"], [held["targets"][few], held["audio"][few]], side=12),
    words[1]: grad_cam(judges["quality"], pasted[few], side=12, against=True),
    words[2]: grad_cam(judges["sync"], [mouths, sounds], side=12),
}
show_rows(dict(zip(words, (held["targets"][few], pasted[few], mouths[..., 6:9]), strict=True)), (10.5, 7.2), heats)
for name, heat in zip(("contrastive", "quality"), heats.values(), strict=False):
    print(f"{name:11} {heat[:, 6:].sum() / heat.sum():.0%} of the map lies in the lower half of the face crop")
lips = heats[words[2]]
share = lips[:, 3:7].sum() / lips.sum()
print(f"{'lip-sync':11} {share:.0%} of the map lies in the third of the mouth crop that has the lips")

# %% [markdown]
# - The **contrastive** discriminator calls hardly more pairs right than a guess would. It has learned nothing of sync
#   yet, so its map means nothing, wherever it lies: on another computer it may lie elsewhere. It sees one frame at a
#   time, and needs a far longer training.
# - The **quality** discriminator looks at the skin of the half that was painted. There it can tell. It is not there for
#   sync.
# - The **lip-sync** discriminator sees nothing but mouths, five in a row. It knows sync after 80 steps. Its map lies on
#   the lips in some pictures, and beside them in others. So the accuracy says *that* it knows, and the map does not say
#   *how*.

# %% [markdown]
# The decoder can be asked too: how active is it at each place? The upper row is the generator *L1*, the lower one the
# *GAN*. Both get the same frames. The maps are means over frames and channels, from coarse to fine. Both decoders work
# in the lower half: what lies above comes through the skip connections.

# %%
figure, axes = plt.subplots(2, 5, figsize=(10.5, 4.5), layout="constrained")
for line, name in zip(axes, ("L1", "GAN"), strict=True):
    maps = decoder_maps(generators[name], held["faces"], held["audio"])
    for one, side in zip(line, [side for side in maps if side > 3], strict=False):
        one.imshow(maps[side].mean(axis=0), cmap="viridis")
        one.set_title(f"{name}, {side} x {side}", fontsize=11)
        one.axis("off")
plt.show()
end("6. What each discriminator looks at")

# %% [markdown]
# **Exercise 6.** Set `TRAINED = False`. The discriminators then have random weights.
#
# <details><summary>What you should see</summary>
# The accuracies fall to a guess. But there are still bright places, and you can tell a story about them. A Grad-CAM map
# alone proves nothing. Look at the accuracy first.
# </details>

# %% [markdown]
# ## 7. A mouth that speaks
#
# At last the generator that ships with the package: the same network, half of the full width, 12,000 steps on many
# people. It never saw this photo, and never heard this sound. Play the video.

# %%
begin("7. A mouth that speaks")
AUDIO_OFFSET_MS = 0  # exercise 7

wave, said, _ = synthesise_speech(4.0, np.random.default_rng(10_000))
audio_file.save_wav("speech.wav", wave)
made = LipSync(audio_offset_ms=AUDIO_OFFSET_MS).run(ASTRONAUT, "speech.wav", "talk.mp4")
print(f"{made.frames} frames in {made.elapsed:.0f} s, painted by {made.engine}")
display(Video("talk.mp4", embed=True, width=384))

# %%
frames = list(video_reader.read_frames("talk.mp4"))
follows = correlation("talk.mp4", said)
figure = plt.figure(figsize=(11, 3.6), layout="constrained")
above, below = figure.subfigures(2, 1, height_ratios=(1.2, 1))
numbers = np.array([4, 11, 19, 24, 28, 37, 43, 50, 59, 70, 95])
for one, number in zip(above.subplots(1, len(numbers)), numbers, strict=True):
    show(one, frames[number].image[112:172, 194:254], f"{frames[number].time:.2f} s")
axes = below.subplots()
axes.plot(np.arange(len(said)) / 25, said, color="tab:red")
axes.vlines(numbers / 25, 0, 1, color="grey", ls=":")
axes.set(xlabel="seconds", ylabel="true opening", xlim=(0, 4))
plt.show()
print(f"the mouth in the video follows the true opening with a correlation of {follows:.2f}")
end("7. A mouth that speaks")

# %% [markdown]
# **Exercise 7.** Set `AUDIO_OFFSET_MS = 400`. The generator then hears each sound 0.4 s before it is played.
#
# <details><summary>What you should see</summary>
# The mouth moves as well as before, but too early. The correlation falls near 0 or below. People notice it when the
# sound comes before the lips by 45 ms, or after them by 125 ms (ITU-R BT.1359).
# </details>
#
# Say that your videos are synthetic, and ask the people whose faces you use.

# %%
print(f"{'section':40} seconds  of processor time")
for section, (wall, cpu) in TIMES.items():
    print(f"{section:40} {wall:7.0f} {cpu:7.0f}")
