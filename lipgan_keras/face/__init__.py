"""In: images.
Out: faces, their tracks, crops and regions.
Rooms: aperture, cropping, detector, identities, landmarks68, looks, mtcnn_finder, mtcnn_openvino, mtcnn_process,
photos, regions, sampling, smoothing, tracking.
"""
