"""A face photo in; talking-face clips with a known mouth out.

Rooms: clips, speech, face, photos, person, camera, demo.
"""
