"""`print_config`: a config with its bases merged, where each value was written, what differs from another config."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from mmkit.cli.errors import errors_in_one_line
from mmkit.cli.options import add_config_options, make_parser, read_config
from mmkit.config import Config
from mmkit.config.explain import differences, leaves

EXAMPLES = """examples:
  print_config configs/faster_rcnn/faster_rcnn_r50_fpn_1x_coco.py
  print_config CONFIG --origin                       each value with the file and line that set it
  print_config CONFIG --diff OTHER_CONFIG            what differs between the two, `-` from CONFIG, `+` from OTHER
  print_config CONFIG --cfg-options data.samples_per_gpu=4 model.neck.out_channels=128
"""


def build_parser() -> argparse.ArgumentParser:
    parser = make_parser('Print a config with its bases merged.', EXAMPLES)
    parser.add_argument('config', help='a .py, .yaml or .json config')
    parser.add_argument('--origin', action='store_true', help='print a line for each value, with its file and line')
    parser.add_argument('--diff', metavar='OTHER', help='print what differs in the merged config OTHER')
    add_config_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = build_parser()
    args = parser.parse_args(argv)
    with errors_in_one_line(parser):
        cfg = read_config(args)
        other = Config.fromfile(args.diff, trust=args.trust_config) if args.diff else None
    if other is not None:
        text = compared(cfg, other, args.origin)
    elif args.origin:
        text = ''.join(f'{leaf}\n' for leaf in leaves(cfg))
    else:
        text = cfg.pretty_text
    sys.stdout.write(text)
    return 0


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
