#!/usr/bin/env python
"""Draws the losses and metrics of a run.

python tools/analysis/plot_curves.py work_dirs/x/20260101_120000.log.json --out curves.png
"""

from __future__ import annotations

import argparse


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('log', help='the .log.json in the work directory, or the scalars.json of 3.x in its vis_data')
    parser.add_argument('--out', default='curves.png', help='picture to write (default: %(default)s)')
    parser.add_argument('--keys', nargs='+', help='what to draw (default: every loss and every AP)')
    args = parser.parse_args()
    from mmkit.visualization import plot_curves  # imports torch, which `--help` need not wait for

    print(plot_curves(args.log, args.out, args.keys))


if __name__ == '__main__':
    main()
