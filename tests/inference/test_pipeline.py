"""Iterators side by side: order, bounds, errors, and ends."""

import threading
import time

import pytest

from lipgan_keras.inference.pipeline import Stages


def alive(name):
    return [thread for thread in threading.enumerate() if thread.name == name]


def test_everything_passes_in_order_and_is_timed():
    with Stages() as stages:
        doubled = stages.run("double", (2 * i for i in range(100)), 4)
        plus_one = stages.run("plus one", (i + 1 for i in doubled), 4)
        assert list(plus_one) == [2 * i + 1 for i in range(100)]
    assert set(stages.seconds) == {"double", "plus one"}


def test_a_stage_runs_no_further_ahead_than_it_may():
    made = []
    with Stages() as stages:
        items = stages.run("count", (made.append(i) or i for i in range(100)), 5)
        time.sleep(0.3)
        assert len(made) <= 6  # one is in its hands
        assert next(items) == 0


def test_waiting_is_not_work():
    def slow():
        for i in range(5):
            time.sleep(0.05)
            yield i

    with Stages() as stages:
        items = stages.run("idle", (i for i in stages.run("slow", slow(), 1)), 1)
        assert list(items) == list(range(5))
    assert stages.seconds["idle"] < stages.seconds["slow"] / 2


def test_an_error_comes_out_at_the_end_and_stops_all():
    closed = []

    def endless():
        try:
            while True:
                yield 1
        finally:
            closed.append(True)

    def failing(items):
        yield next(items)
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"), Stages() as stages:
        for _ in stages.run("pass on", iter(stages.run("fail", failing(stages.run("endless", endless(), 2)), 2)), 2):
            pass
    assert closed and not alive("endless") and not alive("fail")


def test_leaving_early_stops_all():
    with Stages() as stages:
        for i in stages.run("numbers", iter(range(10**9)), 3):
            if i == 7:
                break
    assert not alive("numbers")
