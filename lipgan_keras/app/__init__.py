"""In: a face and a voice that a visitor of the page gives, by file, camera or microphone.
Out: the page, and the video that it makes; live, frames as one speaks.
Rooms: command, components, desk, faces, limits, live_socket, markup, page, server, studio, visitors, words.
"""
