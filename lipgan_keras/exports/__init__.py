"""In: a checkpoint.
Out: its generator in formats of other programs, each with a JSON file that says how to use it.
Rooms: command, description, formats, writer.
"""
