"""In: photos of faces, and speech.
Out: talking-face clips whose mouths are known.
Rooms: camera, clips, demo, face, person, phones, photos, preprocessing, recast, speech, utterance, visemes.
"""
