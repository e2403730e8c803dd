"""`convert`: checkpoints of other projects into ours."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from mmkit.config import Config, ConfigError
from mmkit.engine.checkpoint import load_with_report
from mmkit.engine.converters import CONVERTERS, convert_file
from mmkit.models import build_detector

EXAMPLES = """examples:
  YOLOX of its authors, and does it fill our model?
    convert yolox_nano.pth nano.pth --from megvii-yolox --config configs/yolox/yolox_nano_8x8_300e_coco.py
  an ImageNet backbone of torchvision, to be used as init_cfg=dict(type='Pretrained', checkpoint='mbv2.pth'):
    convert mobilenet_v2-b0353104.pth mbv2.pth --from torchvision
  a model of detectron2 (the pickle is read without executing it):
    convert model_final.pkl d2.pth --from detectron2
  an ImageNet backbone of RepVGG's authors, in the form of training or deployed:
    convert RepVGG-A0-train.pth a0.pth --from repvgg
  only the weights and classes of an mmdetection checkpoint:
    convert epoch_12.pth weights.pth --from mmdet
"""


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description='Rename the tensors of a checkpoint to the names of mmkit, which are those of mmdetection.',
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('source', help='a file, URL or scheme')
    parser.add_argument('destination', help='the .pth to write')
    parser.add_argument('--from', dest='origin', required=True, choices=list(CONVERTERS), help='who made it')
    parser.add_argument('--config', help='load the outcome into this model and report what fitted')
    args = parser.parse_args(argv)
    try:
        found = convert_file(args.source, args.destination, args.origin)
        print(found)
        print(f'written to {args.destination}: {len(found.state_dict)} tensors')
        if args.config:
            model = build_detector(Config.fromfile(args.config).model)
            print(load_with_report(model, args.destination)[1])
    except (ConfigError, OSError, ValueError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    return 0
