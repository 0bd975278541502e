"""Every kind of file that commands read, one good one of each, and what reads it.

    python tests/helpers/readers.py FOLDER COUNT SEED [KIND ...]

damages the good files below FOLDER, which `make` fills, COUNT times each, and reads them with little memory. It prints
what was neither read nor refused by a UserError, and each damage that began to take more memory than that.
"""

import contextlib
import io
import json
import resource
import shutil
import sys
import tempfile
import traceback
import types
import warnings
from pathlib import Path

import numpy as np

from lipgan_keras import checkpoints
from lipgan_keras.checkpoints import presets, splits
from lipgan_keras.config import ModelConfig
from lipgan_keras.data import claims, clip_folder, look_through, pack, preprocess
from lipgan_keras.data.splits import Split
from lipgan_keras.evaluation import kept, mean_opinion, report, summary
from lipgan_keras.inference import batch
from lipgan_keras.puppets import clips as puppets_clips
from lipgan_keras.puppets import face_model, phones, utterance
from lipgan_keras.utils import locks
from lipgan_keras.utils.errors import UserError

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
from helpers import mutations  # noqa: E402 - found by the line above

ROOM = 600 << 20  # bytes of memory that reading may take besides what is taken
CONFIG = ModelConfig("basic", "mel", 0.125)


class Weight:
    """A weight of a layer, as `checkpoints` sees Keras's."""

    def __init__(self, name, shape):
        self.name, self.shape, self.path = name, shape, name

    def assign(self, value):
        assert value.shape == self.shape and np.isfinite(value).all()


def network(name):
    """What looks to `checkpoints` like a Keras model, with few weights."""
    layers = []
    for number, shape in enumerate([(7, 7, 6, 8), (3, 3, 8, 64)]):
        called = f"conv2d_{number + 1}"
        weights = [Weight("kernel", shape), Weight("bias", shape[-1:])]
        layers.append(types.SimpleNamespace(name=called, weights=weights))
    weights = [weight for layer in layers for weight in layer.weights]
    take = {"set_weights": lambda values: None, "load_weights": lambda path: None}
    return types.SimpleNamespace(name=name, layers=layers, weights=weights, **take)


def optimizer():
    return types.SimpleNamespace(variables=[Weight("iteration", ()), Weight("rate", (3, 3))])


