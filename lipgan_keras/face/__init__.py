"""Images in; faces, their crops and regions out.

Rooms: detector, tracking (with sampling, identities and smoothing), cropping, regions, aperture, landmarks68, photos.
"""
