"""From samples to a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn.functional import pad

from mmkit.errors import InvalidTypeError, InvalidValueError
from mmkit.structures import Batch, Sample, SemiBatch, UnlabelledSample

Value = TypeVar('Value')


def collate(samples: Sequence[Any]) -> Batch | list[Batch]:
    """Puts samples into a batch; images are padded at the right and at the bottom to the largest of them.

    Several views of each image (test-time augmentation) give a batch for each view; unlabelled samples among labelled
    ones give a `SemiBatch`.

    Args:
        samples: of type `Sample` or `UnlabelledSample`, or a list of views for each image.

    Raises:
        InvalidTypeError: if a pipeline gave something else.
        InvalidValueError: if only some of the samples have a field, or images have different numbers of views.
    """
    if any(isinstance(sample, UnlabelledSample) for sample in samples):
        return _collate_semi(samples)
    if not all(isinstance(sample, list) for sample in samples):
        return _collate(samples)
    num_views = {len(views) for views in samples}
    if len(num_views) != 1:
        raise InvalidValueError(f'images with different numbers of views: {sorted(num_views)}')
    return [_collate(views) for views in zip(*samples)]


def _collate_semi(samples: Sequence[Any]) -> SemiBatch:
    unlabelled = [sample for sample in samples if isinstance(sample, UnlabelledSample)]
    teacher = _collate([sample.teacher for sample in unlabelled])
    student = _collate([sample.student for sample in unlabelled])
    labelled = [sample for sample in samples if not isinstance(sample, UnlabelledSample)]
    batch = _collate(labelled) if labelled else Batch(imgs=student.imgs[:0], metas=[])
    own = {field.name: getattr(batch, field.name) for field in fields(batch)}
    return SemiBatch(**own, teacher=teacher, student=student)


def _collate(samples: Sequence[Any]) -> Batch:
    for sample in samples:
        if not isinstance(sample, Sample):
            raise InvalidTypeError(
                f'a pipeline must end with Collect, which gives a Sample; this one gave a {type(sample)}'
            )
    segs = _all_or_none([sample.gt_semantic_seg for sample in samples], 'gt_semantic_seg')
    gt_labels = _all_or_none([sample.gt_label for sample in samples], 'gt_label')
    return Batch(
        imgs=_stack([sample.img for sample in samples], samples[0].img_pad),
        metas=[sample.meta for sample in samples],
        gts=_all_or_none([sample.gt for sample in samples], 'gt'),
        ignored=_all_or_none([sample.ignored for sample in samples], 'ignored'),
        proposals=_all_or_none([sample.proposals for sample in samples], 'proposals'),
        gt_semantic_seg=None if segs is None else _stack(segs, samples[0].seg_pad),
        gt_labels=None if gt_labels is None else torch.stack([label.reshape(()) for label in gt_labels]),
    )


def _all_or_none(values: Sequence[Value | None], name: str) -> list[Value] | None:
    present = [value for value in values if value is not None]
    if present and len(present) < len(values):
        raise InvalidValueError(f'{len(values) - len(present)} of {len(values)} samples of a batch have no {name}')
    return present or None


def _stack(images: Sequence[Tensor], value: float) -> Tensor:
    """(C, H_i, W_i) each to (B, C, H, W), of the common type if some are uint8 and some are float."""
    height, width = max(img.shape[-2] for img in images), max(img.shape[-1] for img in images)
    return torch.stack([pad(img, (0, width - img.shape[-1], 0, height - img.shape[-2]), value=value) for img in images])
