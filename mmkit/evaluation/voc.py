"""Pascal VOC's average precision, and recalls in its manner."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmkit.errors import InvalidValueError
from mmkit.evaluation.options import check_names
from mmkit.evaluation.recall import box_recalls, pairwise_iou
from mmkit.evaluation.tables import format_table
from mmkit.utils.logging import get_logger

MODES = ('area', '11points')


@dataclass
class Boxes:
    """Boxes of one image, as plain arrays.

    Attributes:
        bboxes: (N, 4) xyxy.
        labels: (N,) in 0..C-1.
        scores: (N,) of detections.
        ignored: (N,) bool of ground truth: difficult objects, which neither count nor punish.
    """

    bboxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray | None = None
    ignored: np.ndarray | None = None


@dataclass
class ClassAP:
    """One class, one range of sizes. `recall` and `precision` are (num_dets,), best detection first."""

    ap: float
    num_gts: int
    num_dets: int
    recall: np.ndarray
    precision: np.ndarray


def average_precision(recall: np.ndarray, precision: np.ndarray, mode: str = 'area') -> float:
    """Area under the precision-recall curve.

    Args:
        recall: (N,) rising.
        precision: (N,)
        mode: 'area' under the curve made monotonous, or '11points', the mean of the best precision at recall of at
            least 0, 0.1, ... 1 (VOC 2007).

    Raises:
        InvalidValueError: for another mode.
    """
    if mode == '11points':
        # 1e-3 beyond the end so that 1.0 itself belongs to the points whatever the rounding of arange
        best = [precision[recall >= point].max(initial=0.0) for point in np.arange(0, 1 + 1e-3, 0.1)]
        return float(np.mean(best))
    if mode != 'area':
        raise InvalidValueError(f'unknown mode {mode!r}; there are: {", ".join(MODES)}', key='mode')
    recall = np.concatenate([[0.0], recall, [1.0]])
    precision = np.concatenate([[0.0], precision, [0.0]])
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    steps = np.flatnonzero(recall[1:] != recall[:-1])
    return float(((recall[steps + 1] - recall[steps]) * envelope[steps + 1]).sum())


def _judge(
    dets: np.ndarray,
    gts: np.ndarray,
    ignored: np.ndarray,
    iou_thr: float,
    area_range: tuple[float, float],
    legacy: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Right and wrong detections of an image; those that are neither do not count.

    A detection is compared with the object that it overlaps most; an object can be detected once.

    Args:
        dets: (N, 4) best first.
        gts: (M, 4)
        ignored: (M,) bool.

    Returns:
        (N,) bool right, (N,) bool wrong.
    """
    right, wrong = np.zeros(len(dets), bool), np.zeros(len(dets), bool)
    inside = _area_inside(dets, area_range, legacy)
    if len(gts) == 0:
        return right, inside
    ignored = ignored | ~_area_inside(gts, area_range, legacy)
    ious = pairwise_iou(dets, gts, legacy)
    is_detected = np.zeros(len(gts), bool)
    for index, gt in enumerate(ious.argmax(axis=1)):
        if ious[index, gt] < iou_thr:
            wrong[index] = inside[index]
        elif not ignored[gt]:
            right[index], wrong[index] = not is_detected[gt], is_detected[gt]
            is_detected[gt] = True
    return right, wrong


def _area_inside(bboxes: np.ndarray, area_range: tuple[float, float], legacy: bool) -> np.ndarray:
    areas = (bboxes[:, 2:4] - bboxes[:, :2] + (1.0 if legacy else 0.0)).prod(axis=1)
    return np.asarray((areas >= area_range[0]) & (areas < area_range[1]))


def class_ap(
    detections: Sequence[Boxes],
    truths: Sequence[Boxes],
    label: int,
    iou_thr: float = 0.5,
    mode: str = 'area',
    legacy: bool = False,
    area_range: tuple[float, float] = (0.0, float('inf')),
) -> ClassAP:
    """AP of one class over all images."""
    scores, right, wrong = [], [], []
    num_gts = 0
    for dets, truth in zip(detections, truths):
        det_scores = dets.scores[dets.labels == label] if dets.scores is not None else np.zeros(0)
        order = np.argsort(-det_scores, kind='stable')
        chosen = truth.labels == label
        gts = truth.bboxes[chosen]
        ignored = np.zeros(len(gts), bool) if truth.ignored is None else truth.ignored[chosen]
        judged = _judge(dets.bboxes[dets.labels == label][order], gts, ignored, iou_thr, area_range, legacy)
        scores.append(det_scores[order])
        right.append(judged[0])
        wrong.append(judged[1])
        num_gts += int((~ignored & _area_inside(gts, area_range, legacy)).sum())
    order = np.argsort(-np.concatenate(scores), kind='stable') if scores else np.zeros(0, int)
    hits = np.cumsum(np.concatenate(right)[order]) if scores else np.zeros(0)
    misses = np.cumsum(np.concatenate(wrong)[order]) if scores else np.zeros(0)
    eps = np.finfo(np.float32).eps
    recall, precision = hits / max(num_gts, eps), hits / np.maximum(hits + misses, eps)
    return ClassAP(average_precision(recall, precision, mode), num_gts, len(order), recall, precision)


