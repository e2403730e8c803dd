"""`test`: what a checkpoint finds or recognises on a dataset, evaluated, written or drawn."""

from __future__ import annotations

import argparse
import inspect
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

from mmkit.apis.inference import show_result, show_result_pyplot
from mmkit.apis.test import (
    build_test_dataset,
    check_output_file,
    evaluation_options,
    rehearse,
    test_detector,
    write_outputs,
)
from mmkit.cli.mistakes import stop
from mmkit.config import Config
from mmkit.config.legacy import upgrade
from mmkit.config.options import DictAction
from mmkit.engine.checkpoint import load_with_report
from mmkit.engine.evaluation import check_evaluation, check_masks
from mmkit.engine.hooks.checks import check_num_classes
from mmkit.engine.settings import warn_unread
from mmkit.layers.fuse import fuse_conv_bn
from mmkit.models import build_detector
from mmkit.structures import ImageMeta, Prediction
from mmkit.utils import dist
from mmkit.utils.env import resolve_device
from mmkit.utils.files import atomic_write
from mmkit.utils.logging import get_logger, log_to_file

EXAMPLES = """examples:
  AP of a checkpoint:
    test configs/faster_rcnn/faster_rcnn_r50_fpn_1x_coco.py work_dirs/x/epoch_12.pth --eval bbox
  boxes and masks, with the AP of every class:
    test CONFIG CKPT --eval bbox segm --eval-options classwise=True
  a classifier:
    test configs/imagenet/resnet50_8xb32_in1k.py CKPT --metrics accuracy precision --metric-options topk=1,5
  look at detections:
    test CONFIG CKPT --show-dir drawn --show-score-thr 0.5
  keep them, in mmdetection's layout or in COCO's:
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
    parser = argparse.ArgumentParser(
        description='Run a detector or classifier on the test dataset of its config.',
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('config', help='a .py, .yaml or .json config')
    parser.add_argument('checkpoint', help='a file, URL or scheme')
    todo = parser.add_argument_group('what to do with the predictions (at least one)')
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
    todo.add_argument('--format-only', action='store_true', help='write the files that a test server wants')
    todo.add_argument('--show', action='store_true', help='show each image in a window')
    todo.add_argument('--show-dir', metavar='DIR', help='write drawings of all images')
    parser.add_argument('--show-score-thr', type=float, default=0.3, metavar='SCORE', help='draw from here on (0.3)')
    parser.add_argument('--work-dir', metavar='DIR', help='keep the log and the metrics there')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='set values of CONFIG by dotted keys'
    )
    parser.add_argument(
        '--eval-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help="arguments of the dataset's evaluate"
    )
    parser.add_argument(
        '--metric-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='of the metrics of a classifier: topk=1,5 thrs=0.5 average_mode=none',
    )
    parser.add_argument('--fuse-conv-bn', action='store_true', help='fold batch norms into convolutions: a bit faster')
    parser.add_argument('--device', metavar='DEVICE', help='cpu, cuda, cuda:1, ...; a GPU if there is one')
    parser.add_argument('--gpu-id', type=int, metavar='N', help='the same as --device cuda:N')
    parser.add_argument('--launcher', choices=dist.LAUNCHERS, default='none', help='who started the processes')
    parser.add_argument(
        '--trust-config', action='store_true', help='run configs as Python where plain expressions are not enough'
    )
    parser.add_argument('--tmpdir', help='not needed: processes exchange detections themselves, no shared disk is used')
    parser.add_argument('--gpu-collect', action='store_true', help='not needed, see --tmpdir')
    parser.add_argument('--local_rank', '--local-rank', type=int, help=argparse.SUPPRESS)  # of torch.distributed.launch
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = build_parser()
    args = parser.parse_args(argv)
    _check(parser, args)
    if args.local_rank is not None:
        os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    try:
        cfg = Config.fromfile(args.config, trust=args.trust_config)
        cfg.merge_from_dict(args.cfg_options or {}, source='--cfg-options')
        cfg = upgrade(cfg)
        warn_unread(cfg)
        dist.init_dist(args.launcher, (cfg.get('dist_params') or {}).get('backend'))
        if args.work_dir and dist.is_main():
            log_to_file(Path(args.work_dir) / f'test_{time.strftime("%Y%m%d_%H%M%S")}.log')
        dataset = build_test_dataset(cfg)
        _check_use(args, cfg, dataset)
        model = load_model(cfg, args.checkpoint, dataset)
        check_masks(model, args.eval)
        if args.eval:
            check_num_classes(model, dataset)
        model = model.to(resolve_device(args.device if args.gpu_id is None else f'cuda:{args.gpu_id}'))
        rehearse(model, dataset, cfg, 'test')
    except Exception as error:
        stop(parser, error)
    if args.fuse_conv_bn:
        get_logger().info('%d batch norms folded into convolutions', fuse_conv_bn(model.eval()))
    outputs = test_detector(model, dataset, cfg, args.launcher != 'none', _drawer(args, model))
    if dist.is_main():
        _use(outputs, dataset, cfg, args)
    dist.leave()
    return 0


def load_model(cfg: Config, checkpoint: str, dataset: Any) -> Any:
    """The detector or classifier of a config with the weights of a checkpoint.

    Raises:
        ValueError: if the checkpoint belongs to another model or to another number of classes.
    """
    model: Any = build_detector(cfg.model, train_cfg=cfg.get('train_cfg'), test_cfg=cfg.get('test_cfg'))
    content, report = load_with_report(model, checkpoint)
    parameters = {name for name, _ in model.named_parameters()}
    unset = [name for name in report.missing if name in parameters]
    if report.mismatched or unset:
        raise ValueError(f'{checkpoint} does not fit the model of {cfg.filename}: {report}')
    meta = content.get('meta') or {}
    trained = meta.get('CLASSES')
    if trained and dataset.CLASSES and tuple(trained) != tuple(dataset.CLASSES):
        get_logger().warning(
            'the checkpoint was trained on the classes %s, the dataset has %s', tuple(trained), tuple(dataset.CLASSES)
        )
    model.cfg = cfg
    model.CLASSES = trained or dataset.CLASSES
    model.PALETTE = meta.get('PALETTE')
    return model


def _check(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Refuse what makes no sense before anything is loaded."""
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
    if args.show and matplotlib.get_backend().lower() == 'agg':
        parser.error('--show: there is no screen to show windows on, use --show-dir DIR')
    for name in ('tmpdir', 'gpu_collect'):
        if getattr(args, name):
            flag = name.replace('_', '-')
            get_logger().warning('--%s changes nothing: processes exchange detections themselves', flag)


