"""In: plain values, and a user's mistakes.
Out: the same, checked; files that are whole or not there; processes; Keras.
Rooms: backend, batching, cli, errors, files, optimizer, processes, shared_memory.
"""
