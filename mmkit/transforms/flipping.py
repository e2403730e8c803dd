"""Mirroring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmkit.errors import InvalidTypeError, InvalidValueError
from mmkit.registry import TRANSFORMS
from mmkit.structures.masks import DIRECTIONS
from mmkit.transforms.base import FieldTransform, ObjectMasks
from mmkit.transforms.checks import Size, check_choice
from mmkit.transforms.coordinates import flip_bboxes


@dataclass(frozen=True)
class Flip:
    """Parameters of `RandomFlip`.

    Attributes:
        direction: 'horizontal', 'vertical' or 'diagonal' (both).
        size: (height, width) of the image.
        keypoint_order: (K,) where each keypoint of the mirror image comes from: left and right change places.
    """

    direction: str
    size: Size
    keypoint_order: Sequence[int] | None = None


@TRANSFORMS.register_module()
class RandomFlip(FieldTransform[Flip]):
    """Mirrors as `sample['flip']` and `sample['flip_direction']` say if they are there, else by chance.

    Keypoints need `sample['keypoint_flip_indices']`, (K,): the left wrist's entry is the index of the right wrist.

    Args:
        flip_ratio: probability of a flip, divided evenly among the directions, or one for each direction; None is 0.
        direction: 'horizontal', 'vertical', 'diagonal' (both), or a list of them.
        flip_prob: mmclassification's name of `flip_ratio`. (Its default is 0.5: write it.)
    """

    def __init__(
        self,
        flip_ratio: float | Sequence[float] | None = None,
        direction: str | Sequence[str] = 'horizontal',
        flip_prob: float | Sequence[float] | None = None,
    ) -> None:
        if flip_ratio is not None and flip_prob is not None:
            raise InvalidValueError(
                f'RandomFlip: flip_ratio={flip_ratio} and flip_prob={flip_prob} are the same: give one', key='flip_prob'
            )
        flip_ratio = flip_prob if flip_ratio is None else flip_ratio
        directions = [direction] if isinstance(direction, str) else list(direction)
        for name in directions:
            check_choice('direction', name, DIRECTIONS)
        if isinstance(flip_ratio, str):
            message = f'RandomFlip needs a probability, or one for each direction, got {flip_ratio!r}'
            raise InvalidTypeError(message, key='flip_ratio')
        if isinstance(flip_ratio, (int, float)):
            ratios = [flip_ratio / len(directions)] * len(directions)
        else:
            ratios = [0.0] * len(directions) if flip_ratio is None else list(flip_ratio)
        if len(ratios) != len(directions):
            raise InvalidValueError(f'{len(ratios)} flip ratios for {len(directions)} directions', key='flip_ratio')
        if min(ratios) < 0 or sum(ratios) > 1 + 1e-9:
            raise InvalidValueError(
                f'flip_ratio must be probabilities of at most 1 in all, got {flip_ratio}', key='flip_ratio'
            )
        self.ratios = ratios
        self.directions = directions

    def draw(self, sample: dict[str, Any], rng: np.random.Generator) -> Flip | None:
        if 'flip' not in sample:
            sample['flip_direction'] = self._draw_direction(rng)
            sample['flip'] = sample['flip_direction'] is not None
        if not sample['flip']:
            sample.setdefault('flip_direction', None)
            return None
        direction = sample.setdefault('flip_direction', self.directions[0])
        return Flip(direction, sample['img'].shape[:2], sample.get('keypoint_flip_indices'))

    def apply_image(self, img: np.ndarray, params: Flip) -> np.ndarray:
        axes = {'horizontal': (1,), 'vertical': (0,), 'diagonal': (0, 1)}[params.direction]
        return np.ascontiguousarray(np.flip(img, axes))

    def apply_boxes(self, bboxes: np.ndarray, params: Flip) -> np.ndarray:
        return flip_bboxes(bboxes, params.size, params.direction)

    def apply_masks(self, masks: ObjectMasks, params: Flip) -> ObjectMasks:
        return masks.flip(params.direction)

    def apply_semantic(self, seg: np.ndarray, params: Flip) -> np.ndarray:
        return self.apply_image(seg, params)

    def apply_keypoints(self, keypoints: np.ndarray, params: Flip) -> np.ndarray:
        flipped: np.ndarray = keypoints.copy()
        if params.direction != 'vertical':
            flipped[..., 0] = params.size[1] - keypoints[..., 0]
        if params.direction != 'horizontal':
            flipped[..., 1] = params.size[0] - keypoints[..., 1]
        if params.direction == 'diagonal':  # half a turn, no mirror image: a left hand stays a left hand
            return flipped
        if params.keypoint_order is None:
            raise InvalidValueError('RandomFlip: a sample with keypoints needs keypoint_flip_indices')
        return np.take(flipped, params.keypoint_order, axis=1)

    def point_map(self, params: Flip) -> np.ndarray | None:
        matrix = np.eye(3)
        if params.direction != 'vertical':
            matrix[0] = -1, 0, params.size[1]
        if params.direction != 'horizontal':
            matrix[1] = 0, -1, params.size[0]
        return matrix

    def _draw_direction(self, rng: np.random.Generator) -> str | None:
        number = int(np.searchsorted(np.cumsum(self.ratios), rng.random(), side='right'))
        return self.directions[number] if number < len(self.directions) else None
