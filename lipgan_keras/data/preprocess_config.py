"""What preprocessing is told."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class PreprocessConfig:
    """What `preprocess` is told; the flags of preprocess.py have the same names.

    Attributes:
        final_data_root: folder for the preprocessed clips.
        videos_data_root: folder that holds the videos; None: only `pack` is written.
        split: which list file of `filelists`, or folder of LRW, LRS2 or LRS3.
        filelists: folder with <split>.txt of <video>/<clip> lines; None: ./filelists/ if it has that
            file, else every video.
        num_workers: processes, at most one a core.
        img_size: side of the face crops in pixels, of `config.IMG_SIZES`.
        crop: where the face crops lie, one of `config.OWN_CROPS`; see `face.cropping.crop_box`.
        shard: (i, n): make the i-th of n shares of the clips, counted from 0; None: all.
        pack: file into which to put all clips below `final_data_root` afterwards; None: none.
        pack_mb: largest size of that file, in 10^6 bytes.
    """

    final_data_root: str
    videos_data_root: str | None = None
    split: str = "train"
    filelists: str | None = None
    num_workers: int = 10
    img_size: int = 96
    crop: str = "steady"
    shard: tuple[int, int] | None = None
    pack: str | None = None
    pack_mb: float = 50
