"""In: a TrainConfig and clips.
Out: checkpoints, a log, and samples.
Rooms: callbacks, command, config, devices, trainer, validation.
"""