def make(folder: Path) -> None:
    """Fill an empty folder with a good file of each kind."""
    import h5py

    from helpers.clips import make_clip, packed

    rng = np.random.default_rng(0)
    clip = make_clip(folder / "root" / "main" / "speaker" / "00001", frames=range(14), seconds=0.7, steady=True)
    (clip / "source.txt").write_text("speaker/00000\n", encoding="utf-8")
    make_clip(folder / "mfcc" / "speaker" / "00001", "lipgan_mfcc", frames=range(13))
    shutil.copytree(folder / "root", folder / "small")
    packed(folder / "small", folder / "clips.pack")
    shutil.rmtree(folder / "small")
    split = Split("sha256 1", 0.05, None, {"a/b": "a/b"}, frozenset([1, 2]), frozenset([3]))
    training = {"seed": 3, "recipe": "lipgan", "val_fraction": 0.05, "filelists": None, "lip_means": [0.5, 0.5]}
    with h5py.File(folder / "checkpoint.h5", "w") as file:
        file.attrs["lipgan_keras"] = 2
        file.attrs["config"] = json.dumps(vars(CONFIG))
        file.attrs["training"] = json.dumps(training | {"quality_from": None})
        file.create_dataset(
            "split", data=np.frombuffer(json.dumps(split.stored()).encode(), np.uint8), compression="gzip"
        )
        for layer in network("generator").layers:
            for weight in layer.weights:
                file.create_dataset(
                    f"generator/{layer.name}/{weight.name}",
                    data=rng.standard_normal(weight.shape).astype("f2" if len(weight.shape) > 1 else "f4"),
                    **({"compression": "gzip", "shuffle": True} if len(weight.shape) > 1 else {}),
                )
        for index, weight in enumerate(optimizer().variables):
            file[f"optimizers/generator/{index:04d}"] = np.zeros(weight.shape, "f4")
        for index, weight in enumerate(network("generator").weights):
            file[f"raw/generator/{index:04d}"] = np.zeros(weight.shape, "f4")
    with h5py.File(folder / "keras.h5", "w") as file:
        for layer in network("generator").layers:
            for weight in layer.weights:
                file[f"model_weights/{layer.name}/{layer.name}/{weight.name}:0"] = np.ones(weight.shape, "f4")
    make_preset(folder / "preset")
    (folder / "train.txt").write_text("speaker/00001\nspeaker/00002 x\n", encoding="utf-8")
    (folder / "pairs.csv").write_text("face,audio,outfile\na.png,b.wav,c.mp4\nd.png,e.wav,\n", encoding="utf-8")
    answers = "judge,pair,side,name,sync,quality,overall,system,sheet,position,answered\n"
    answers += "ann,p1,left,truth,5,5,4,s,1,1,2026-01-01T00:00:00Z\nann,p1,right,generated,1,2,3,s,1,2,\n"
    (folder / "answers.csv").write_text(answers, encoding="utf-8")
    (folder / "phones.txt").write_text("0.0 0.5 pau\n0.5 1.0 aa\n", encoding="utf-8")
    (folder / "flite.txt").write_text("pau:0.2 hh:0.3 ax:0.4 l:0.5 ow:0.7 pau:0.9\n", encoding="utf-8")
    (folder / "texts.txt").write_text("one sentence\nanother one\n", encoding="utf-8")
    record = {"name": "a", "status": "ok", "reason": None, "notes": ["x"], "frames": 7, "faces": 7}
    record |= {
        "files": {"truth": "a.mp4", "generated": "b.mp4"},
        "values": {"psnr": 3.0, "lip_mae": 0.5},
        "worst_frame": 3,
    }
    record |= {"curves": {"lse_distances": [1.0] * 31, "lip_error_by_shift": {"0": 1.0, "3": 2.0}}}
    record["curves"]["lip_error_other_sound"] = 0.3
    kept.write_record(folder / "record.json", "key", record)
    about = {"title": "PSNR", "unit": "dB", "better": "higher", "range": [0, None], "source": "x"}
    results = {"version": 1, "tool": "t", "mode": "generated", "name": "n", "settings": {"identity": "i", "of": {}}}
    results |= {
        "metrics": {"psnr": about, "lip_mae": about},
        "summary": {"psnr": {"mean": 3.0, "low": 2, "high": 4, "n": 1}},
    }
    results |= {
        "set": {"fid": 1.0},
        "missing": {"lse_d": "none"},
        "counts": {"pairs": 2, "ok": 1, "failed": 1, "noted": 1},
    }
    results["videos"] = [record, record | {"name": "b", "status": "failed", "reason": "none"}]
    (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")
    (folder / "looked_through.json").write_text(json.dumps({"a": [1, 2, [3]]}), encoding="utf-8")
    (folder / "holder.json").write_text(json.dumps({"host": "h", "pid": 3, "since": "s"}), encoding="utf-8")
    owner = {"token": "t", "machine": "m", "pid": 3, "started": "4"}
    (folder / "owner.json").write_text(json.dumps(owner), encoding="utf-8")
    features = {side: np.ones((3, 2048), "f4") for side in ("truth", "generated")}
    np.savez(folder / "a.fid.npz", **features)
    np.savez(folder / "puppet.npz", made_with="x", opening=np.zeros(9, "f4"))
    np.savez(folder / "face.npz", **face_arrays(rng))
    marks = {"idx_to_landmark_verts": list(range(68))}
    (folder / "vertex_indices.json").write_text(json.dumps(marks), encoding="utf-8")


def face_arrays(rng):
    """What looks like a face model to what reads it."""
    names = sorted({shape for control in face_model.CONTROLS.values() for shape in control})
    count = 80
    return {
        "neutral": rng.standard_normal((count, 3)), "expression": np.zeros((len(names), count, 3)),
        "identity": np.zeros((2, count, 3)), "expression_scale": np.ones(len(names)), "identity_scale": np.ones(2),
        "expression_names": np.array(names), "material_names": np.array([*face_model.MATERIALS]),
        "quads": np.zeros((4, 4), int), "material": np.zeros(4, int),
    }  # fmt: skip


def make_preset(folder):
    """As `presets.save` does, without Keras."""
    import h5py

    folder.mkdir()
    model = {"config": vars(CONFIG), "registered_name": presets.MODEL, "metadata": {"format": 1}}
    given = {"config": presets.preprocessor(CONFIG), "registered_name": presets.LIPSYNC}
    (folder / "config.json").write_text(json.dumps(model), encoding="utf-8")
    (folder / "preprocessor.json").write_text(json.dumps(given), encoding="utf-8")
    with h5py.File(folder / "model.weights.h5", "w") as file:
        splits.write(file, {"held_out": []})
        for number, weight in enumerate(network("generator").weights):
            file[f"layers/conv2d_{number // 2}/vars/{number % 2}"] = np.ones(weight.shape, "f4")


def read_preset(path):
    read_checkpoint(path.parent)


def read_checkpoint(path):
    config = checkpoints.read_config(path)
    checkpoints.read_networks(path)
    state = checkpoints.read_training(path)
    stored = checkpoints.read_split(path)
    if stored is not None and path.is_file():
        Split.restored(stored, path)
    config.with_audio_offset(None)
    checkpoints.load_weights(network("generator"), path)
    if state is not None:
        checkpoints.load_optimizers({"generator": optimizer()}, path)
        checkpoints.load_raw({"generator": network("generator")}, path)


def read_clip(path):
    """Of a folder, or the pack `path`."""
    for clip in clip_folder.find_clips(path, "mel", progress=False):
        use_clip(clip, "mel")


def read_clip_of(root, kind):
    def read(path):
        folder = path.parent.parent.parent if kind == "mfcc" else path.parent
        clip = clip_folder.Clip(path.parent, folder)
        use_clip(clip, kind)
        preprocess.finished(path.parent, 96)

    return read


def use_clip(clip, kind):
    if clip.layout == "lipgan_mfcc":
        for index in range(len(clip.frames)):
            clip.saved_window(index)
    elif kind in clip.front_ends:
        clip.features(kind)
    for index in range(len(clip.frames)):
        clip.image(index, 96)
    clip.points(slice(0, clip.shown), 96)
    assert np.isfinite(clip.start).all() and np.isfinite(clip.end).all()


def read_lists(path):
    pack.read_list(path)
    preprocess._listed_videos(path.parent, path, "train")


def read_answers(path):
    answers, _ = mean_opinion.merge(mean_opinion.read(path))
    list(mean_opinion.lines(mean_opinion.summarise(answers)))


def read_holder(path):
    shutil.copy(path, path.with_name(locks.HOLDER))
    locks._holder(path.parent)


def read_owner(path):
    owner = claims._owner(path.parent)
    owner.is_alive(1e9)


def read_results(path):
    results = report.load(path)
    if read_results.pages:
        report.write(results, path.parent, path.with_name("page.html"), pairs=2, cases=1)


read_results.pages = False


# {kind: (the file below the folder, what reads it)}
READERS = {
    "checkpoint": ("checkpoint.h5", read_checkpoint),
    "preset": ("preset/config.json", read_preset),
    "preset_given": ("preset/preprocessor.json", read_preset),
    "preset_weights": ("preset/model.weights.h5", read_preset),
    "keras": (
        "keras.h5",
        lambda path: (checkpoints.read_config(path), checkpoints.load_weights(network("generator"), path)),
    ),
    "landmarks": ("root/main/speaker/00001/landmarks.npz", read_clip_of("root", "mel")),
    "mels": ("root/main/speaker/00001/mels.npz", read_clip_of("root", "mel")),
    "source": ("root/main/speaker/00001/source.txt", read_clip_of("root", "mel")),
    "image": ("root/main/speaker/00001/3.jpg", read_clip_of("root", "mel")),
    "window": ("mfcc/speaker/00001/3.npz", read_clip_of("mfcc", "mfcc")),
    "pack": ("clips.pack", read_clip),
    "list": ("train.txt", read_lists),
    "pairs": ("pairs.csv", lambda path: batch.read_pairs(path, path.parent)),
    "answers": ("answers.csv", read_answers),
    "phones": ("phones.txt", phones.read),
    "flite": ("flite.txt", phones.read),
    "texts": ("texts.txt", utterance.read_texts),
    "record": ("record.json", lambda path: kept.record(path, "key")),
    "results": ("results.json", read_results),
    "holder": ("holder.json", read_holder),
    "owner": ("owner.json", read_owner),
    "features": ("a.fid.npz", lambda path: summary.read_features(path, ["truth", "generated"])),
    "looked": ("looked_through.json", look_through._known),
    "puppet": ("puppet.npz", lambda path: puppets_clips._is_made(path.with_suffix(".mp4"), "x", False)),
    "face": ("face.npz", face_model.FaceModel.load),
    "indices": ("vertex_indices.json", lambda path: face_model.FaceModel.load(path.with_name("face.npz"))),
}


def hit(error) -> bool:
    """Whether an error came of too little memory."""
    while error is not None:
        if isinstance(error, MemoryError) or "nable to allocate" in str(error) or "std::bad_alloc" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def attack(folder, count, seed, kinds, readers=None, memory=ROOM):
    """Damage and read; yields (kind, number, damage, traceback) of what was neither read nor refused."""
    readers = readers or READERS
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limits = resource.getrlimit(resource.RLIMIT_AS)
    for kind in kinds:
        name, read = readers[kind]
        path = Path(folder) / name
        good = path.read_bytes()
        try:
            for number in range(count):
                path.write_bytes(good)
                rng = np.random.default_rng([seed, number, *kind.encode()])
                damage = mutations.mutate(path, rng)
                resource.setrlimit(resource.RLIMIT_AS, (taken + memory, limits[1]))
                try:
                    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
                        warnings.simplefilter("ignore")
                        read(path)
                except UserError as error:
                    lines = str(error).splitlines()
                    if hit(error) or not lines:
                        yield kind, number, damage, "memory: " + "".join(traceback.format_exception(error))[-1500:]
                except Exception as error:  # noqa: BLE001 - what is looked for
                    yield kind, number, damage, "".join(traceback.format_exception(error))[-2500:]
                finally:
                    resource.setrlimit(resource.RLIMIT_AS, limits)
        finally:
            path.write_bytes(good)


def main():
    folder, count, seed, *kinds = sys.argv[1:]
    found = 0
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch) / "files"
        shutil.copytree(folder, place)
        for kind in kinds or READERS:
            print(f"{kind} ...", file=sys.stderr, flush=True)
            for failure in attack(place, int(count), int(seed), [kind]):
                found += 1
                print(json.dumps(failure), flush=True)
    print(json.dumps({"failures": found}))


if __name__ == "__main__":
    main()
