"""What preprocess.py runs: the flags of `data.command`, and --recast, which belongs to this wing."""

from ..data import command
from ..data.preprocess_config import PreprocessConfig
from ..utils import cli
from ..utils.errors import UserError


def main() -> None:
    command.main(_recast)


def _recast(options: PreprocessConfig, people: int) -> int:
    from . import recast  # loads the code that changes images

    counts = recast.recast_all(options.final_data_root, people, options.num_workers, shard=options.shard)
    if counts.failed and not (counts.made or counts.before or options.videos_data_root):
        raise UserError(f"{options.final_data_root}: none of its clips could be recast; see the reasons above")
    return counts.failed


def script() -> None:
    cli.run(main)
