"""Metrics in either dialect: arguments of a dataset's own metric in 2.x, a config of a metric in 3.x."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mmkit.config import ConfigDict
from mmkit.dialects.recipe import EvaluationRecipe, LoaderRecipe, Recipe
from mmkit.dialects.spellings import METRICS
from mmkit.dialects.writing.notes import Notes
from mmkit.errors import ConfigError
from mmkit.utils.names import unscoped

# The metrics that datasets have of their own.
_METRIC_OF = {
    **dict.fromkeys(
        ('VOCDataset', 'XMLDataset', 'CustomDataset', 'WIDERFaceDataset', 'CrowdHumanDataset'), 'VOCMetric'
    ),
    **dict.fromkeys(('ImageNet', 'CIFAR10', 'CIFAR100'), 'ClassificationMetric'),
    **dict.fromkeys(('CocoDataset', 'CityscapesDataset', 'DeepFashionDataset', 'LVISDataset'), 'CocoMetric'),
    **dict.fromkeys(('LVISV05Dataset', 'LVISV1Dataset', 'V3DetDataset'), 'CocoMetric'),
    **dict.fromkeys(('Objects365V1Dataset', 'Objects365V2Dataset'), 'CocoMetric'),
}
# Arguments of metrics on which names of figures depend.
_NAMES = ('prefix', 'classwise_name')


def with_metrics(recipe: Recipe) -> Recipe:
    """The recipe with configs of metrics, for its evaluation and, if it says nothing about one, for its test."""
    evaluation = recipe.evaluation
    if evaluation is None:
        return recipe
    metrics = evaluation.metrics or (own_metric(recipe.val, evaluation.arguments),)
    evaluation = EvaluationRecipe(evaluation.schedule, metrics=metrics)
    return replace(recipe, evaluation=evaluation, test_metrics=recipe.test_metrics or metrics)


def own_metric(loader: LoaderRecipe, arguments: Mapping[str, Any]) -> ConfigDict:
    """The metric that the dataset of a loader has of its own, with the arguments of an evaluation.

    Raises:
        ConfigError: it is a dataset of a user, which may have any.
    """
    dataset = _innermost(loader.dataset)
    kind = unscoped(str(dataset.get('type')))
    if kind not in _METRIC_OF:
        raise ConfigError(
            f'the metric of {kind} has no name: write evaluation=dict(metrics=[dict(type=...)])', 'evaluation'
        )
    own = ConfigDict(type=_METRIC_OF[kind])
    if kind == 'VOCDataset':
        folders = f'{dataset.get("data_root")} {dataset.get("img_prefix")}'
        own |= {'eval_mode': '11points' if 'VOC2007' in folders else 'area', 'use_legacy_coordinate': True}
    return own | arguments


def _innermost(dataset: object) -> Mapping[str, Any]:
    """The dataset in wrappers; the first of several."""
    while not isinstance(dataset, Mapping) or 'dataset' in dataset or 'datasets' in dataset:
        if isinstance(dataset, Mapping):
            dataset = dataset['dataset'] if 'dataset' in dataset else dataset['datasets']
        elif isinstance(dataset, (list, tuple)) and dataset:
            dataset = dataset[0]
        else:
            return {}
    return dataset


def with_prefixes(recipe: Recipe) -> Recipe:
    """The recipe with the names that figures have in 3.x: `coco/bbox_mAP`."""
    evaluation = recipe.evaluation
    if evaluation is None:
        return recipe
    metrics = tuple(_with_names(metric) for metric in evaluation.metrics)
    test_metrics = tuple(_with_names(metric) for metric in recipe.test_metrics)
    schedule = evaluation.schedule.copy()
    best, prefix = schedule.get('save_best'), metrics[0].get('prefix') if metrics else None
    if isinstance(best, str) and best != 'auto' and '/' not in best.partition('mAP')[0] and prefix:
        schedule['save_best'] = f'{prefix}/{best}'
    return replace(recipe, evaluation=EvaluationRecipe(schedule, metrics=metrics), test_metrics=test_metrics)


def _with_names(metric: ConfigDict) -> ConfigDict:
    """The metric with the arguments that name its figures as in 3.x, unless it has others already."""
    spelling = METRICS.get(unscoped(metric['type']))
    usual = {} if spelling is None else {key: spelling.defaults.get(key, (None,))[0] for key in _NAMES}
    return metric | {key: value for key, value in usual.items() if value is not None and metric.get(key) is None}


def metrics_of_v2(evaluation: EvaluationRecipe, recipe: Recipe, notes: Notes) -> ConfigDict:
    """Arguments of `evaluation` in 2.x."""
    if recipe.test_metrics not in ((), evaluation.metrics):
        notes.add('test_evaluator has no place in mmdetection 2.x: name the metrics of a test with --eval')
    return evaluation.arguments if not evaluation.metrics else ConfigDict(metrics=list(evaluation.metrics))
