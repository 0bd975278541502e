"""Videos, or a generator and clips, in; measures with intervals, and a report, out.

Rooms: run, find, measure, paired_videos, generated_clips, metrics, summary, report, syncnet, fid,
sync_accuracy, mean_opinion.
"""
