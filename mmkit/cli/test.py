"""`test`: the predictions of a checkpoint on a dataset, evaluated, written or drawn."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from mmkit.cli.errors import errors_in_one_line
from mmkit.cli.options import add_config_options, add_device_options, add_key_values, make_parser, read_config
from mmkit.dialects import Recipe, read_recipe
from mmkit.dialects.test_time import augmented
from mmkit.utils.logging import get_logger

EXAMPLES = """examples:
  AP of a checkpoint, with a config of 2.x and with one of 3.x, whose test_evaluator says what to evaluate:
    test configs/faster_rcnn/faster_rcnn_r50_fpn_1x_coco.py work_dirs/x/epoch_12.pth --eval bbox
    test configs/rtmdet/rtmdet_tiny_8xb32-300e_coco.py work_dirs/x/epoch_300.pth
  test-time augmentation with the tta_model and tta_pipeline of a config of 3.x:
    test CONFIG CKPT --tta
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

OF_V2 = {  # option -> what a config of 3.x has for it
    '--eval': 'its test_evaluator, as in --cfg-options test_evaluator.metric=bbox',
    '--eval-options': '--cfg-options test_evaluator.classwise=True',
    '--metric-options': 'the arguments of its test_evaluator',
    '--format-only': '--cfg-options test_evaluator.format_only=True test_evaluator.outfile_prefix=PREFIX',
}


def build_parser() -> argparse.ArgumentParser:
    parser = make_parser('Run a detector or classifier on the test dataset of its config.', EXAMPLES)
    parser.add_argument('config', help='a .py, .yaml or .json config')
    parser.add_argument('checkpoint', help='a file, URL or scheme')
    todo = parser.add_argument_group('outputs (with a config of 2.x at least one)')
    todo.add_argument(
        *('--eval', '--metrics'),
        nargs='+',
        metavar='METRIC',
        help='of 2.x. bbox, segm, proposal; mAP or recall for VOC; accuracy, precision, recall, f1_score or support of '
        'a classifier. One option with two names',
    )
    todo.add_argument(
        '--out',
        metavar='FILE',
        help='write them to a .pkl (mmdetection) or .json (COCO) file; the scores of a classifier to either',
    )
    todo.add_argument('--format-only', action='store_true', help='of 2.x: write result files for a test server')
    todo.add_argument('--show', action='store_true', help='show each image in a window')
    todo.add_argument('--show-dir', metavar='DIR', help='write drawings of all images')
    parser.add_argument(
        '--show-score-thr', type=float, default=0.3, metavar='SCORE', help='lowest score that is drawn (0.3)'
    )
    parser.add_argument(
        '--wait-time', type=float, default=0, metavar='SECONDS', help='--show closes a window after these; 0 waits'
    )
    parser.add_argument('--tta', action='store_true', help='of 3.x: several views of each image, as in tta_pipeline')
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
        if args.launcher == 'none':
            args.launcher = recipe.environment.launcher
        _check_dialect(parser, args, recipe)
        if args.tta:
            recipe = augmented(recipe)
        from mmkit.cli.run_test import run  # imports torch, which wrong arguments need not wait for

        return run(args, recipe)


def _check(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Refuse contradicting options before anything is loaded."""
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


def _check_dialect(parser: argparse.ArgumentParser, args: argparse.Namespace, recipe: Recipe) -> None:
    """Refuse options that the other dialect has, and a test whose predictions nobody wants."""
    if recipe.dialect == 3:
        for flag, instead in OF_V2.items():
            if vars(args)[flag.removeprefix('--').replace('-', '_')]:
                parser.error(f'{flag} is for configs of 2.x; {recipe.name} is one of 3.x: use {instead}')
    if not (args.eval or args.out or args.format_only or args.show or args.show_dir or recipe.test_metrics):
        more = '--out FILE, --show or --show-dir DIR'
        if recipe.dialect == 3:
            parser.error(f'nothing to do with the predictions: the config has no test_evaluator; add one, {more}')
        parser.error(f'nothing to do with the predictions: add --eval METRIC, --format-only, {more}')


def _has_screen() -> bool:
    import matplotlib

    return bool(matplotlib.get_backend().lower() != 'agg')


if __name__ == '__main__':
    sys.exit(main())
