"""A generator, a face and audio in; a video of the face that says the audio out.

Rooms: options, source, engine, openvino_graph, blend, occlusion, pipeline (threads), output, portrait, batch, flags.
"""