def _check_use(args: argparse.Namespace, cfg: Config, dataset: Any) -> None:
    """Before the test, not after it.

    Raises:
        ValueError, TypeError: if the dataset could not do with the predictions what is asked for.
    """
    kind = type(dataset).__name__
    if args.metric_options and not {'metric_options', 'options'} & set(inspect.signature(dataset.evaluate).parameters):
        raise ValueError(f'--metric-options is for classifiers, {kind} takes --eval-options')
    if args.eval:
        check_evaluation(dataset, _evaluation(args, cfg))
    if args.format_only:
        if not hasattr(dataset, 'format_outputs'):
            raise ValueError(f'--format-only: {kind} has no files for a test server, use --out')
        wrong = set(args.eval_options or {}) - set(inspect.signature(dataset.format_outputs).parameters)
        if wrong:
            raise TypeError(f'--format-only has no --eval-options {min(wrong)}, it takes jsonfile_prefix')
    if args.out:
        check_output_file(args.out, dataset)


def _evaluation(args: argparse.Namespace, cfg: Config) -> dict[str, Any]:
    """Arguments of `dataset.evaluate` besides the predictions and the logger."""
    options = evaluation_options(cfg, args.eval_options)
    if args.metric_options:
        options['metric_options'] = {**(options.get('metric_options') or {}), **args.metric_options}
    return {**options, 'metric': args.eval}


def _drawer(args: argparse.Namespace, model: Any) -> Any:
    """What draws each image as its detections come; None if nothing is to be drawn."""
    if not (args.show or args.show_dir):
        return None

    def draw(meta: ImageMeta, found: Prediction) -> None:
        if args.show_dir:
            name = Path(meta.ori_filename)
            out_file = Path(args.show_dir) / (name.name if name.is_absolute() else name)
            show_result(model, meta.filename, found, args.show_score_thr, str(out_file))
        if args.show:
            show_result_pyplot(model, meta.filename, found, args.show_score_thr, title=meta.ori_filename)

    return draw


def _use(outputs: list[Prediction], dataset: Any, cfg: Config, args: argparse.Namespace) -> None:
    log = get_logger()
    if args.out:
        write_outputs(args.out, outputs, dataset)
        log.info('predictions for %d images written to %s', len(outputs), args.out)
    if args.format_only:
        options = {'jsonfile_prefix': str(Path(args.work_dir or '.') / 'detections'), **(args.eval_options or {})}
        for path in dataset.format_outputs(outputs, **options).values():
            log.info('written: %s', path)
    if args.show_dir:
        log.info('drawings are in %s', args.show_dir)
    if args.eval:
        metrics = dataset.evaluate(outputs, logger=log, **_evaluation(args, cfg))
        print(json.dumps(_jsonable(metrics)))
        if args.work_dir:
            path = Path(args.work_dir) / f'eval_{time.strftime("%Y%m%d_%H%M%S")}.json'
            with atomic_write(path, 'w') as file:
                record = {'config': args.config, 'checkpoint': args.checkpoint, 'metric': _jsonable(metrics)}
                json.dump(record, file, indent=2)
            log.info('metrics written to %s', path)


def _jsonable(metrics: dict[str, Any]) -> dict[str, Any]:
    return {name: float(value) if not isinstance(value, str) else value for name, value in metrics.items()}


if __name__ == '__main__':
    sys.exit(main())
