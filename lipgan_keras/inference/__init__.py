"""In: a generator's checkpoint, a face and audio.
Out: a video of the face that says the audio.
Rooms: batch, blend, command, detail, engine, flags, latest, loudness, models, motion, occlusion, openvino_graph,
openvino_layers, options, output, paint, pipeline, portrait, reference, source, teeth.
"""
