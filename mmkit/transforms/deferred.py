"""Normalisation that a pipeline leaves to the model: images travel as uint8, a quarter of the bytes.

`defer_normalize` edits the configs of datasets. It is all or nothing: every pipeline of a run must end in `Normalize`
with the same mean and std and in steps after which the model can do the same, or none may have a `Normalize` at all.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmkit.registry import TRANSFORMS
from mmkit.transforms.color import Normalize
from mmkit.transforms.cropping import FilterAnnotations
from mmkit.transforms.expanding import Pad
from mmkit.transforms.formatting import Collect, DefaultFormatBundle, ImageToTensor, ToDataContainer, ToTensor
from mmkit.transforms.resizing import SegRescale
from mmkit.transforms.test_time import MultiScaleFlipAug

# Steps behind Normalize to which it makes no difference, apart from the value of the padding.
_INDIFFERENT = (
    Pad,
    SegRescale,
    FilterAnnotations,
    ImageToTensor,
    ToTensor,
    ToDataContainer,
    DefaultFormatBundle,
    Collect,
)


class NormalizeLater(Normalize):
    """A `Normalize` that the model will do: it only notes which part of the image is no padding.

    An image that another step has normalised already is normalised again, as ever.
    """

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any]:
        if 'img_norm_cfg' in sample:
            return super().__call__(sample)
        self.check_channels(sample['img'])
        sample['norm_shape'] = sample['img'].shape[:2]
        return sample


class NotDeferrableError(Exception):
    """The reason for which a run keeps normalising its images in the pipelines."""


@dataclass(frozen=True)
class Normalization:
    """Normalisation and padding of the images of a pipeline."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    to_rgb: bool
    pad_value: float

    def preprocessor(self) -> dict[str, Any]:
        """Config of the data preprocessor that does the same."""
        return dict(
            type='DataPreprocessor',
            mean=list(self.mean),
            std=list(self.std),
            bgr_to_rgb=self.to_rgb,
            pad_value=self.pad_value,
        )


def defer_normalize(datasets: Sequence[Any]) -> tuple[list[Any], dict[str, Any] | None]:
    """Let the model normalise the images of these datasets.

    Args:
        datasets: configs of all datasets of a run, or lists of them; they stay as they are.

    Returns:
        The datasets' new configs, and the config of the model's data preprocessor, None if it need only convert
        images to float.

    Raises:
        NotDeferrableError: it would change the images.
    """
    normalizations: list[Normalization | None] = []
    edited = [_edit_dataset(dataset, normalizations) for dataset in datasets]
    if any(each != normalizations[0] for each in normalizations):
        raise NotDeferrableError('not all pipelines normalise and pad images with the same values')
    first = normalizations[0] if normalizations else None
    return edited, None if first is None else first.preprocessor()


def _edit_dataset(cfg: object, normalizations: list[Normalization | None], is_mixed: bool = False) -> Any:
    """A dataset's config with edited pipelines, whose normalisations are appended to the list.

    Args:
        is_mixed: a wrapper's pipeline follows the dataset's own.
    """
    if isinstance(cfg, (list, tuple)):
        return [_edit_dataset(part, normalizations, is_mixed) for part in cfg]
    if not isinstance(cfg, Mapping):
        raise NotDeferrableError(f'a {type(cfg).__name__} is no config of a dataset')
    edited: Any = copy.copy(cfg)
    inner = next((key for key in ('dataset', 'datasets') if key in cfg), None)
    pipeline = cfg.get('pipeline')
    if inner is not None:
        edited[inner] = _edit_dataset(cfg[inner], normalizations, is_mixed or pipeline is not None)
    elif pipeline is None:
        raise NotDeferrableError(f'the config of {cfg.get("type")} has no pipeline')
    if pipeline is None:
        return edited
    if not is_mixed:
        edited['pipeline'], normalization = _edit_pipeline(pipeline)
        normalizations.append(normalization)
    elif _mentions_normalize(pipeline):
        raise NotDeferrableError('images are normalised before they are mixed')
    return edited


def _edit_pipeline(pipeline: Sequence[Any]) -> tuple[list[Any], Normalization | None]:
    """The steps of a pipeline with uint8 images at its end, and the normalisation that it had."""
    steps: list[Any] = [copy.copy(step) if isinstance(step, Mapping) else step for step in pipeline]
    kinds = [_kind(step) for step in steps]
    if kinds and kinds[-1] is MultiScaleFlipAug:
        if _mentions_normalize(steps[:-1]):
            raise NotDeferrableError('an image is normalised before its views are made')
        steps[-1]['transforms'], normalization = _edit_pipeline(steps[-1]['transforms'])
        return steps, normalization
    if not kinds or kinds[-1] is not Collect:
        raise NotDeferrableError('a pipeline does not end in Collect')
    if Normalize in kinds:
        place = kinds.index(Normalize)
        if _mentions_normalize([*steps[:place], *steps[place + 1 :]]):
            raise NotDeferrableError('a pipeline normalises twice')
        pad_value = _padding_behind(steps[place + 1 :])
        normalization = _normalization(steps[place], pad_value)
        steps[place]['type'] = NormalizeLater
    else:
        place = kinds.index(DefaultFormatBundle) if DefaultFormatBundle in kinds else len(kinds) - 1
        pad_value = _padding_behind(steps[place:])
        normalization = None
        if pad_value not in range(256):
            raise NotDeferrableError(f'uint8 images cannot be padded with {pad_value}')
    for step, kind in zip(steps, kinds):
        if kind is DefaultFormatBundle:
            step['img_to_float'] = False
            if normalization is not None and pad_value:  # uint8 may not hold it; the model fills the padding anew
                step['pad_val'] = {**step['pad_val'], 'img': 0}
    return steps, normalization


def _padding_behind(steps: Sequence[Any]) -> float:
    """The value of the padding that these steps, which come behind the normalisation, and `collate` add."""
    values = [0.0] if DefaultFormatBundle not in map(_kind, steps) else []
    for step in steps:
        kind = _kind(step)
        if kind not in _INDIFFERENT:
            raise NotDeferrableError(f'{_name(step)} comes behind the normalisation')
        if kind in (Pad, DefaultFormatBundle):
            value = step.get('pad_val') or 0
            values.append(value.get('img', 0) if isinstance(value, Mapping) else value)
    if not isinstance(values[0], (int, float)) or any(value != values[0] for value in values):
        raise NotDeferrableError('a pipeline pads images with several values')
    return float(values[0])


def _normalization(step: Mapping[str, Any], pad_value: float) -> Normalization:
    normalize = TRANSFORMS.build(step)
    assert isinstance(normalize, Normalize)
    mean, std = tuple(normalize.mean.tolist()), tuple(normalize.std.tolist())
    return Normalization(mean, std, normalize.to_rgb, pad_value)


def _kind(step: object) -> object:
    """The class that a step is built from; None for an object or a class of no registered name."""
    kind = step.get('type') if isinstance(step, Mapping) else None
    if isinstance(kind, str):
        return TRANSFORMS.get(kind) if kind in TRANSFORMS else None
    return kind


def _name(step: object) -> str:
    return str(step['type']) if isinstance(step, Mapping) else type(step).__name__


def _mentions_normalize(value: object) -> bool:
    """Also inside of steps that hold other steps."""
    if isinstance(value, Mapping):
        return _kind(value) is Normalize or any(_mentions_normalize(item) for item in value.values())
    return isinstance(value, (list, tuple)) and any(_mentions_normalize(item) for item in value)
