"""In: results and their truth, or a generator and clips.
Out: measures with intervals, and a report.
Rooms: activations, command, config, discriminator, fid, find, generated_clips, given, jobs, judging, judging_sheet,
kept, loaded, mean_opinion, measure, paired_videos, protocols, report, report_clips, report_plots, report_text, run,
statistics, summary, sync_accuracy, syncnet, syncnet_networks, syncnet_weights, tally, metrics.
"""
