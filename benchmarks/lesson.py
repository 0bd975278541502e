"""Makes docs/lesson.ipynb, with its plots, of docs/lesson.py: python benchmarks/lesson.py

It runs the lesson from top to bottom, which takes minutes. Progress bars and notices are left out of what is kept.
"""

import base64
import io
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import jupytext
import nbclient
import nbformat
from PIL import Image

ROOT = Path(__file__).parent.parent
QUALITY = 85  # of JPEG
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
            cell.outputs = list(shortened(cell.outputs))
    return notebook


def shortened(outputs: list) -> Iterator[nbformat.NotebookNode]:
    """What a reader needs: one piece of text for many, no progress bars and notices, pictures as JPEG where smaller."""
    text = None
    for output in outputs:
        if output.output_type == "stream":
            if output.name == "stderr" or output.text.startswith("WARNING"):
                continue
            if text is not None:
                text.text += output.text
                continue
            text = output
        else:
            text = None
        if png := output.get("data", {}).get("image/png"):
            buffer = io.BytesIO()
            Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB").save(buffer, "jpeg", quality=QUALITY)
            jpeg = base64.b64encode(buffer.getvalue()).decode()
            if len(jpeg) < len(png):
                del output.data["image/png"]
                output.data["image/jpeg"] = jpeg
        yield output


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        nbformat.write(executed(folder), NOTEBOOK)
