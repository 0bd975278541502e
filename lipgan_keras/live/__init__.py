"""Audio in as it is spoken; frames of a speaking photo out, each at its time.

Rooms: show, sound, schedule, sinks.
"""
