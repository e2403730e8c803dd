"""The frame of a transform: parameters are drawn once and applied to each field of a sample by its kind."""

from __future__ import annotations

from typing import Any, Generic, NoReturn, TypeVar

import numpy as np

from mmkit.errors import InvalidValueError
from mmkit.structures import BitmapMasks, PolygonMasks
from mmkit.transforms.randomness import rng_of

Params = TypeVar('Params')
ObjectMasks = BitmapMasks | PolygonMasks
# Fields with one entry for each box of a field.
PER_OBJECT = {'gt_bboxes': ('gt_labels', 'gt_masks', 'gt_keypoints')}


class FieldTransform(Generic[Params]):
    """A transform that draws its parameters once and applies them to every field of a sample, by kind.

    The image is `img`; `bbox_fields`, `mask_fields`, `seg_fields` and `keypoint_fields` of a sample list the names of
    its other fields. A subclass overrides `draw`, and one method for each kind of field that it can transform; a sample
    with any other kind is refused. Anything else that happens to a sample belongs into an override of `apply`.

    Attributes:
        changes_size: the image has another size afterwards, which is to be noted.
    """

    changes_size = False

    def draw(self, sample: dict[str, Any], rng: np.random.Generator) -> Params | None:
        """The parameters for this sample; None leaves it as it is."""
        raise NotImplementedError

    def apply_image(self, img: np.ndarray, params: Params) -> np.ndarray:
        """(H, W, C) or (H, W)."""
        self._refuse('images')

    def apply_boxes(self, bboxes: np.ndarray, params: Params) -> np.ndarray:
        """(N, 4) xyxy in pixels, or (N, 5) with scores."""
        self._refuse('boxes')

    def apply_masks(self, masks: ObjectMasks, params: Params) -> ObjectMasks:
        """Masks of N objects, on a canvas of the size of the image."""
        self._refuse('masks')

    def apply_semantic(self, seg: np.ndarray, params: Params) -> np.ndarray:
        """(H, W), a label for each pixel."""
        self._refuse('semantic maps')

    def apply_keypoints(self, keypoints: np.ndarray, params: Params) -> np.ndarray:
        """(N, K, 3): x, y in the coordinates of boxes (pixel i reaches from i to i + 1), visibility (0: unlabelled)."""
        self._refuse('keypoints')

    def point_map(self, params: Params) -> np.ndarray | None:
        """(3, 3) map of points (x, y, 1) of the old image to the new one; None leaves them in their places."""
        return None

    def apply(self, sample: dict[str, Any], params: Params) -> dict[str, Any] | None:
        """Transform all fields; None makes the sample unusable."""
        sample['img'] = self.apply_image(sample['img'], params)
        for key in bbox_fields(sample):
            sample[key] = self.apply_boxes(sample[key], params)
        for key in sample.get('mask_fields', ()):
            sample[key] = self.apply_masks(sample[key], params)
        for key in sample.get('seg_fields', ()):
            sample[key] = self.apply_semantic(sample[key], params)
        for key in sample.get('keypoint_fields', ()):
            sample[key] = self.apply_keypoints(sample[key], params)
        if self.changes_size:
            sample['img_shape'] = sample['pad_shape'] = sample['img'].shape
        moved = self.point_map(params)
        if moved is not None:
            before = sample.get('homography_matrix', np.eye(3))
            sample['homography_matrix'] = (moved @ before).astype(np.float32)
        return sample

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any] | None:
        params = self.draw(sample, rng_of(sample))
        return sample if params is None else self.apply(sample, params)

    def _refuse(self, kind: str) -> NoReturn:
        raise InvalidValueError(f'{type(self).__name__} cannot transform {kind}: leave them unloaded')


class PixelTransform(FieldTransform[Params]):
    """A transform that changes colours and moves nothing: only the image is touched."""

    def apply(self, sample: dict[str, Any], params: Params) -> dict[str, Any] | None:
        sample['img'] = self.apply_image(sample['img'], params)
        return sample


def bbox_fields(sample: dict[str, Any]) -> list[str]:
    """The names of the fields with boxes; a sample that a script made may not list them."""
    return list(sample.get('bbox_fields') or [key for key in ('gt_bboxes', 'gt_bboxes_ignore') if key in sample])


def keep_objects(sample: dict[str, Any], key: str, keep: np.ndarray) -> None:
    """Drop the boxes of field `key` where `keep` (N,) is False, together with their labels, masks and keypoints."""
    for name in (key, *PER_OBJECT.get(key, ())):
        if name in sample:
            sample[name] = sample[name][keep]
