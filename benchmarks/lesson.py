"""Makes docs/lesson.ipynb, with its plots, of docs/lesson.py: python benchmarks/lesson.py

It runs the lesson from top to bottom, which takes minutes. Progress bars and notices are left out of what is kept.
"""

import os
import tempfile
from pathlib import Path

import jupytext
import nbclient
import nbformat

ROOT = Path(__file__).parent.parent
SOURCE, NOTEBOOK = ROOT / "docs" / "lesson.py", ROOT / "docs" / "lesson.ipynb"


def executed(folder: str | os.PathLike, minutes: float = 60) -> nbformat.NotebookNode:
    """The lesson after a run in a kernel of its own.

    Args:
        folder: where it runs, and where its temporary files go.
        minutes: that a cell may take.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell fails.
    """
    notebook = jupytext.read(SOURCE)
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "TMPDIR": str(folder)}
    client = nbclient.NotebookClient(
        notebook,
        timeout=round(60 * minutes),
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        store_history=True,
        record_timing=False,
    )
    client.execute(env=environment)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    return notebook


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        nbformat.write(executed(folder), NOTEBOOK)
