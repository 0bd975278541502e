"""The flags of app.py."""

import importlib.util

from ..inference.options import ENGINES
from ..utils import cli
from ..utils.errors import UserError
from .limits import Limits

NEEDED = ("gradio", "fastapi", "uvicorn", "websockets")
MOST_PORT = 65_535


def main() -> None:
    parser = cli.ArgumentParser(
        description="Open a page in the browser: drop a photo and a voice on it, and the photo says it."
    )
    parser.add_argument("--port", type=cli.integer(0, MOST_PORT), default=7860, help="0: any that is free")
    parser.add_argument(
        "--host",
        type=cli.word,
        default="127.0.0.1",
        help="address to answer at; 0.0.0.0 lets everybody use the page who reaches this machine",
    )
    _add_generators(parser)
    _add_limits(parser.add_argument_group("limits", "of one visitor; each is said in words on the page"))
    cli.set_defaults(parser, Limits)
    args = parser.parse_args()
    _check_extra()
    limits = Limits(args.seconds, args.megabytes, args.megapixels, args.waiting, args.live, args.live_seconds)

    from . import server

    if args.plugin:
        from .. import blocks

        blocks.load_plugin(args.plugin)
    server.serve(args.host, args.port, args.checkpoint_path, args.engine, limits)


def _add_generators(parser):
    parser.add_argument(
        "--checkpoint_path",
        type=cli.existing,
        nargs="+",
        metavar="FILE",
        help="generators that visitors may choose from, the first one being the default (default: the one that ships)",
    )
    parser.add_argument("--engine", choices=ENGINES, default="auto", help="see inference.py")
    cli.add_plugin_flag(parser)


def _add_limits(group):
    group.add_argument("--seconds", type=cli.positive(cli.MOST_SECONDS), help="of sound")
    group.add_argument("--megabytes", type=cli.positive(10_000), help="of a file")
    group.add_argument("--megapixels", type=cli.positive(134), help="of a picture, or of a frame of a video")
    group.add_argument("--waiting", type=cli.integer(0, 1000), help="runs that may wait for their turn")
    group.add_argument("--live", type=cli.integer(0, 100), help="visitors who may speak live at once; 0: nobody")
    group.add_argument("--live_seconds", type=cli.positive(cli.MOST_SECONDS), help="that one may speak live")


def _check_extra():
    """Say what to install where the page's packages are missing.

    Raises:
        UserError: one is.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"the page needs {', '.join(missing)}; run: pip install -r requirements-app.txt (in a checkout), or "
            'pip install "lipgan-keras[app]"'
        )


def script() -> None:
    cli.run(main)
