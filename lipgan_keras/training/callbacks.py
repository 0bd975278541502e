"""Progress bar, log, samples, validation and checkpoints during `fit`."""

import csv
import time
from pathlib import Path

import cv2
import numpy as np
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary
from tqdm import tqdm

from ..data.dataset import Dataset
from ..data.loader import Loader
from ..utils import backend, files, tables
from ..utils.backend import has_gpu, keras
from ..utils.errors import UserError

LOG_FREQ = 50  # steps between rows of the log
FLUSH = 10  # steps of which the losses are fetched at once, so that a step need not wait for the one before


class Log(keras.callbacks.Callback):
    """Progress bar, `log.csv`, TensorBoard events, image grids, validation and `checkpoint.h5`.

    Rows are means since the row before. A row is written at every checkpoint, before it is saved: a resumed run cuts
    the log back to its checkpoint, and so ends with the rows of a run that was never killed.
    """

    def __init__(self, run, options, steps, validation, judged, place):
        super().__init__()
        self.run = run
        self.logdir = Path(options.logdir)
        self.checkpoint_freq = options.checkpoint_freq
        self.num_workers, self.accumulate = options.num_workers, options.accumulate
        self.steps = steps
        self.validation, self.judged, self.place = validation, judged, place
        self.columns = [
            "step",
            *_columns(options, run.lipgan.moving is not None),
            *(validation.columns if validation else []),
        ]
        self.values, self.pending = [], []

    def __enter__(self):
        self.bar = tqdm(
            initial=self.run.step,
            total=self.steps,
            unit="step",
            dynamic_ncols=True,
            smoothing=0.05,
            mininterval=0.5,
            disable=not self.place.leads,
        )
        if not self.place.leads:
            return self
        self._cut_log()
        # Not SummaryWriter: its thread takes a failing write (a full disc) to its grave, and the run waits for it
        # forever.
        self.events = EventsWriter(str(self.logdir / "events"))
        self._event(session_log=SessionLog(status=SessionLog.START), step=self.run.step + 1)  # hides what came after
        return self

    def __exit__(self, kind, value, traceback):
        self.bar.close()
        if not self.place.leads:
            return
        try:
            self.events.close()
        except OSError:  # the disc is full: an error on its way out says so
            if kind is None:
                raise

    def run_stage(self, data: Dataset, until: int) -> None:
        """Train to step `until`, or until the visual-quality discriminator may start."""
        # One Keras epoch: Keras's epochs would have to begin where checkpoints do, and a resumed run need not.
        left = until - self.run.step
        with Loader(data, self.run.step * self.accumulate, self.num_workers, processes=has_gpu()) as loader:
            self.run.lipgan.fit(
                self._steps(iter(loader)), steps_per_epoch=left, epochs=1, shuffle=False, verbose=0, callbacks=[self]
            )

    def _steps(self, batches):
        """What each step is given: this process's part of a batch, or of several."""
        while True:
            parts = {str(number): self.place.part(next(batches)[0]) for number in range(self.accumulate)}
            yield (parts if self.accumulate > 1 else parts["0"],)

    def on_train_batch_end(self, batch, logs=None):
        self.run.step += 1
        step = self.run.step
        self.pending.append(dict(logs))
        last = step == self.steps
        if last or len(self.pending) >= FLUSH or step % LOG_FREQ == 0 or step % self.checkpoint_freq == 0:
            self._flush()
        self.bar.update()
        if last or step % self.checkpoint_freq == 0:
            self._row(self._validate())
            self._save()
        elif step % LOG_FREQ == 0:
            self._row({})

    def _flush(self):
        """Fetch the losses of the last steps."""
        self.values += [{name: float(value) for name, value in logs.items()} for logs in self.pending]
        self.pending = []
        recent = self.values[-20:]
        shown = [name for name in SHOWN if name in recent[-1]]
        means = {name: np.mean([v[name] for v in recent if name in v]) for name in shown}
        self.bar.set_postfix({name: f"{mean:.4f}" for name, mean in means.items()}, refresh=False)
        if not all(np.isfinite(list(values.values())).all() for values in recent):
            self._diverged()

    def _diverged(self):
        raise UserError(f"{self.logdir}: the loss is not a number at step {self.run.step}; use a smaller --lr")

    def _validate(self):
        if backend.BACKEND == "jax":
            self.run.lipgan.jax_state_sync()  # `fit` keeps the weights to itself between the steps
        if not all(np.isfinite(v).all() for model in self.run.models.values() for v in model.get_weights()):
            self._diverged()  # the next loss would not be a number
        if not self.judged:
            return {}
        try:
            with self.run.lipgan.averaged():  # all processes take part, and wait for the one that judges
                values = self.judged(self.validation) if self.validation else {}
        except FloatingPointError:
            self._diverged()
        if not self.validation:
            return {}
        grid = self.validation.grid()
        if grid is not None:
            path = self.logdir / "samples" / f"step_{self.run.step:08d}.png"
            png = cv2.imencode(".png", grid)[1].tobytes()
            with files.replacing(path) as temporary:
                temporary.write_bytes(png)
            image = Summary.Image(height=len(grid), width=grid.shape[1], colorspace=3, encoded_image_string=png)
            self._event(summary=Summary(value=[Summary.Value(tag="samples", image=image)]))
        self.bar.write(f"step {self.run.step}: " + ", ".join(f"{k} {v:.5f}" for k, v in values.items()))
        return values

    def _row(self, validation):
        seen, self.values = self.values, []
        if not self.place.leads:
            return
        names = [name for name in self.columns if any(name in v for v in seen)]
        means = {name: float(np.mean([v[name] for v in seen if name in v])) for name in names}
        row = {"step": self.run.step} | means | validation
        with open(self.logdir / "log.csv", "a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.columns)
            if file.tell() == 0:
                writer.writeheader()
            writer.writerow(row)
        scalars = [Summary.Value(tag=name, simple_value=value) for name, value in row.items() if name != "step"]
        self._event(summary=Summary(value=scalars))

    def _event(self, step=None, **what):
        step = self.run.step if step is None else step
        self.events.write_event(Event(wall_time=time.time(), step=step, **what))
        self.events.flush()

    def _save(self):
        if self.run.quality_from is None and self.place.agree(
            self.validation is not None and self.validation.sound_used
        ):
            self.run.quality_from = self.run.step
            self.model.stop_training = bool(self.run.options.quality_weight)  # this stage is over
        self.run.save(self.logdir / "checkpoint.h5", self.place.leads)

    def _cut_log(self):
        """Drop the rows after the checkpoint, which this run will write again."""
        path = self.logdir / "log.csv"
        if not path.exists():
            return
        _, rows = tables.rows(path, "move it away, and a new one begins")
        rows = [row for _, row in rows if _step(row) <= self.run.step]
        with files.replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)


SHOWN = ("disc", "sync", "mae", "lip_mae", "match", "match_adv", "quality")  # beside the progress bar


def _columns(options, moves):
    """What each step logs, in the order of the log."""
    names = []
    if options.disc_weight:
        names += ["disc", "unsync", "sync"]
    if options.sync_weight and options.sync_mode == "joint":
        names += ["match"]
    if options.quality_weight:
        names += ["quality"]
    if options.has_generator:
        names += ["total", "mae", "lip_mae", "lip_share"]
        names += ["moved", "painted"] if moves else []
        names += ["lip_weight"] if options.lip_share is not None else []
        names += ["adv"] if options.disc_weight else []
        names += ["match_adv"] if options.sync_weight else []
        names += ["quality_adv"] if options.quality_weight else []
    return names


def _step(row):
    whole = None not in row.values()  # else a line cut short, by a full disc
    return int(row["step"]) if whole and row.get("step", "").isdecimal() else float("inf")
