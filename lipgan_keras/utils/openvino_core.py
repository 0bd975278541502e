"""OpenVINO, imported without its telemetry; its one core, and how it runs a graph on the CPU."""

import functools
import sys
import types

from . import processes


@functools.cache
def core():
    """One for the process. Each has a stack for signal handlers while it lives, and of two of them the one that goes
    first can leave the other's place with a stack that is gone: Ctrl-C would crash then.
    """
    return import_openvino().Core()


def infer_request(model, precision: str, threads: int):
    """What runs a graph on the CPU.

    Args:
        model: `openvino.Model`.
        precision: "f32" or "bf16".
        threads: how many.

    Returns:
        `openvino.InferRequest`, which one thread at a time may use.
    """
    options = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": threads,
        # The threads of a pipeline's other stages move about; pinned ones would wait for them.
        "ENABLE_CPU_PINNING": False,
    }
    return core().compile_model(model, "CPU", options).create_infer_request()


def import_openvino() -> types.ModuleType:
    """Import OpenVINO without its telemetry, which would send a notice over the network at every import.

    Raises:
        ImportError: it is not installed.
    """
    absent = object()
    before = sys.modules.get("openvino_telemetry", absent)
    sys.modules["openvino_telemetry"] = None  # as if it were not installed: OpenVINO has a stand-in for that
    try:
        with processes.signals_put_off():
            import openvino
    finally:
        if before is absent:
            del sys.modules["openvino_telemetry"]
        else:
            sys.modules["openvino_telemetry"] = before
    return openvino
