"""In: audio as it comes in, and a face.
Out: frames of the face that says it, each at its time.
Rooms: schedule, show, sinks, sound.
"""
