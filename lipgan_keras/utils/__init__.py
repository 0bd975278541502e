"""In: plain values, and a user's mistakes.
Out: the same, checked; files that are whole or not there; processes; Keras.
Rooms: backend, batching, cli, cost, errors, files, kinds, layers, locks, optimizer, plugin, processes, shared_memory,
terminal.
"""
