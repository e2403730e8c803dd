"""The test command after its arguments and its config have been read."""

from __future__ import annotations

import argparse
import inspect
import json
import time
from pathlib import Path
from typing import Any

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


def run(parser: argparse.ArgumentParser, args: argparse.Namespace, cfg: Config) -> int:
    """Test; returns the exit status."""
    try:
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
