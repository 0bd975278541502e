"""What preprocess.py runs: the flags of `data.command`, and --recast, which belongs to this wing."""

from ..data import command
from ..data.preprocess_config import PreprocessConfig
from ..utils import cli


def main() -> None:
    command.main(_recast)


def _recast(options: PreprocessConfig, people: int) -> int:
    from . import recast  # loads the code that changes images

    return recast.made_and_failed(options.final_data_root, people, options.num_workers)[1]


def script() -> None:
    cli.run(main)
