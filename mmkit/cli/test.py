"""`test`: the predictions of a checkpoint on a dataset, evaluated, written or drawn."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from mmkit.cli.errors import errors_in_one_line
from mmkit.cli.options import add_config_options, add_device_options, add_key_values, make_parser, read_config
from mmkit.dialects import read_recipe
from mmkit.utils.logging import get_logger

EXAMPLES = """examples:
  AP of a checkpoint:
    test configs/faster_rcnn/faster_rcnn_r50_fpn_1x_coco.py work_dirs/x/epoch_12.pth --eval bbox
  boxes and masks, with the AP of every class:
    test CONFIG CKPT --eval bbox segm --eval-options classwise=True
  a classifier:
    test configs/imagenet/resnet50_8xb32_in1k.py CKPT --metrics accuracy precision --metric-options topk=1,5
  draw detections:
    test CONFIG CKPT --show-dir drawn --show-score-thr 0.5
  write detections in mmdetection's layout or in COCO's:
    test CONFIG CKPT --out detections.pkl
    test CONFIG CKPT --out detections.json
  files for a test server (detections.bbox.json, detections.segm.json):
    test CONFIG CKPT --format-only --eval-options jsonfile_prefix=detections
  another dataset than the config's:
    test CONFIG CKPT --eval bbox --cfg-options data.test.ann_file=my.json data.test.img_prefix=my_images/
  two GPUs:
    torchrun --nproc_per_node 2 tools/test.py CONFIG CKPT --eval bbox --launcher pytorch
"""


def build_parser() -> argparse.ArgumentParser:
    parser = make_parser('Run a detector or classifier on the test dataset of its config.', EXAMPLES)
    parser.add_argument('config', help='a .py, .yaml or .json config')
    parser.add_argument('checkpoint', help='a file, URL or scheme')
    todo = parser.add_argument_group('outputs (at least one)')
    todo.add_argument(
        *('--eval', '--metrics'),
        nargs='+',
        metavar='METRIC',
        help='bbox, segm, proposal; mAP or recall for VOC; accuracy, precision, recall, f1_score or support of a '
        'classifier. One option with two names',
    )
    todo.add_argument(
        '--out',
        metavar='FILE',
        help='write them to a .pkl (mmdetection) or .json (COCO) file; the scores of a classifier to either',
    )
    todo.add_argument('--format-only', action='store_true', help='write result files for a test server')
    todo.add_argument('--show', action='store_true', help='show each image in a window')
    todo.add_argument('--show-dir', metavar='DIR', help='write drawings of all images')
    parser.add_argument(
        '--show-score-thr', type=float, default=0.3, metavar='SCORE', help='lowest score that is drawn (0.3)'
    )
    parser.add_argument('--work-dir', metavar='DIR', help='for the log and the metrics')
    add_config_options(parser)
    add_key_values(parser, '--eval-options', "arguments of the dataset's evaluate")
    add_key_values(
        parser, '--metric-options', 'options of the metrics of a classifier: topk=1,5 thrs=0.5 average_mode=none'
    )
    parser.add_argument('--fuse-conv-bn', action='store_true', help='fold batch norms into convolutions: a bit faster')
    add_device_options(parser)
    parser.add_argument('--tmpdir', help='not needed: processes exchange detections themselves, no shared disk is used')
    parser.add_argument('--gpu-collect', action='store_true', help='not needed, see --tmpdir')
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status: 0, or 2 for a wrong config or option."""
    parser = build_parser()
    args = parser.parse_args(argv)
    _check(parser, args)
    if args.local_rank is not None:
        os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    with errors_in_one_line(parser):
        recipe = read_recipe(read_config(args), training=False)
        from mmkit.cli.run_test import run  # imports torch, which wrong arguments need not wait for

        return run(args, recipe)


def _check(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Refuse contradicting options before anything is loaded."""
    if not (args.eval or args.out or args.format_only or args.show or args.show_dir):
        parser.error(
            'nothing to do with the predictions: add --eval METRIC, --out FILE, --format-only, --show or --show-dir DIR'
        )
    if args.eval and args.format_only:
        parser.error('--eval and --format-only exclude each other: a test server evaluates')
    if args.out and Path(args.out).suffix not in ('.pkl', '.pickle', '.json'):
        parser.error(f'--out {args.out}: the name must end in .pkl or .json')
    if args.gpu_id is not None and (args.device or args.launcher != 'none'):
        parser.error('--gpu-id is for a single process and excludes --device')
    if args.show and not _has_screen():
        parser.error('--show: there is no screen to show windows on, use --show-dir DIR')
    for flag, given in (('--tmpdir', args.tmpdir), ('--gpu-collect', args.gpu_collect)):
        if given:
            get_logger().warning('%s changes nothing: processes exchange detections themselves', flag)


def _has_screen() -> bool:
    import matplotlib

    return bool(matplotlib.get_backend().lower() != 'agg')


if __name__ == '__main__':
    sys.exit(main())
