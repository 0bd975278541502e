"""Tools without any knowledge of faces or audio: errors, files, processes, Keras and its backends.

In and out: plain values. Rooms: errors, cli, files, processes, shared_memory, backend, optimizer, batching.
"""
