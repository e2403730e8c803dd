"""The one place that decides whether the model normalises the images of a run, or its pipelines do."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mmkit.dialects.recipe import Recipe
from mmkit.models.classifiers import ImageClassifier
from mmkit.models.detectors import Detector
from mmkit.registry import CLASSIFIERS, DETECTORS, located
from mmkit.transforms.deferred import NotDeferrableError, defer_normalize

logger = logging.getLogger('mmkit.engine')


def normalize_on_device(recipe: Recipe) -> Recipe:
    """The recipe with images that travel as uint8 and are normalised by the model.

    A training's recipe changes in the datasets of its phases and its evaluation, any other in that of the test. Where
    the result would not be the same, or `device_normalize` is off, the recipe stays as it is.
    """
    if not recipe.device_normalize or recipe.model is None or recipe.model.get('data_preprocessor') is not None:
        return recipe
    training = recipe.training
    if training is None:
        datasets = [recipe.test.dataset]
    else:
        val = [] if recipe.evaluation is None else [recipe.val.dataset]
        datasets = [phase.dataset for phase in training.workflow] + val
    try:
        _check_model(recipe.model)
        edited, preprocessor = defer_normalize(datasets)
    except NotDeferrableError as reason:
        logger.info('images are normalised by the data loader, not on the device: %s', reason)
        return recipe
    if preprocessor is not None:
        recipe = replace(recipe, model=recipe.model | {'data_preprocessor': preprocessor})
    if training is None:
        return replace(recipe, test=replace(recipe.test, dataset=edited[0]))
    workflow = tuple(replace(phase, dataset=dataset) for phase, dataset in zip(training.workflow, edited))
    recipe = replace(recipe, training=replace(training, workflow=workflow))
    return recipe if recipe.evaluation is None else replace(recipe, val=replace(recipe.val, dataset=edited[-1]))


def _check_model(cfg: Mapping[str, Any]) -> None:
    """Raises NotDeferrableError if a model that is no `Detector` or `ImageClassifier` may have no `preprocess`."""
    kind = cfg.get('type')
    registry = CLASSIFIERS if kind in CLASSIFIERS else DETECTORS
    with located(cfg):
        made_from = registry.get(kind) if isinstance(kind, str) else kind
    if not isinstance(made_from, type) or not issubclass(made_from, (Detector, ImageClassifier)):
        raise NotDeferrableError(f'{kind} is no subclass of Detector or ImageClassifier')
