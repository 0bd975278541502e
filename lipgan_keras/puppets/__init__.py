"""In: photos of faces, and speech.
Out: talking-face clips whose mouths are known.
Rooms: camera, clips, demo, face, person, photos, preprocessing, recast, speech.
"""
