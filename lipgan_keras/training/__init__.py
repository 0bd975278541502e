"""Flags and clips in; checkpoints, logs and samples out.

Rooms: config (recipes and rules), trainer, callbacks, validation.
"""
