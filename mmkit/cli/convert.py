"""`convert`: checkpoints of other projects into ours."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from mmkit.cli.errors import errors_in_one_line
from mmkit.cli.options import make_parser
from mmkit.config import Config
from mmkit.dialects import read_recipe

# Keys of mmkit.engine.converters.CONVERTERS.
ORIGINS = ('megvii-yolox', 'torchvision', 'detectron2', 'repvgg', 'mmdet', 'mmdet2', 'mmdet3')

EXAMPLES = """examples:
  a YOLOX checkpoint of its authors, checked against the model of a config:
    convert yolox_nano.pth nano.pth --from megvii-yolox --config configs/yolox/yolox_nano_8x8_300e_coco.py
  an ImageNet backbone of torchvision, for init_cfg=dict(type='Pretrained', checkpoint='mbv2.pth'):
    convert mobilenet_v2-b0353104.pth mbv2.pth --from torchvision
  a model of detectron2 (the pickle is read without executing it):
    convert model_final.pkl d2.pth --from detectron2
  an ImageNet backbone of RepVGG's authors, in training or deployed form:
    convert RepVGG-A0-train.pth a0.pth --from repvgg
  only the weights and classes of an mmdetection checkpoint:
    convert epoch_12.pth weights.pth --from mmdet
  a checkpoint of mmdetection 2.x for a config of 3.x (--from mmdet3 does the opposite):
    convert detr_r50_8x2_150e_coco.pth detr.pth --from mmdet2
"""


def build_parser() -> argparse.ArgumentParser:
    parser = make_parser(
        'Rename the tensors of a checkpoint to the names of mmkit, which are those of mmdetection.', EXAMPLES
    )
    parser.add_argument('source', help='a file, URL or scheme')
    parser.add_argument('destination', help='the .pth to write')
    parser.add_argument('--from', dest='origin', required=True, choices=ORIGINS, help='project that wrote it')
    parser.add_argument(
        '--to',
        choices=('2', '3'),
        help='dialect of the config that the weights are for; by default the other one than that of mmdet2 or mmdet3',
    )
    parser.add_argument('--config', help='load the result into the model of this config and report which tensors match')
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.to and args.origin not in ('mmdet2', 'mmdet3'):
        parser.error(f'--to is for --from mmdet2 and mmdet3: weights of {args.origin} have the names of both dialects')
    origin = 'mmdet' if args.to and args.origin.endswith(args.to) else args.origin  # the names stay
    with errors_in_one_line(parser):
        cfg = Config.fromfile(args.config) if args.config else None

        # They import torch, which wrong arguments need not wait for.
        from mmkit.engine.checkpoint import load_with_report
        from mmkit.engine.converters import convert_file
        from mmkit.engine.parts import require_model
        from mmkit.models import build_neutral_model

        conversion = convert_file(args.source, args.destination, origin)
        print(conversion)
        print(f'written to {args.destination}: {len(conversion.state_dict)} tensors')
        if cfg is not None:
            model = build_neutral_model(require_model(read_recipe(cfg, training=False)))
            print(load_with_report(model, args.destination)[1])
    return 0


if __name__ == '__main__':
    sys.exit(main())
