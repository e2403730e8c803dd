"""Transforms of other packages, which are optional."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmkit.errors import InvalidValueError
from mmkit.registry import TRANSFORMS
from mmkit.structures import BitmapMasks
from mmkit.transforms.base import PixelTransform, bbox_fields, keep_objects
from mmkit.transforms.color import check_uint8
from mmkit.transforms.randomness import rng_of
from mmkit.utils.imports import require_package

# Fields that albumentations can transform, and their names there.
KEYMAP = {'img': 'image', 'gt_bboxes': 'bboxes', 'gt_masks': 'masks'}


@TRANSFORMS.register_module()
class Albu:
    """Transforms of the package albumentations, drawn from the generator of the sample.

    With `bbox_params` boxes move along, ignored ones too; objects whose box is lost are dropped. Without them only
    colours may change. Masks become bitmaps.

    Args:
        transforms: configs whose `type` is a class of albumentations; lists under `transforms` are configs, too.
        bbox_params: arguments of `albumentations.BboxParams`, of format 'pascal_voc'.
        keymap: fields that are transformed, by the names of albumentations: img, gt_bboxes and gt_masks.
        skip_img_without_anno: None if no object is left.

    Raises:
        MissingPackageError: albumentations is not installed.
        InvalidValueError: for a class that it does not have, or another format or field.
    """

    def __init__(
        self,
        transforms: Sequence[Mapping[str, Any]],
        bbox_params: Mapping[str, Any] | None = None,
        keymap: Mapping[str, str] | None = None,
        skip_img_without_anno: bool = False,
    ) -> None:
        self.package = require_package('albumentations', wanted_by='Albu')
        self.keymap = dict(KEYMAP if keymap is None else keymap)
        if not set(self.keymap.items()) <= set(KEYMAP.items()):
            raise InvalidValueError(f'Albu: keymap has some of {KEYMAP}, got {self.keymap}', key='keymap')
        self.moves_boxes = bbox_params is not None and 'gt_bboxes' in self.keymap
        self.skip_img_without_anno = skip_img_without_anno
        steps = [self._build(step) for step in transforms]
        self.compose = self.package.Compose(steps, bbox_params=self._bbox_params(bbox_params))
        # before 1.4.20 it draws from the global generators, which follow the sample in any case
        self.seeds = 'set_random_seed' in dir(self.compose)

    def _build(self, cfg: Mapping[str, Any]) -> Any:
        arguments = dict(cfg)
        name = str(arguments.pop('type', ''))
        known = (self.package.BasicTransform, self.package.BaseCompose)
        kind = vars(self.package).get(name)
        if not isinstance(kind, type) or not issubclass(kind, known):
            raise InvalidValueError(f'albumentations has no transform {name!r}', key='transforms')
        if 'transforms' in arguments:
            arguments['transforms'] = [self._build(step) for step in arguments['transforms']]
        return kind(**arguments)

    def _bbox_params(self, cfg: Mapping[str, Any] | None) -> Any:
        if not self.moves_boxes or cfg is None:
            return None
        if cfg.get('format', 'pascal_voc') != 'pascal_voc':
            raise InvalidValueError(f"Albu: bbox_params.format is 'pascal_voc', got {cfg['format']!r}", 'bbox_params')
        replaced = ('type', 'format', 'label_fields', 'filter_lost_elements')  # lost objects are found by their numbers
        chosen = {key: value for key, value in cfg.items() if key not in replaced}
        return self.package.BboxParams(format='pascal_voc', label_fields=['numbers'], **chosen)

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any] | None:
        arguments: dict[str, Any] = dict(image=sample['img'])
        fields = bbox_fields(sample) if self.moves_boxes else []
        if fields:
            bboxes = np.concatenate([sample[key][:, :4] for key in fields])
            arguments.update(bboxes=bboxes, numbers=np.arange(len(bboxes)))
        if self.moves_boxes and 'gt_masks' in sample and 'gt_masks' in self.keymap:
            arguments['masks'] = list(sample['gt_masks'].to_ndarray())
        if self.seeds:
            self.compose.set_random_seed(int(rng_of(sample).integers(2**31)))
        made = self.compose(**arguments)
        sample['img'] = made['image']
        sample['img_shape'] = sample['pad_shape'] = sample['img'].shape
        if 'masks' in made:
            sample['gt_masks'] = BitmapMasks(made['masks'], *sample['img'].shape[:2])
        if fields:
            numbers, moved = (
                np.asarray(made['numbers'], dtype=int),
                np.asarray(made['bboxes'], np.float32).reshape(-1, 4),
            )
            self._put_boxes(sample, fields, numbers, moved)
            if self.skip_img_without_anno and not len(sample['gt_bboxes']):
                return None
        return sample

    def _put_boxes(self, sample: dict[str, Any], fields: Sequence[str], numbers: np.ndarray, moved: np.ndarray) -> None:
        """Give each field the boxes that are left of it; `numbers` count the boxes of all fields."""
        first = 0
        for key in fields:
            count = len(sample[key])
            own = (numbers >= first) & (numbers < first + count)
            rows = numbers[own] - first
            bboxes = sample[key].copy()
            bboxes[rows, :4] = moved[own]
            sample[key] = bboxes
            keep_objects(sample, key, np.isin(np.arange(count), rows))
            first += count


@TRANSFORMS.register_module()
class Corrupt(PixelTransform[int]):
    """Corruptions of the benchmark ImageNet-C, by the package imagecorruptions. arXiv:1907.07484

    Args:
        corruption: its name, such as 'gaussian_noise'.
        severity: from 1 to 5.

    Raises:
        MissingPackageError: imagecorruptions is not installed.
        InvalidValueError: for another severity.
    """

    def __init__(self, corruption: str, severity: int = 1) -> None:
        self.corrupt = require_package('imagecorruptions', wanted_by='Corrupt').corrupt
        if severity not in range(1, 6):
            raise InvalidValueError(f'Corrupt.severity is between 1 and 5, got {severity}', key='severity')
        self.corruption = corruption
        self.severity = severity

    def draw(self, sample: dict[str, Any], rng: np.random.Generator) -> int | None:
        return self.severity

    def apply_image(self, img: np.ndarray, params: int) -> np.ndarray:
        check_uint8(self, img)
        corrupted: np.ndarray = self.corrupt(img, corruption_name=self.corruption, severity=params)
        return corrupted
