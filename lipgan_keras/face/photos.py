"""Photos of faces that packages bring along."""

import contextlib
import importlib.util
from pathlib import Path


def shipped_photos() -> dict[str, Path]:
    """The face photos that matplotlib and scikit-image bring along, as far as installed: name -> file."""
    files = {}
    with contextlib.suppress(ImportError):
        import matplotlib

        files["grace_hopper"] = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    skimage = importlib.util.find_spec("skimage")  # found, not imported: that takes a while
    if skimage is not None:
        files["astronaut"] = Path(skimage.origin).parent / "data" / "astronaut.png"
    return {name: file for name, file in files.items() if file.is_file()}


# Where the crops of the photos that packages ship are (`photos.shipped_photos`)
PHOTO_CROPS = {"grace_hopper": (146, 127, 385, 366), "astronaut": (163, 65, 283, 185)}