def voc_eval(
    detections: Sequence[Boxes],
    truths: Sequence[Boxes],
    classes: Sequence[str],
    *,
    iou_thr: float | Sequence[float] = 0.5,
    scale_ranges: Sequence[tuple[float, float]] | None = None,
    mode: str = 'area',
    legacy: bool = False,
    logger: logging.Logger | None = None,
) -> dict[str, float]:
    """Mean AP over classes, by the rules of Pascal VOC.

    Args:
        detections: of each image, with scores.
        truths: of each image; `ignored` marks difficult objects.
        classes: names, for the table.
        iou_thr: one or several.
        scale_ranges: (low, high) of the side of a square of the object's area, in pixels: each is evaluated apart.
        mode: 'area', or '11points' for VOC 2007.
        legacy: boxes include their last pixel, as in VOC's devkit.
        logger: where tables go; the logger `mmkit` by default.

    Returns:
        `mAP`, the mean over all thresholds and ranges; `AP50` of each threshold; with ranges also `AP50_0_32`.

    Raises:
        ValueError: if there are detections of more or fewer images than there are.
    """
    if len(detections) != len(truths):
        raise ValueError(f'detections of {len(detections)} images, ground truth of {len(truths)}')
    check_names('mode', mode, MODES, 'mode')
    logger = logger or get_logger()
    thrs = [float(thr) for thr in np.atleast_1d(iou_thr)]
    values: dict[str, float] = {}
    per_range: dict[str, float] = {}
    for thr in thrs:
        means = []
        for low, high in scale_ranges or [(0.0, float('inf'))]:
            aps = [
                class_ap(detections, truths, i, iou_thr=thr, mode=mode, legacy=legacy, area_range=(low**2, high**2))
                for i in range(len(classes))
            ]
            present = [c.ap for c in aps if c.num_gts > 0]
            means.append(float(np.mean(present)) if present else 0.0)
            suffix = f'_{low:g}_{high:g}' if scale_ranges else ''
            logger.info('AP%s\n%s', f'{_percent(thr)}{suffix}', _table(aps, classes, means[-1]))
            if scale_ranges:
                per_range[f'AP{_percent(thr)}{suffix}'] = means[-1]
        values[f'AP{_percent(thr)}'] = float(np.mean(means))
    return {'mAP': float(np.mean(list(values.values()))), **values, **per_range}


def _percent(thr: float) -> str:
    return f'{round(thr * 100):02d}'


def _table(aps: Sequence[ClassAP], classes: Sequence[str], mean: float) -> str:
    rows = [
        [name, str(c.num_gts), str(c.num_dets), f'{c.recall[-1] if c.num_dets else 0:.3f}', f'{c.ap:.3f}']
        for name, c in zip(classes, aps)
    ]
    return format_table(['class', 'gts', 'dets', 'recall', 'ap'], [*rows, ['mean', '', '', '', f'{mean:.3f}']])


def recall_values(
    gts: Sequence[np.ndarray],
    proposals: Sequence[np.ndarray],
    proposal_nums: Sequence[int] = (100, 300, 1000),
    iou_thr: float | Sequence[float] = 0.5,
    legacy: bool = False,
) -> dict[str, float]:
    """Recall under mmdetection's names: `recall@100@0.5`, and with several thresholds their mean `AR@100`."""
    thrs = [float(thr) for thr in np.atleast_1d(iou_thr)]
    recalls = box_recalls(gts, proposals, proposal_nums, thrs, legacy)
    values = {
        f'recall@{num}@{thr:g}': float(recalls[i, j])
        for i, num in enumerate(proposal_nums)
        for j, thr in enumerate(thrs)
    }
    if len(thrs) > 1:
        values.update({f'AR@{num}': float(mean) for num, mean in zip(proposal_nums, recalls.mean(axis=1))})
    return values
