"""`print_config`: a config with its bases merged, where each value was written, what differs from another config."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from mmkit.cli.errors import errors_in_one_line
from mmkit.cli.options import add_config_options, make_parser, read_config
from mmkit.config import Config
from mmkit.config.explain import differences, leaves
from mmkit.dialects import read_recipe
from mmkit.dialects.writing import Notes, write_v2, write_v3

EXAMPLES = """examples:
  print_config configs/faster_rcnn/faster_rcnn_r50_fpn_1x_coco.py
  print_config CONFIG --origin                       each value with the file and line that set it
  print_config CONFIG --diff OTHER_CONFIG            what differs between the two, `-` from CONFIG, `+` from OTHER
  print_config CONFIG --as 3                         what it says, in the dialect of mmdetection 3.x
  print_config CONFIG --cfg-options data.samples_per_gpu=4 model.neck.out_channels=128
"""


def build_parser() -> argparse.ArgumentParser:
    parser = make_parser('Print a config with its bases merged.', EXAMPLES)
    parser.add_argument('config', help='a .py, .yaml or .json config')
    parser.add_argument('--origin', action='store_true', help='print a line for each value, with its file and line')
    parser.add_argument('--diff', metavar='OTHER', help='print what differs in the merged config OTHER')
    parser.add_argument(
        '--as',
        dest='dialect',
        type=int,
        choices=(2, 3),
        help='print what the config says in the dialect of mmdetection 2.x or 3.x; what that has no words for, and '
        'what it says only nearly, is listed in comments',
    )
    add_config_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.dialect and (args.origin or args.diff):
        parser.error('--as goes neither with --origin nor with --diff: no file has what it prints')
    with errors_in_one_line(parser):
        cfg = read_config(args)
        if args.dialect:
            sys.stdout.write(translated(cfg, args.dialect))
            return 0
        other = Config.fromfile(args.diff, trust=args.trust_config) if args.diff else None
    if other is not None:
        text = compared(cfg, other, args.origin)
    elif args.origin:
        text = ''.join(f'{leaf}\n' for leaf in leaves(cfg))
    else:
        text = cfg.pretty_text
    sys.stdout.write(text)
    return 0


def translated(cfg: Config, dialect: int) -> str:
    """Python source of a config in the dialect of mmdetection 2.x or 3.x.

    Raises:
        UserError: the config makes no sense, or its pipelines do what the other dialect cannot.
    """
    recipe = read_recipe(cfg)
    if recipe.dialect == dialect:
        return cfg.pretty_text
    notes = Notes()
    written = write_v3(recipe, notes) if dialect == 3 else write_v2(recipe, notes)
    return notes.comments + Config(written).pretty_text


def compared(cfg: Config, other: Config, origin: bool) -> str:
    """The differing values of two configs, a line each."""
    lines = []
    for pair in differences(cfg, other):
        for sign, leaf in zip('-+', pair, strict=True):
            if leaf is not None:
                lines.append(f'{sign} {leaf if origin else f"{leaf.path} = {leaf.value!r}"}\n')
    return ''.join(lines) or 'no difference\n'


if __name__ == '__main__':
    sys.exit(main())
