"""Detections and annotations as the metrics of boxes want them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from mmkit.evaluation import Boxes, recall_values, voc_eval
from mmkit.structures import Instances


def check_num_outputs(outputs: Sequence[Any], expected: int) -> None:
    if len(outputs) != expected:
        raise ValueError(f'outputs of {len(outputs)} images for a dataset of {expected} images')


def check_box_metrics(metric: str | Sequence[str]) -> list[str]:
    """The metrics as a list; a ValueError for one that `evaluate_boxes` hasn't."""
    names = [metric] if isinstance(metric, str) else list(metric)
    for name in names:
        if name not in ('mAP', 'recall'):
            raise ValueError(f"metric is 'mAP' or 'recall', got {name!r}")
    return names


def evaluate_boxes(
    outputs: Sequence[Instances],
    truths: Sequence[Boxes],
    classes: Sequence[str],
    metric: str | Sequence[str] = 'mAP',
    logger: Any = None,
    proposal_nums: Sequence[int] = (100, 300, 1000),
    iou_thr: float | Sequence[float] = 0.5,
    scale_ranges: Sequence[tuple[float, float]] | None = None,
    mode: str = 'area',
    legacy: bool = False,
) -> dict[str, float]:
    """'mAP' or 'recall' of detections; arguments as in `CustomDataset.evaluate` and `voc_eval`."""
    check_num_outputs(outputs, len(truths))
    values: dict[str, float] = {}
    for name in check_box_metrics(metric):
        if name == 'mAP':
            values |= voc_eval(
                [_found(out) for out in outputs],
                truths,
                classes,
                iou_thr=iou_thr,
                scale_ranges=scale_ranges,
                mode=mode,
                legacy=legacy,
                logger=logger,
            )
        else:
            gts = [truth.bboxes if truth.ignored is None else truth.bboxes[~truth.ignored] for truth in truths]
            values |= recall_values(gts, [_with_scores(out) for out in outputs], proposal_nums, iou_thr, legacy)
    return values


def as_truth(ann: Mapping[str, Any]) -> Boxes:
    """Objects of one image in the middle format, ignored ones marked."""
    ignored = ann['bboxes_ignore']
    # a label of -1 is never matched: boxes that are ignored without a class do not excuse any detection
    labels_ignore = np.asarray(ann.get('labels_ignore', np.full(len(ignored), -1)), dtype=np.int64)
    return Boxes(
        bboxes=np.concatenate([ann['bboxes'], ignored]),
        labels=np.concatenate([ann['labels'], labels_ignore]),
        ignored=np.arange(len(ann['bboxes']) + len(ignored)) >= len(ann['bboxes']),
    )


def _found(out: Instances) -> Boxes:
    if out.labels is None or out.scores is None:
        raise ValueError('mAP needs detections with labels and scores')
    return Boxes(out.bboxes.cpu().numpy(), out.labels.cpu().numpy(), out.scores.cpu().numpy())


def _with_scores(out: Instances) -> np.ndarray:
    scores = out.bboxes.new_zeros(len(out)) if out.scores is None else out.scores
    return torch.cat([out.bboxes, scores[:, None]], dim=1).cpu().numpy()
