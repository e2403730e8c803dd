"""The test command, once its arguments and its config have been read."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from mmkit.apis.inference import show_result, show_result_pyplot
from mmkit.apis.test import check_output_file, predict_dataset, write_outputs
from mmkit.datasets import CocoDataset, CustomDataset, SeededDataset, build_metrics
from mmkit.dialects import Recipe
from mmkit.engine.checkpoint import load_with_report
from mmkit.engine.device_normalize import normalize_on_device
from mmkit.engine.dry_run import dry_run_prediction
from mmkit.engine.hooks.checks import check_num_classes
from mmkit.engine.hooks.visualization import DetVisualizationHook
from mmkit.engine.parts import build_eval_dataset, build_loader, report_reading, require_model, set_classes
from mmkit.engine.predict import OF_MODEL, Merging, Visit, check_masks, collect_figures, mixed_precision
from mmkit.errors import ConfigError, InvalidTypeError, InvalidValueError
from mmkit.layers.fuse import fuse_conv_bn
from mmkit.models import build_neutral_model
from mmkit.protocols import Metric
from mmkit.registry import check_arguments, located
from mmkit.structures import ImageMeta, Instances, Prediction
from mmkit.utils import dist
from mmkit.utils.env import resolve_device
from mmkit.utils.files import atomic_write
from mmkit.utils.logging import get_logger, log_to_file


def run(args: argparse.Namespace, recipe: Recipe) -> int:
    """Test; returns the exit status."""
    dist.init_dist(args.launcher, recipe.environment.backend)
    if args.work_dir and dist.is_main():
        log_to_file(Path(args.work_dir) / f'test_{time.strftime("%Y%m%d_%H%M%S")}.log')
    report_reading(recipe)
    recipe = normalize_on_device(recipe)
    dataset = build_eval_dataset(recipe.test, recipe.source('test'))
    _choose_folder(args, recipe)
    _check_use(args, dataset)
    metrics = _build_metrics(args, recipe, dataset)
    model = load_model(recipe, args.checkpoint, dataset)
    if metrics:
        check_masks(model, metrics)
        check_num_classes(model, dataset)
    device = resolve_device(args.device if args.gpu_id is None else f'cuda:{args.gpu_id}')
    model.to(device)
    merging = OF_MODEL if recipe.tta is None else Merging(recipe.tta.nms, recipe.tta.max_per_img)
    dry_run_prediction(model, dataset, recipe.test.dataset, recipe.model, merging)
    if args.fuse_conv_bn:
        get_logger().info('%d batch norms folded into convolutions', fuse_conv_bn(model.eval()))
    distributed = args.launcher != 'none'
    loader = build_loader(dataset, recipe.test, distributed)
    metas: dict[int, ImageMeta] = {}
    visit = _visit(_drawer(args, model), metrics, metas)
    with mixed_precision(device, recipe.test_fp16):
        outputs = predict_dataset(model, loader, distributed, visit, merging)
    figures = collect_figures(metrics)
    in_order = _in_order(metas) if recipe.dialect == 3 else None
    if dist.is_main():
        _use(args, outputs, dataset, figures, in_order)
    dist.leave()
    return 0


def load_model(recipe: Recipe, checkpoint: str, dataset: SeededDataset) -> nn.Module:
    """The detector or classifier of a recipe with the weights of a checkpoint.

    Raises:
        ConfigError: if the checkpoint belongs to another model or to another number of classes.
    """
    model = build_neutral_model(require_model(recipe))
    content, report = load_with_report(model, checkpoint)
    parameters = {name for name, _ in model.named_parameters()}
    unset = [name for name in report.missing if name in parameters]
    if report.mismatched or unset:
        raise ConfigError(f'{checkpoint} does not fit the model of {recipe.name}: {report}')
    meta = content.get('meta') or {}
    trained = meta.get('CLASSES')
    if trained and dataset.CLASSES and tuple(trained) != tuple(dataset.CLASSES):
        get_logger().warning(
            'the checkpoint was trained on the classes %s, the dataset has %s', tuple(trained), tuple(dataset.CLASSES)
        )
    set_classes(model, trained or dataset.CLASSES, meta.get('PALETTE'))
    return model


def _build_metrics(args: argparse.Namespace, recipe: Recipe, dataset: SeededDataset) -> list[Metric]:
    """Those of the config, or of the command line with the options that the config has for its own."""
    if not args.eval:
        return build_metrics(dataset, metrics=recipe.test_metrics) if recipe.test_metrics else []
    options: dict[str, Any] = {} if recipe.evaluation is None else dict(recipe.evaluation.arguments)
    options |= args.eval_options or {}
    if args.metric_options:
        options['metric_options'] = {**(options.get('metric_options') or {}), **args.metric_options}
    return build_metrics(dataset, **{**options, 'metric': args.eval})


def _check_use(args: argparse.Namespace, dataset: SeededDataset) -> None:
    """Before the test, not after it.

    Raises:
        UserError: if the dataset could not do with the predictions what is asked for.
    """
    kind = type(dataset).__name__
    if args.metric_options and isinstance(dataset, CustomDataset):
        raise InvalidValueError(f'--metric-options is for classifiers, {kind} takes --eval-options')
    if args.format_only:
        if not isinstance(dataset, CocoDataset):
            raise InvalidValueError(f'--format-only: {kind} has no files for a test server, use --out')
        for key in args.eval_options or {}:
            if key != 'jsonfile_prefix':
                raise InvalidTypeError(f'--format-only has no --eval-options {key}, it takes jsonfile_prefix')
    if args.out:
        check_output_file(args.out, dataset)


def _choose_folder(args: argparse.Namespace, recipe: Recipe) -> None:
    """Let drawings go where the hook of the config wants them, if the command says nothing about them."""
    if recipe.test_drawing is None or args.show_dir:
        return
    with located(recipe.test_drawing):
        check_arguments(DetVisualizationHook, recipe.test_drawing)
        hook = DetVisualizationHook(**recipe.test_drawing)
    timestamp = dist.broadcast_object(time.strftime('%Y%m%d_%H%M%S'))
    args.show_dir = Path(args.work_dir or recipe.environment.work_dir) / timestamp / hook.test_folder
    args.show_score_thr = hook.score_thr


def _drawer(args: argparse.Namespace, model: nn.Module) -> Visit | None:
    """Draws each image as its detections come; None if nothing is to be drawn."""
    if not (args.show or args.show_dir):
        return None

    def draw(meta: ImageMeta, prediction: Prediction) -> None:
        if args.show_dir:
            name = Path(meta.ori_filename)
            out_file = Path(args.show_dir) / (name.name if name.is_absolute() else name)
            show_result(model, meta.filename, prediction, args.show_score_thr, str(out_file))
        if args.show:
            show_result_pyplot(model, meta.filename, prediction, args.show_score_thr, meta.ori_filename, args.wait_time)

    return draw


def _visit(draw: Visit | None, metrics: Sequence[Metric], metas: dict[int, ImageMeta]) -> Visit:
    """Gives each prediction to the metrics, draws it, and keeps the meta of its image."""
    for metric in metrics:
        metric.reset()

    def visit(meta: ImageMeta, prediction: Prediction) -> None:
        for metric in metrics:
            metric.process([meta], [prediction])
        if draw is not None:
            draw(meta, prediction)
        if meta.index is not None:
            metas[meta.index] = meta

    return visit


def _in_order(metas: Mapping[int, ImageMeta]) -> list[ImageMeta]:
    """Those that all processes have kept, in the order of the dataset."""
    gathered = {index: meta for part in dist.all_gather_object(metas) for index, meta in part.items()}
    return [gathered[index] for index in sorted(gathered)]


def _use(
    args: argparse.Namespace,
    outputs: Sequence[Prediction],
    dataset: SeededDataset,
    figures: Mapping[str, float | str],
    metas: Sequence[ImageMeta] | None,
) -> None:
    """Write or format the predictions, and write their figures; with metas in the layout of 3.x."""
    log = get_logger()
    if args.out:
        write_outputs(args.out, outputs, dataset, metas)
        log.info('predictions for %d images written to %s', len(outputs), args.out)
    if args.format_only:
        assert isinstance(dataset, CocoDataset)
        detections = [each for each in outputs if isinstance(each, Instances)]
        prefix = (args.eval_options or {}).get('jsonfile_prefix', str(Path(args.work_dir or '.') / 'detections'))
        for written in dataset.format_outputs(detections, jsonfile_prefix=prefix).values():
            log.info('written: %s', written)
    if args.show_dir:
        log.info('drawings are in %s', args.show_dir)
    if figures:
        values = {name: value if isinstance(value, str) else float(value) for name, value in figures.items()}
        print(json.dumps(values))
        if args.work_dir:
            path = Path(args.work_dir) / f'eval_{time.strftime("%Y%m%d_%H%M%S")}.json'
            with atomic_write(path, 'w') as file:
                json.dump({'config': args.config, 'checkpoint': args.checkpoint, 'metric': values}, file, indent=2)
            log.info('metrics written to %s', path)
