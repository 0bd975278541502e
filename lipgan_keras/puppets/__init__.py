"""In: photos of faces or clips of people, and speech.
Out: talking-face clips whose mouths are known.
Rooms: camera, clips, demo, face, face_model, fitting, head, heads, person, phones, photos, preprocessing, raster,
recast, skin, speech, utterance, visemes.
"""
