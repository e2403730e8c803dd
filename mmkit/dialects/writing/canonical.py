"""One form for recipes that say the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mmkit.config import ConfigDict
from mmkit.dialects.recipe import LoaderRecipe, Recipe, TrainingRecipe
from mmkit.dialects.spellings import DATASETS, HOOKS, METRICS, MODELS, TRANSFORMS, read_v3, write_v3
from mmkit.dialects.writing.metrics import with_metrics, with_prefixes
from mmkit.dialects.writing.pipelines import pack
from mmkit.dialects.writing.schedules import length_of
from mmkit.schedules import Clock, Schedule, values_along

# Arguments that say nothing in one of the dialects.
_SILENT = ('pad_mask', 'mask_pad_value', 'pad_seg', 'seg_pad_value', 'meta_keys')
# Arguments with the values that they have in any case.
_USUAL = {'pad_size_divisor': 1, 'pad_value': 0, 'bgr_to_rgb': False}
_SPELLINGS = {**MODELS, **TRANSFORMS, **DATASETS, **HOOKS, **METRICS}
_ITERATIONS_OF_AN_EPOCH = 53


def canonical(recipe: Recipe) -> Recipe:
    """The one form of all recipes that say the same; two configs say the same if theirs are equal.

    It is that of 3.x: images are normalised by the model's data preprocessor, pipelines end in PackDetInputs and those
    of tests load no annotations; evaluations have metrics, whose figures have the prefixes of 3.x, and a test has those
    of the validation unless it says otherwise. Types have the arguments that they have after being written in 3.x and
    read again; those that are None are left out. A schedule is its values, to six digits, along a training with a few
    iterations in an epoch. An evaluation at the end counts only where the interval would leave it out.

    Raises:
        UnpackableError: the pipelines cannot be brought into this form.
    """
    recipe = with_prefixes(with_metrics(pack(recipe)))
    training = recipe.training
    if training is not None:
        training = replace(
            training,
            workflow=(),
            lr=_values(training.lr, training.loop),
            momentum=_values(training.momentum, training.loop),
            checkpoint=_plain(training.checkpoint, 'CheckpointHook'),
            loggers=_plain(training.loggers),
            hooks=tuple(replace(hook, config=_plain(hook.config)) for hook in training.hooks),
        )
    evaluation = recipe.evaluation
    if evaluation is not None:
        schedule = _schedule(evaluation.schedule, training)
        evaluation = replace(evaluation, metrics=_plain(evaluation.metrics), schedule=schedule)
    return replace(
        recipe,
        model=_plain(recipe.model),
        train=_loader(recipe.train),
        val=_loader(recipe.val),
        test=_loader(recipe.test),
        training=training,
        evaluation=evaluation,
        test_metrics=_plain(recipe.test_metrics),
    )


def _loader(loader: LoaderRecipe) -> LoaderRecipe:
    if loader.dataset is None:
        return LoaderRecipe(None)
    return replace(loader, dataset=_plain(loader.dataset))


def _schedule(schedule: ConfigDict, training: TrainingRecipe | None) -> ConfigDict:
    """When to evaluate, with the arguments that make a difference."""
    full = ConfigDict(_stripped({'interval': 1, **schedule}))
    if full.get('begin') == 1:
        del full['begin']
    at_end = full.pop('at_end', False)
    if at_end and (training is None or length_of(training.loop).number % full['interval']):
        full['at_end'] = True
    return full


def _plain(value: object, kind: str | None = None) -> Any:
    """Configs as they are after being written in 3.x and read again, without what says nothing; lists for tuples."""
    if kind is not None and isinstance(value, ConfigDict) and 'type' not in value:
        value = ConfigDict(type=kind) | value
    return _stripped(read_v3(write_v3(value, _SPELLINGS), _SPELLINGS))


def _stripped(value: object) -> Any:
    if isinstance(value, dict):
        spoken = {key: item for key, item in value.items() if key not in _SILENT and item != _USUAL.get(key)}
        return {key: _stripped(item) for key, item in spoken.items()}
    if isinstance(value, (list, tuple)):
        return [_stripped(item) for item in value]
    return value


def _values(schedule: Schedule | None, loop: ConfigDict) -> Any:
    """Values of a schedule; one that leaves the value alone is None."""
    length = length_of(loop)
    if length.by_epoch:
        each = _ITERATIONS_OF_AN_EPOCH
        clock = Clock(0, 0, length.number, length.number * each, each)
    else:
        clock = Clock(0, 0, 1, length.number, length.number)
    values = values_along(schedule or Schedule(()), [1.0], clock)
    rounded = tuple(float(f'{value:.6g}') for (value,) in values)
    return None if set(rounded) == {1.0} else rounded
