"""What a training has written into its logdir."""

import csv

import h5py


def rows_of(logdir):
    with open(logdir / "log.csv", newline="") as file:
        return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]


def arrays_of(checkpoint):
    """{path in the file: array}"""
    arrays = {}
    with h5py.File(checkpoint) as file:
        file.visititems(lambda name, item: arrays.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return arrays
