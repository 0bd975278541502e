"""In: plain values, and a user's mistakes.
Out: the same, checked; files that are whole or not there; processes; Keras.
Rooms: backend, batching, cli, cost, errors, files, h5, jsontext, kinds, layers, limits, locks, npz, openvino_core,
optimizer, original_flags, plugin, processes, shared_memory, tables, terminal.
"""
