"""Who normalises, pads and packs: the end of a pipeline in 2.x, the model and PackDetInputs in 3.x."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mmkit.config import ConfigDict
from mmkit.dialects.recipe import DatasetConfig, LoaderRecipe, Recipe
from mmkit.dialects.writing.notes import Notes
from mmkit.errors import ConfigError
from mmkit.utils.names import unscoped

Steps = list[ConfigDict]
_FORMATTING = ('DefaultFormatBundle', 'ImageToTensor', 'ToTensor', 'ToDataContainer')
# Arguments of DetDataPreprocessor that a pipeline of 2.x can say, or needs not say.
_SPOKEN = ('type', 'mean', 'std', 'bgr_to_rgb', 'pad_size_divisor', 'pad_value')
_SILENT = ('pad_mask', 'mask_pad_value', 'pad_seg', 'seg_pad_value', 'boxtype2tensor', 'non_blocking')


@dataclass
class _Found:
    """`Normalize` and `Pad(size_divisor=)` at the ends of pipelines, which all of them must share."""

    norms: list[Mapping[str, Any]] = field(default_factory=list)
    divisors: list[int] = field(default_factory=list)


class UnpackableError(ConfigError):
    """Pipelines of 2.x whose work no data preprocessor can do."""


def pack(recipe: Recipe) -> Recipe:
    """The recipe with a data preprocessor, and pipelines that end in PackDetInputs.

    Raises:
        UnpackableError: pipelines normalise differently, or not at their ends, or give several views of an image.
    """
    found = _Found()
    train = _mapped(recipe.train, lambda steps: _packed(steps, found))
    val, test = (_mapped(part, lambda steps: _packed(steps, found, test=True)) for part in (recipe.val, recipe.test))
    model = recipe.model
    if model is not None:
        model = model.copy()
        given = model.pop('data_preprocessor', None)
        if given is not None and found.norms:
            raise UnpackableError('images are normalised by pipelines and by model.data_preprocessor')
        preprocessor = _preprocessor(found) if given is None else given
        model = ConfigDict({'type': model.pop('type', None), 'data_preprocessor': preprocessor}) | model
    return replace(_with_phases(recipe, train), train=train, val=val, test=test, model=model)


def unpack(recipe: Recipe, notes: Notes) -> Recipe:
    """The recipe with pipelines that normalise, pad and collect, and a model that doesn't.

    What a data preprocessor does besides stays in the model, with a remark.

    Raises:
        UnpackableError: several branches of a pipeline are packed, of which 2.x has one.
    """
    model = recipe.model
    given = None if model is None else model.get('data_preprocessor')
    if model is None or not isinstance(given, Mapping):
        return recipe
    extras = [key for key, value in given.items() if value and key not in (*_SPOKEN, *_SILENT)]
    if unscoped(str(given.get('type'))) not in ('DetDataPreprocessor', 'DataPreprocessor') or extras:
        named = ', '.join(extras) or given.get('type')
        notes.add(f'model.data_preprocessor stays in the model: no pipeline of mmdetection 2.x does its {named}')
        end: Steps = []
    else:
        model = model.copy()
        del model['data_preprocessor']
        end = _end_of(given)
    train = _mapped(recipe.train, lambda steps: _collected(steps, end, _keys(recipe.train.dataset)))
    val, test = (_mapped(part, lambda steps: _collected_test(steps, end)) for part in (recipe.val, recipe.test))
    if any(_holds_packing(part.dataset) for part in (train, val, test)):
        raise UnpackableError('a pipeline packs samples in several branches, and in mmdetection 2.x it has one')
    return replace(_with_phases(recipe, train), train=train, val=val, test=test, model=model)


def _holds_packing(value: object) -> bool:
    if isinstance(value, Mapping):
        return _kind(value) == 'PackDetInputs' or any(_holds_packing(item) for item in value.values())
    return isinstance(value, (list, tuple)) and any(_holds_packing(item) for item in value)


def _with_phases(recipe: Recipe, train: LoaderRecipe) -> Recipe:
    """The recipe with the dataset of a changed loader in its phases of training."""
    if recipe.training is None:
        return recipe
    workflow = tuple(
        replace(phase, dataset=train.dataset) if phase.mode == 'train' else phase for phase in recipe.training.workflow
    )
    return replace(recipe, training=replace(recipe.training, workflow=workflow))


def _mapped(loader: LoaderRecipe, change: Callable[[Steps], Steps]) -> LoaderRecipe:
    return replace(loader, dataset=_changed(loader.dataset, change))


def _changed(dataset: DatasetConfig | None, change: Callable[[Steps], Steps]) -> Any:
    """The dataset with another pipeline, and so those in it."""
    if isinstance(dataset, ConfigDict):
        dataset = dataset.copy()
        for key, value in dataset.items():
            if key == 'pipeline' and isinstance(value, (list, tuple)):
                dict.__setitem__(dataset, key, change(list(value)))
            elif key in ('dataset', 'datasets'):
                dict.__setitem__(dataset, key, _changed(value, change))
    elif isinstance(dataset, (list, tuple)):
        return [_changed(part, change) for part in dataset]
    return dataset


def pipelines_of(dataset: object) -> Iterator[Sequence[Mapping[str, Any]]]:
    """Every pipeline of a dataset and of those in it."""
    if isinstance(dataset, Mapping):
        if isinstance(dataset.get('pipeline'), (list, tuple)):
            yield dataset['pipeline']
        for key in ('dataset', 'datasets'):
            yield from pipelines_of(dataset.get(key))
    elif isinstance(dataset, (list, tuple)):
        for part in dataset:
            yield from pipelines_of(part)


def _kind(step: object) -> str:
    return unscoped(str(step.get('type'))) if isinstance(step, Mapping) else ''


# ------------------------------------------------------------------ 2.x -> 3.x


def _packed(steps: Steps, found: _Found, test: bool = False) -> Steps:
    """A pipeline that ends in PackDetInputs; one that ends in none of the usual ways is left alone."""
    if steps and _kind(steps[-1]) == 'MultiScaleFlipAug':
        steps = [*steps[:-1], *_single_view(steps[-1])]
    if test:
        steps = [step for step in steps if _kind(step) != 'LoadAnnotations']
    if not steps or _kind(steps[-1]) not in ('Collect', 'PackDetInputs'):
        _check_no_norm(steps)
        return steps
    is_packed = _kind(steps.pop()) == 'PackDetInputs'
    if not is_packed:
        while steps and _kind(steps[-1]) in _FORMATTING:
            steps.pop()
        kept = [steps.pop()] if steps and _kind(steps[-1]) == 'SegRescale' else []  # it doesn't touch the image
        divisor, norm = 1, None
        if steps and _kind(steps[-1]) == 'Pad' and steps[-1].get('size_divisor'):
            divisor = steps.pop()['size_divisor']
        if steps and _kind(steps[-1]) == 'Normalize':
            norm = {key: value for key, value in steps.pop().items() if key != 'type'}
        steps += kept
        found.divisors.append(divisor)
        found.norms += [] if norm is None else [norm]
        if (norm is None) != (not found.norms):
            raise UnpackableError('some pipelines normalise images and others do not')
    _check_no_norm(steps)
    return [*steps, ConfigDict(type='PackDetInputs')]


def _check_no_norm(steps: Steps) -> None:
    if any(_kind(step) == 'Normalize' for step in steps):
        raise UnpackableError('images are normalised before other transforms, which no data preprocessor does')


def _single_view(aug: ConfigDict) -> Steps:
    """The transforms of a MultiScaleFlipAug that gives one view."""
    scale = aug.get('img_scale')
    scales = [scale] if isinstance(scale, tuple) or not scale or not isinstance(scale[0], (list, tuple)) else scale
    if aug.get('flip') or len(scales) > 1 or aug.get('scale_factor') is not None:
        raise UnpackableError('MultiScaleFlipAug gives several views of an image: in 3.x these are a tta_pipeline')
    steps = [step.copy() for step in aug['transforms'] if _kind(step) != 'RandomFlip']
    for step in steps:
        if _kind(step) == 'Resize' and 'img_scale' not in step and scales[0]:
            step['img_scale'] = scales[0]
    return steps


def _preprocessor(found: _Found) -> ConfigDict:
    norms = [{**norm, 'to_rgb': norm.get('to_rgb', True)} for norm in found.norms]
    if any(norm != norms[0] for norm in norms) or len(set(found.divisors)) > 1:
        raise UnpackableError('pipelines normalise or pad images differently, and a model has one data preprocessor')
    preprocessor = ConfigDict(type='DetDataPreprocessor')
    if norms:
        preprocessor |= {'mean': norms[0]['mean'], 'std': norms[0]['std'], 'bgr_to_rgb': norms[0]['to_rgb']}
    return preprocessor | {'pad_size_divisor': found.divisors[0] if found.divisors else 1}


# ------------------------------------------------------------------ 3.x -> 2.x


def _end_of(preprocessor: Mapping[str, Any]) -> Steps:
    """The transforms that do what a data preprocessor does."""
    steps = []
    if preprocessor.get('mean') is not None or preprocessor.get('bgr_to_rgb'):
        mean, std = preprocessor.get('mean') or [0.0] * 3, preprocessor.get('std') or [1.0] * 3
        steps.append(ConfigDict(type='Normalize', mean=mean, std=std, to_rgb=preprocessor.get('bgr_to_rgb', False)))
    if preprocessor.get('pad_size_divisor', 1) > 1:
        pad = ConfigDict(type='Pad', size_divisor=preprocessor['pad_size_divisor'])
        if preprocessor.get('pad_value'):
            pad['pad_val'] = {'img': preprocessor['pad_value']}
        steps.append(pad)
    return steps


def _keys(dataset: object) -> list[str]:
    """Keys of Collect: everything that the pipelines of a dataset load."""
    keys = ['img']
    for step in (step for steps in pipelines_of(dataset) for step in steps if _kind(step) == 'LoadAnnotations'):
        if step.get('with_bbox', True):
            keys += ['gt_bboxes', 'gt_labels', 'gt_bboxes_ignore']
        keys += ['gt_masks'] if step.get('with_mask') else []
        keys += ['gt_semantic_seg'] if step.get('with_seg') else []
    return list(dict.fromkeys(keys))


def _collected(steps: Steps, end: Steps, keys: list[str]) -> Steps:
    if not steps or _kind(steps[-1]) != 'PackDetInputs':
        return steps
    collect = ConfigDict(type='Collect', keys=keys)
    steps = steps[:-1]
    kept = [steps.pop()] if steps and _kind(steps[-1]) == 'SegRescale' else []
    return [*steps, *end, *kept, ConfigDict(type='DefaultFormatBundle'), collect]


def _collected_test(steps: Steps, end: Steps) -> Steps:
    """A pipeline of one view in MultiScaleFlipAug, which tests of 2.x expect."""
    if not steps or _kind(steps[-1]) != 'PackDetInputs':
        return steps
    steps = [step for step in steps[:-1] if _kind(step) != 'LoadAnnotations']
    tail = [*end, ConfigDict(type='ImageToTensor', keys=['img']), ConfigDict(type='Collect', keys=['img'])]
    sizes = [number for number, step in enumerate(steps) if _kind(step) == 'Resize' and 'img_scale' in step]
    if not sizes:
        return [*steps, *tail]
    first = sizes[0]
    resize = steps[first].copy()
    aug = ConfigDict(type='MultiScaleFlipAug', img_scale=resize.pop('img_scale'), flip=False)
    aug['transforms'] = [resize, *steps[first + 1 :], *tail]
    return [*steps[:first], aug]
