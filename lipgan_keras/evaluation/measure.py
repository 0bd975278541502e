"""Measure one result, against the video that it should have become: the work behind `run`.

A result is a video file with its truth beside it (`measure_pair`), or what a generator makes of a preprocessed clip
(`measure_clip`). Either is gone through once, in chunks, so that memory does not grow with its length.
"""

from ..utils import errors
from ..utils.errors import UserError
from .generated_clips import measure_clip
from .jobs import Job, Settings, empty, fail
from .paired_videos import measure_pair


def measure(settings: Settings, job: Job) -> dict:
    """The record of a job, as it stands in results.json under "videos"; raises nothing."""
    record = empty(settings, job)
    try:
        if job.problem:
            raise UserError(job.problem)
        if settings.plugin:
            from .. import blocks  # loads Keras

            blocks.load_plugin(settings.plugin)  # in a process that may be another
        (measure_clip if job.clip else measure_pair)(settings, job, record)
    except Exception as error:  # noqa: BLE001 - one bad video never stops the run
        fail(record, errors.describe(error, job.name))
    return record
