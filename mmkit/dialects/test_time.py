"""The pipeline of a test, and the one with several views of each image in its place."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from mmkit.config import ConfigDict
from mmkit.dialects.recipe import DatasetConfig, Recipe, TTARecipe
from mmkit.errors import ConfigError
from mmkit.utils.logging import get_logger
from mmkit.utils.names import unscoped

Pipeline = Sequence[Mapping[str, Any]]


def find_pipeline(dataset: DatasetConfig | None) -> Pipeline | None:
    """The transforms of a dataset, of the first one if there are several; None if it has none."""
    while dataset:
        if not isinstance(dataset, Mapping):
            dataset = dataset[0]
        elif dataset.get('pipeline'):
            pipeline: Pipeline = dataset['pipeline']
            return pipeline
        else:
            dataset = dataset.get('dataset', dataset.get('datasets'))
    return None


def augmented(recipe: Recipe) -> Recipe:
    """The recipe whose test sees several views of each image: those of its `tta_pipeline`, or else the mirrored one.

    Raises:
        ConfigError: for a config of 2.x, or if there is no pipeline to begin with.
    """
    if recipe.dialect == 2:
        message = 'a config of 2.x says its views in MultiScaleFlipAug: set flip=True and several img_scale there'
        raise ConfigError(f'--tta: {message}', 'data.test.pipeline')
    tta = recipe.tta or merged_by_default(_mirrored(find_pipeline(recipe.test.dataset)))
    dataset = _with_pipeline(recipe.test.dataset, tta.pipeline)
    return replace(recipe, tta=tta, test=replace(recipe.test, dataset=dataset))


def merged_by_default(pipeline: Pipeline) -> TTARecipe:
    """Views of a config without `tta_model`, merged as mmdetection 3.x does then."""
    return TTARecipe(pipeline, ConfigDict(type='nms', iou_threshold=0.5), max_per_img=100)


def _mirrored(pipeline: Pipeline | None) -> Pipeline:
    kinds = [unscoped(str(step.get('type'))) for step in pipeline or ()]
    if pipeline is None or kinds[-1] != 'PackDetInputs':
        message = "--tta: the config has no 'tta_pipeline', and its test pipeline does not end in PackDetInputs"
        raise ConfigError(message, 'tta_pipeline')
    get_logger().info('--tta: the config has no tta_pipeline, so each image is seen as it is and mirrored')
    flips = [ConfigDict(type='RandomFlip', flip_ratio=ratio) for ratio in (1.0, 0.0)]
    return [*pipeline[:-1], ConfigDict(type='TestTimeAug', transforms=[flips, [pipeline[-1]]])]


def _with_pipeline(dataset: DatasetConfig | None, pipeline: Pipeline) -> Any:
    """The config of the dataset, the pipeline in place of those of all datasets in it."""
    if not isinstance(dataset, Mapping):
        return [_with_pipeline(part, pipeline) for part in dataset or ()]
    edited: Any = copy.copy(dataset)
    key = next((key for key in ('dataset', 'datasets') if key in dataset), None)
    edited[key or 'pipeline'] = list(pipeline) if key is None else _with_pipeline(dataset[key], pipeline)
    return edited
