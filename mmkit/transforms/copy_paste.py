"""Objects of another image on top of an image."""

from __future__ import annotations

from typing import Any

import numpy as np

from mmkit.errors import InvalidValueError
from mmkit.registry import TRANSFORMS
from mmkit.structures import BitmapMasks
from mmkit.transforms.mixing import ImageSource, others_of
from mmkit.transforms.randomness import rng_of


@TRANSFORMS.register_module()
class CopyPaste:
    """Pastes objects of another image of the same size; objects that are too much covered are dropped.

    Masks become bitmaps, and boxes of covered objects are those of what is left of their masks. arXiv:2012.07177

    Args:
        max_num_pasted: at most so many objects are pasted, less one.
        bbox_occluded_thr: an object stays if no edge of its box moves by more pixels than this ...
        mask_occluded_thr: ... or if more pixels than this are left of its mask.
        selected: draw the objects to paste; otherwise all are.
        paste_by_box: take boxes for masks where there are none.
    """

    def __init__(
        self,
        max_num_pasted: int = 100,
        bbox_occluded_thr: float = 10,
        mask_occluded_thr: float = 300,
        selected: bool = True,
        paste_by_box: bool = False,
    ) -> None:
        self.max_num_pasted = max_num_pasted
        self.bbox_occluded_thr = bbox_occluded_thr
        self.mask_occluded_thr = mask_occluded_thr
        self.selected = selected
        self.paste_by_box = paste_by_box

    def get_indexes(self, dataset: ImageSource, rng: np.random.Generator | None = None) -> int:
        """Any image."""
        return int((rng or np.random.default_rng()).integers(len(dataset)))

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any]:
        other = others_of(sample, 'CopyPaste')[0]
        size = sample['img'].shape[:2]
        if other['img'].shape[:2] != size:
            sizes = f'{size} and {other["img"].shape[:2]}'
            raise InvalidValueError(f'CopyPaste: images of (height, width) {sizes}: crop and pad them to one size')
        chosen = self._choose(len(other['gt_bboxes']), rng_of(sample))
        if not len(chosen):
            return sample
        pasted, covered = self._masks(other)[chosen], self._masks(sample)
        is_pasted = pasted.masks.max(axis=0) > 0
        left = BitmapMasks(covered.masks & ~is_pasted, *size)
        bboxes = left.get_bboxes()
        moved = np.abs(bboxes - sample['gt_bboxes']).max(axis=1, initial=0)
        keep = (moved <= self.bbox_occluded_thr) | (left.areas > self.mask_occluded_thr)
        sample['img'] = np.where(is_pasted[..., None], other['img'], sample['img'])
        sample['gt_bboxes'] = np.concatenate([bboxes[keep], other['gt_bboxes'][chosen]])
        sample['gt_labels'] = np.concatenate([sample['gt_labels'][keep], other['gt_labels'][chosen]])
        if 'gt_masks' in sample:
            sample['gt_masks'] = BitmapMasks.cat([left[keep], pasted])
        return sample

    def _choose(self, num_objects: int, rng: np.random.Generator) -> np.ndarray:
        if not self.selected:
            return np.arange(num_objects)
        count = int(rng.integers(min(num_objects + 1, self.max_num_pasted)))
        return rng.choice(num_objects, size=count, replace=False)

    def _masks(self, sample: dict[str, Any]) -> BitmapMasks:
        height, width = sample['img'].shape[:2]
        if 'gt_masks' in sample:
            masks: BitmapMasks = sample['gt_masks'].to_bitmap()
            return masks
        if not self.paste_by_box:
            raise InvalidValueError('CopyPaste needs masks, or paste_by_box=True', key='paste_by_box')
        pixels = np.zeros((len(sample['gt_bboxes']), height, width), np.uint8)
        for mask, (x1, y1, x2, y2) in zip(pixels, sample['gt_bboxes'].astype(int)):
            mask[y1:y2, x1:x2] = 1
        return BitmapMasks(pixels, height, width)
