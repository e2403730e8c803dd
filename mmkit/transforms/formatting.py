"""From arrays to tensors, and from the dict of a pipeline to a typed `Sample`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmkit.errors import InvalidValueError, UnknownNameError
from mmkit.registry import TRANSFORMS
from mmkit.structures import ImageMeta, Instances, Sample
from mmkit.utils.names import suggestion

META_KEYS = (
    'filename',
    'ori_filename',
    'ori_shape',
    'img_shape',
    'pad_shape',
    'scale_factor',
    'flip',
    'flip_direction',
    'img_norm_cfg',
)
SAMPLE_KEYS = (
    'img',
    'gt_bboxes',
    'gt_labels',
    'gt_masks',
    'gt_bboxes_ignore',
    'gt_semantic_seg',
    'gt_label',
    'proposals',
)


def to_tensor(value: object) -> Tensor:
    """Arrays, sequences and numbers; a tensor stays itself."""
    if isinstance(value, np.ndarray):
        value = np.ascontiguousarray(value)
    return torch.as_tensor(value)


def image_to_tensor(img: np.ndarray) -> Tensor:
    """(H, W) or (H, W, C) to (C, H, W)."""
    img = img[..., None] if img.ndim == 2 else img
    return torch.from_numpy(np.ascontiguousarray(img.transpose(2, 0, 1)))


@TRANSFORMS.register_module()
class ToTensor:
    """Makes tensors of the fields `keys`."""

    def __init__(self, keys: Sequence[str]) -> None:
        self.keys = keys

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any]:
        sample.update({key: to_tensor(sample[key]) for key in self.keys})
        return sample


@TRANSFORMS.register_module()
class ImageToTensor:
    """Makes tensors (C, H, W) of the images `keys`."""

    def __init__(self, keys: Sequence[str]) -> None:
        self.keys = keys

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any]:
        sample.update({key: image_to_tensor(sample[key]) for key in self.keys})
        return sample


@TRANSFORMS.register_module()
class Transpose:
    """Permutes the axes of the arrays `keys` as `order` says."""

    def __init__(self, keys: Sequence[str], order: Sequence[int]) -> None:
        self.keys = keys
        self.order = order

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any]:
        sample.update({key: sample[key].transpose(tuple(self.order)) for key in self.keys})
        return sample


@TRANSFORMS.register_module()
class ToDataContainer:
    """Checks that fields exist. The kind of a field decides how it is put into a batch, so nothing needs wrapping.

    Args:
        fields: dict(key=, stack=) each; `stack` must agree with the kind of the field: images and semantic maps are
            stacked, everything else is a list.

    Raises:
        InvalidValueError: if `stack` asks for something else.
    """

    STACKED = ('img', 'gt_semantic_seg')

    def __init__(
        self,
        fields: Sequence[Mapping[str, Any]] = (
            dict(key='img', stack=True),
            dict(key='gt_bboxes'),
            dict(key='gt_labels'),
        ),
    ) -> None:
        for field in fields:
            if set(field) - {'key', 'stack'} or field.get('stack', False) != (field['key'] in self.STACKED):
                raise InvalidValueError(f'ToDataContainer: {dict(field)} asks for another layout of the batch')
        self.keys = [field['key'] for field in fields]

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any]:
        missing = [key for key in self.keys if key not in sample]
        if missing:
            raise UnknownNameError(f'ToDataContainer: the sample has no {missing}, it has {sorted(sample)}')
        return sample


@TRANSFORMS.register_module()
class DefaultFormatBundle:
    """Makes tensors of everything a detector trains on: img (C, H, W), boxes, labels, semantic map (1, H, W) int64.

    Args:
        img_to_float: uint8 images become float32.
        pad_val: dict(img=, seg=), values that pad smaller images and maps in a batch. Masks are not stacked,
            so `masks` is 0.

    Raises:
        InvalidValueError: if `pad_val` has another key, or `masks` is not 0.
    """

    TENSORS = ('proposals', 'gt_bboxes', 'gt_bboxes_ignore', 'gt_labels')

    def __init__(self, img_to_float: bool = True, pad_val: Mapping[str, float] | None = None) -> None:
        self.img_to_float = img_to_float
        self.pad_val: dict[str, float] = {'img': 0, 'masks': 0, 'seg': 255, **(pad_val or {})}
        if len(self.pad_val) > 3 or self.pad_val['masks'] != 0:
            raise InvalidValueError(f'pad_val has values for img and seg, and masks=0; got {pad_val}', key='pad_val')

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any]:
        if 'img' in sample:
            img = sample['img']
            img = img.astype(np.float32) if self.img_to_float and img.dtype == np.uint8 else img
            sample['img'] = image_to_tensor(img)
        for key in self.TENSORS:
            if key in sample:
                sample[key] = to_tensor(sample[key])
        if 'gt_semantic_seg' in sample:
            sample['gt_semantic_seg'] = to_tensor(sample['gt_semantic_seg'].astype(np.int64))[None]
        sample['batch_pad_val'] = self.pad_val
        return sample


@TRANSFORMS.register_module()
class Collect:
    """Makes a `Sample` of the fields `keys`; there are no dicts behind it.

    Args:
        keys: some of img, gt_bboxes, gt_labels, gt_masks, gt_bboxes_ignore, gt_semantic_seg, gt_label, proposals.
        meta_keys: fields of `ImageMeta`, which always has all of them, whatever is named here.

    Raises:
        InvalidValueError: for a key that is no field of `Sample` or `ImageMeta`.
    """

    def __init__(self, keys: Sequence[str], meta_keys: Sequence[str] = META_KEYS) -> None:
        keys = [keys] if isinstance(keys, str) else list(keys)
        check_keys('Collect', 'keys', keys, SAMPLE_KEYS)
        check_keys('Collect', 'meta_keys', meta_keys, [field.name for field in fields(ImageMeta)])
        if 'img' not in keys:
            raise InvalidValueError(f"Collect: keys={keys} lack 'img'", key='keys')
        if {'gt_labels', 'gt_masks'} & set(keys) and 'gt_bboxes' not in keys:
            raise InvalidValueError(
                f"Collect: keys={keys} lack 'gt_bboxes', to which labels and masks belong", key='keys'
            )
        self.keys = keys

    def __call__(self, sample: dict[str, Any]) -> Sample:
        missing = [key for key in self.keys if key not in sample]
        if missing:
            raise UnknownNameError(f'Collect: the sample has no {missing}, it has {sorted(sample)}')
        chosen = {key: sample[key] if key == 'gt_masks' else to_tensor(sample[key]) for key in self.keys}
        img = chosen['img']
        if img.ndim != 3 or img.shape[0] not in (1, 3, 4):
            raise InvalidValueError(
                f'Collect: img is (C, H, W), got {tuple(img.shape)}: is ImageToTensor or DefaultFormatBundle missing?'
            )
        pads = sample.get('batch_pad_val', {'img': 0, 'seg': 255})
        return Sample(
            img=img,
            meta=make_meta(sample, img),
            gt=_instances(chosen, 'gt_bboxes', labels='gt_labels', masks='gt_masks'),
            ignored=chosen.get('gt_bboxes_ignore'),
            proposals=_instances(chosen, 'proposals'),
            gt_semantic_seg=chosen.get('gt_semantic_seg'),
            gt_label=chosen.get('gt_label'),
            img_pad=float(pads['img']),
            seg_pad=int(pads['seg']),
        )


def make_meta(sample: dict[str, Any], img: Tensor) -> ImageMeta:
    """The history of the image. Steps that did not happen have left no trace in `sample`: no flip, scale 1."""
    size = tuple(img.shape[-2:])
    factor = sample.get('scale_factor', 1.0)
    return ImageMeta(
        filename=sample.get('filename', ''),
        ori_filename=sample.get('ori_filename', ''),
        img_id=sample.get('img_info', {}).get('id', -1),
        ori_shape=_size(sample.get('ori_shape', size)),
        img_shape=_size(sample.get('img_shape', size)),
        pad_shape=_size(sample.get('pad_shape', size)),
        scale_factor=np.broadcast_to(np.asarray(factor, dtype=np.float32), (4,)).copy(),
        flip=bool(sample.get('flip', False)),
        flip_direction=sample.get('flip_direction') if sample.get('flip', False) else None,
        img_norm_cfg=sample.get('img_norm_cfg'),
        norm_shape=sample.get('norm_shape'),
        border=sample.get('border', (0, 0)),
        homography_matrix=sample.get('homography_matrix', np.eye(3, dtype=np.float32)),
    )


def _size(shape: Sequence[int]) -> tuple[int, int]:
    return int(shape[0]), int(shape[1])


def _instances(chosen: dict[str, Any], key: str, labels: str = '', masks: str = '') -> Instances | None:
    if key not in chosen:
        return None
    bboxes = chosen[key].float()
    scores = bboxes[:, 4] if bboxes.shape[1] == 5 else None
    return Instances(bboxes=bboxes[:, :4], labels=chosen.get(labels), scores=scores, masks=chosen.get(masks))


def check_keys(owner: str, argument: str, given: Sequence[str], known: Sequence[str]) -> None:
    """Raises an InvalidValueError if one of the names `given` as `argument` is not known."""
    for key in given:
        if key not in known:
            hint = suggestion(key, known) or '.'
            raise InvalidValueError(
                f'{owner}: {argument} has {key!r}{hint} There are: {", ".join(known)}', key=argument
            )
