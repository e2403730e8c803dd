#!/usr/bin/env python
"""Draws a small detection set: circles, squares and triangles on noisy ground, in COCO's format.

    python tools/make_shapes.py data/shapes --num-train 500 --num-val 50 --size 160 --seed 0

writes OUT/{train,val}/*.png and OUT/annotations/{train,val}.json with boxes, polygons and areas. The same arguments
always give the same files.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out', type=Path, help='folder to write, e.g. data/shapes')
    parser.add_argument('--num-train', type=int, default=500, help='training images (default: %(default)s)')
    parser.add_argument('--num-val', type=int, default=50, help='validation images (default: %(default)s)')
    parser.add_argument('--size', type=int, default=160, help='side of the images in pixels (default: %(default)s)')
    parser.add_argument('--most', type=int, default=4, help='most shapes in an image (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    from shapes import SPLITS, make_split  # imports OpenCV, which `--help` need not wait for

    for split, num_images in zip(SPLITS, (args.num_train, args.num_val)):
        content = make_split(args.out, split, num_images, args.size, args.seed, args.most)
        print(f'{args.out / split}: {num_images} images, {len(content["annotations"])} shapes')


if __name__ == '__main__':
    main()
