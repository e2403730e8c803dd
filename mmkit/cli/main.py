"""The `mmkit` command: `mmkit train ...` is `tools/train.py ...`, and so on."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from mmkit.utils.names import nearest
from mmkit.version import __version__

COMMANDS = {
    'train': ('mmkit.cli.train', 'train a detector'),
    'test': ('mmkit.cli.test', 'evaluate a checkpoint, write or draw its detections'),
    'print-config': ('mmkit.cli.print_config', 'show a config with its bases merged, and where each value comes from'),
    'convert': ('mmkit.cli.convert', 'convert checkpoints of other projects'),
}
USAGE = 'usage: mmkit COMMAND ...\n\n{}\n\nmmkit COMMAND --help says more about one; mmkit --version names the version.'


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; only its module is imported. Returns the exit status."""
    args = list(sys.argv[1:] if argv is None else argv)
    if not args or args[0] in ('-h', '--help'):
        print(USAGE.format('\n'.join(f'  {name:14}{summary}' for name, (_, summary) in COMMANDS.items())))
        return 0 if args else 2
    if args[0] == '--version':
        print(__version__)
        return 0
    if args[0] not in COMMANDS:
        near = nearest(args[0], COMMANDS, 1) or list(COMMANDS)
        print(f'mmkit has no command {args[0]!r}; did you mean {" or ".join(near)}?', file=sys.stderr)
        return 2
    sys.argv[0] = f'mmkit {args[0]}'  # what argparse shows in `usage:`
    status: int = importlib.import_module(COMMANDS[args[0]][0]).main(args[1:])
    return status


if __name__ == '__main__':
    sys.exit(main())
