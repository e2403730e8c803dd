"""From files and annotations to arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmkit.errors import InvalidValueError, MissingFileError
from mmkit.registry import TRANSFORMS
from mmkit.structures import BitmapMasks, EncodedMasks, PolygonMasks
from mmkit.structures.masks_polygon import polygons_to_bitmap
from mmkit.transforms.checks import check_choice
from mmkit.transforms.images import BACKENDS, CHANNEL_ORDERS, COLOR_TYPES, BrokenImageError, read_image
from mmkit.utils.files import check_disk


@TRANSFORMS.register_module()
class LoadImageFromFile:
    """Reads `img_info['filename']` under `img_prefix` into `img` (H, W, 3) uint8.

    Args:
        to_float32: convert to float32.
        color_type: 'color', 'grayscale', 'unchanged', and the first two with '_ignore_orientation', which leaves the
            image as it is stored; otherwise it is turned as EXIF says.
        channel_order: 'bgr' or 'rgb'.
        file_client_args: dict(backend='disk').
        imdecode_backend: 'cv2' or 'pillow', whose pixels may differ by a few steps of 255.

    Raises:
        MissingFileError, BrokenImageError: with the name of the file.
    """

    def __init__(
        self,
        to_float32: bool = False,
        color_type: str = 'color',
        channel_order: str = 'bgr',
        file_client_args: Mapping[str, Any] | None = None,
        imdecode_backend: str = 'cv2',
    ) -> None:
        check_choice('color_type', color_type, COLOR_TYPES)
        check_choice('channel_order', channel_order, CHANNEL_ORDERS)
        check_choice('imdecode_backend', imdecode_backend, BACKENDS)
        check_disk(file_client_args)
        self.to_float32 = to_float32
        self.color_type = color_type
        self.channel_order = channel_order
        self.imdecode_backend = imdecode_backend

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any]:
        ori_filename = sample['img_info']['filename']
        filename = str(Path(sample.get('img_prefix') or '') / ori_filename)
        img = read_image(filename, self.color_type, self.channel_order, self.imdecode_backend)
        return self._add_image(sample, img, filename, ori_filename)

    def _add_image(self, sample: dict[str, Any], img: np.ndarray, filename: str, ori_filename: str) -> dict[str, Any]:
        img = img.astype(np.float32) if self.to_float32 else img
        sample.update(filename=filename, ori_filename=ori_filename, img=img, img_fields=['img'])
        sample.update(img_shape=img.shape, ori_shape=img.shape)
        return sample


@TRANSFORMS.register_module()
class LoadImageFromWebcam(LoadImageFromFile):
    """Takes the array that is already there as `img` (H, W, 3): a frame, or an image of a user's script.

    Args:
        to_float32: convert to float32.
        color_type, channel_order, file_client_args, imdecode_backend: as in `LoadImageFromFile`; of the first two only
            the defaults make sense here.
    """

    def __init__(
        self,
        to_float32: bool = False,
        color_type: str = 'color',
        channel_order: str = 'bgr',
        file_client_args: Mapping[str, Any] | None = None,
        imdecode_backend: str = 'cv2',
    ) -> None:
        super().__init__(to_float32, color_type, channel_order, file_client_args, imdecode_backend)
        if (color_type, channel_order) != ('color', 'bgr'):
            raise InvalidValueError(
                f'an array is taken as it is: color_type={color_type!r}, channel_order={channel_order!r}'
            )

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any]:
        return self._add_image(sample, sample['img'], '', '')


@TRANSFORMS.register_module()
class LoadAnnotations:
    """Takes boxes, labels, masks and the semantic map from `ann_info`; an image of a script, which has none, is empty.

    Adds `gt_bboxes` (N, 4) and `gt_bboxes_ignore` (K, 4) float32, `gt_labels` (N,) int64, `gt_masks`,
    `gt_semantic_seg` (H, W) uint8.

    Args:
        with_bbox, with_label, with_mask, with_seg: parts of the annotations to load.
        poly2mask: draw polygons now (`BitmapMasks`) instead of keeping them (`PolygonMasks`).
        denorm_bbox: the boxes are shares of width and height; make pixels of them.
        file_client_args: dict(backend='disk').

    Raises:
        InvalidValueError: for run-length encoded masks with poly2mask=False.
    """

    def __init__(
        self,
        with_bbox: bool = True,
        with_label: bool = True,
        with_mask: bool = False,
        with_seg: bool = False,
        poly2mask: bool = True,
        denorm_bbox: bool = False,
        file_client_args: Mapping[str, Any] | None = None,
    ) -> None:
        check_disk(file_client_args)
        self.with_bbox = with_bbox
        self.with_label = with_label
        self.with_mask = with_mask
        self.with_seg = with_seg
        self.poly2mask = poly2mask
        self.denorm_bbox = denorm_bbox

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any]:
        if 'ann_info' not in sample:
            return LoadEmptyAnnotations(self.with_bbox, self.with_label, self.with_mask)(sample)
        if self.with_bbox:
            self._load_bboxes(sample)
        if self.with_label:
            sample['gt_labels'] = np.array(sample['ann_info']['labels'], dtype=np.int64)
        if self.with_mask:
            self._load_masks(sample)
        if self.with_seg:
            self._load_seg(sample)
        return sample

    def _load_bboxes(self, sample: dict[str, Any]) -> None:
        ann = sample['ann_info']
        height, width = _canvas(sample)
        unit = np.array([width, height, width, height], np.float32) if self.denorm_bbox else np.float32(1)
        for key, source in (('gt_bboxes', 'bboxes'), ('gt_bboxes_ignore', 'bboxes_ignore')):
            if ann.get(source) is not None:
                sample[key] = np.array(ann[source], dtype=np.float32).reshape(-1, 4) * unit
                sample.setdefault('bbox_fields', []).append(key)

    def _load_masks(self, sample: dict[str, Any]) -> None:
        height, width = _canvas(sample)
        masks = sample['ann_info']['masks']
        if self.poly2mask:
            pixels = [_to_bitmap(mask, height, width) for mask in masks]
            sample['gt_masks'] = BitmapMasks(pixels, height, width)
        else:
            if any(isinstance(mask, Mapping) for mask in masks):
                raise InvalidValueError(
                    f'{_name(sample)} has run-length encoded masks: LoadAnnotations needs poly2mask=True'
                )
            sample['gt_masks'] = PolygonMasks([_usable(mask) for mask in masks], height, width)
        sample.setdefault('mask_fields', []).append('gt_masks')

    def _load_seg(self, sample: dict[str, Any]) -> None:
        from PIL import Image  # keeps the palette numbers of a png, which OpenCV turns into colours

        path = Path(sample.get('seg_prefix') or '') / sample['ann_info']['seg_map']
        try:
            with Image.open(path) as img:
                seg = np.array(img)
        except FileNotFoundError as error:
            hint = '' if sample.get('seg_prefix') else ', and the dataset has no seg_prefix'
            raise MissingFileError(f'no semantic map {path}{hint}') from error
        except OSError as error:
            raise BrokenImageError(f'broken semantic map {path}: {error}') from error
        if seg.ndim != 2:
            raise InvalidValueError(f'a semantic map is (H, W), {path} is {seg.shape}')
        sample['gt_semantic_seg'] = seg.astype(np.uint8)
        sample.setdefault('seg_fields', []).append('gt_semantic_seg')


@TRANSFORMS.register_module()
class LoadEmptyAnnotations:
    """Truth without any object, for images without labels.

    Args:
        with_bbox, with_label, with_mask, with_seg: parts of the annotations to make.
        seg_ignore_label: of every pixel of the semantic map.
    """

    def __init__(
        self,
        with_bbox: bool = True,
        with_label: bool = True,
        with_mask: bool = False,
        with_seg: bool = False,
        seg_ignore_label: int = 255,
    ) -> None:
        self.with_bbox = with_bbox
        self.with_label = with_label
        self.with_mask = with_mask
        self.with_seg = with_seg
        self.seg_ignore_label = seg_ignore_label

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any]:
        if self.with_bbox:
            sample['gt_bboxes'] = np.zeros((0, 4), np.float32)
            sample.setdefault('bbox_fields', []).append('gt_bboxes')
        if self.with_label:
            sample['gt_labels'] = np.zeros(0, np.int64)
        if self.with_mask:
            sample['gt_masks'] = BitmapMasks([], *_canvas(sample))
            sample.setdefault('mask_fields', []).append('gt_masks')
        if self.with_seg:
            sample['gt_semantic_seg'] = np.full(_canvas(sample), self.seg_ignore_label, np.uint8)
            sample.setdefault('seg_fields', []).append('gt_semantic_seg')
        return sample


@TRANSFORMS.register_module()
class LoadProposals:
    """Takes boxes of another detector, `proposals` (P, 4) or, with scores, (P, 5).

    Args:
        num_max_proposals: how many of them, all by default; they come best first.
    """

    def __init__(self, num_max_proposals: int | None = None) -> None:
        self.num_max_proposals = num_max_proposals

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any]:
        proposals = np.array(sample['proposals'], dtype=np.float32)
        if proposals.ndim != 2 or proposals.shape[1] not in (4, 5):
            raise InvalidValueError(f'proposals are (P, 4) or (P, 5), those of {_name(sample)} are {proposals.shape}')
        proposals = proposals[: self.num_max_proposals]
        sample['proposals'] = proposals if len(proposals) else np.zeros((1, proposals.shape[1]), np.float32)
        sample.setdefault('bbox_fields', []).append('proposals')
        return sample


def _canvas(sample: dict[str, Any]) -> tuple[int, int]:
    """(height, width) of the image as it was read, to which its annotations belong."""
    if 'ori_shape' in sample:
        return int(sample['ori_shape'][0]), int(sample['ori_shape'][1])
    return int(sample['img_info']['height']), int(sample['img_info']['width'])


def _name(sample: dict[str, Any]) -> str:
    return f'image {sample.get("img_info", {}).get("filename", "")!r}'


def _usable(polygons: Sequence[Sequence[float]]) -> list[np.ndarray]:
    """Those with three points or more; labelling tools leave stray points and lines behind."""
    arrays = [np.asarray(polygon, dtype=np.float64) for polygon in polygons]
    return [polygon for polygon in arrays if len(polygon) >= 6 and len(polygon) % 2 == 0]


def _to_bitmap(mask: Mapping[str, Any] | Sequence[Sequence[float]], height: int, width: int) -> np.ndarray:
    if isinstance(mask, Mapping):
        bitmap: np.ndarray = EncodedMasks([mask], height, width).to_ndarray()[0]
        return bitmap
    return polygons_to_bitmap(_usable(mask), height, width)
