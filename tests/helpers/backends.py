"""Environments for programs that run on another backend."""

from helpers.checks import ROOT


def blocked(*names):
    """Code that makes these packages look as if they were not installed."""
    return f"""
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in {names}:
            raise ModuleNotFoundError(f'No module named {{name!r}}', name=name)
sys.meta_path.insert(0, Blocked())
"""


def without_tensorflow(tmp_path):
    """Environment for a subprocess on JAX that can import neither TensorFlow nor mtcnn."""
    (tmp_path / "site").mkdir(exist_ok=True)
    (tmp_path / "site" / "sitecustomize.py").write_text(blocked("tensorflow", "mtcnn"))
    return {"KERAS_BACKEND": "jax", "PYTHONPATH": f"{tmp_path / 'site'}:{ROOT}", "JAX_PLATFORMS": "cpu"}
