"""CrowdHuman's figures of detections of people, arXiv:1805.00123: AP, log-average miss rate, Jaccard index."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from mmkit.evaluation.recall import pairwise_iou
from mmkit.evaluation.voc import Boxes

# False detections per image at which the miss rate is read, as for Caltech's pedestrians: from 10^-2 or 10^-4 on.
REFERENCE_FPPI = {'CALTECH_-2': np.logspace(-2, 0, 9), 'CALTECH_-4': np.logspace(-4, 0, 9)}
RIGHT, WRONG, EXCUSED = 1, 0, -1


def crowd_eval(
    detections: Sequence[Boxes], gts: Sequence[Boxes], iou_thr: float = 0.5, mr_ref: str = 'CALTECH_-2'
) -> dict[str, float]:
    """Average precision `mAP`, log-average miss rate `mMR` (0 is best) and Jaccard index `JI`, all in 0 .. 1.

    Args:
        detections: of each image, with scores.
        gts: the people in each image; ignored regions excuse detections.
        iou_thr: overlap above which a detection is right.
        mr_ref: a key of `REFERENCE_FPPI`.
    """
    outcomes = np.concatenate([match(dets, truth, iou_thr) for dets, truth in zip(detections, gts, strict=True)])
    scores = np.concatenate([_sorted_scores(dets) for dets in detections])
    order = np.argsort(-scores, kind='stable')
    outcomes = outcomes[order][outcomes[order] != EXCUSED]
    num_gts = max(sum(int((~_ignored(truth)).sum()) for truth in gts), 1)
    recall = np.cumsum(outcomes == RIGHT) / num_gts
    precision = np.cumsum(outcomes == RIGHT) / np.arange(1, len(outcomes) + 1)
    fppi = np.cumsum(outcomes == WRONG) / max(len(gts), 1)
    area = float(((precision[1:] + precision[:-1]) / 2 * np.diff(recall)).sum())
    return dict(
        mAP=area,
        mMR=log_average_miss_rate(1 - recall, fppi, REFERENCE_FPPI[mr_ref]),
        JI=jaccard_index(detections, gts, iou_thr),
    )


def match(detections: Boxes, gts: Boxes, iou_thr: float) -> np.ndarray:
    """(N,) `RIGHT`, `WRONG` or `EXCUSED` for the detections of one image, best first.

    Each takes the object that it overlaps most among those that are left. One that finds none is excused if most of it
    lies in an ignored region.
    """
    bboxes = detections.bboxes[_best_first(detections)]
    ignored = _ignored(gts)
    overlaps = pairwise_iou(bboxes, gts.bboxes[~ignored])  # (N, G)
    excused = _inside(bboxes, gts.bboxes[ignored]) > iou_thr
    outcomes = np.where(excused, EXCUSED, WRONG)
    for number in range(len(bboxes) if overlaps.shape[1] else 0):
        best = overlaps[number].argmax()
        if overlaps[number, best] > iou_thr:
            outcomes[number] = RIGHT
            overlaps[:, best] = -1
    return outcomes


def log_average_miss_rate(miss_rate: np.ndarray, fppi: np.ndarray, references: np.ndarray) -> float:
    """Geometric mean of the miss rates (N,) where the false detections per image (N,) reach each reference.

    Where they never do, the last counts; without detections everything is missed.
    """
    if not len(miss_rate):
        return 1.0
    inds = np.minimum(np.searchsorted(fppi, references), len(fppi) - 1)
    return float(np.exp(np.log(np.maximum(miss_rate[inds], 1e-10)).mean()))


def jaccard_index(detections: Sequence[Boxes], gts: Sequence[Boxes], iou_thr: float) -> float:
    """Mean over the images of pairs / (detections + objects - pairs), at the best of ten thresholds of the score.

    Pairs are those of the largest matching, in which they overlap by at least `iou_thr`.
    """
    images = list(zip(detections, gts, strict=True))
    totals = [sum(_image_jaccard(*image, iou_thr, least) for image in images) for least in np.arange(10) / 10]
    return max(totals) / max(len(images), 1)


def _image_jaccard(detections: Boxes, gts: Boxes, iou_thr: float, least_score: float) -> float:
    assert detections.scores is not None
    bboxes = detections.bboxes[detections.scores >= least_score]
    ignored = _ignored(gts)
    overlaps = pairwise_iou(bboxes, gts.bboxes[~ignored])
    # As many pairs as possible, then the closest of them.
    values = np.where(overlaps >= iou_thr, 1 + 1e-6 * overlaps, 0)
    rows, columns = linear_sum_assignment(values, maximize=True)
    paired = rows[values[rows, columns] > 0]
    excused = _inside(bboxes, gts.bboxes[ignored]) > iou_thr
    excused[paired] = False
    union = int((~excused).sum()) + overlaps.shape[1] - len(paired)
    return len(paired) / union if union else 1.0


def _inside(bboxes: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """(N,) greatest part of each box that lies in one of the regions (K, 4)."""
    if not len(regions):
        return np.zeros(len(bboxes))
    corners = np.minimum(bboxes[:, None, 2:], regions[:, 2:]) - np.maximum(bboxes[:, None, :2], regions[:, :2])
    common = corners.clip(min=0).prod(axis=-1)  # (N, K)
    areas = (bboxes[:, 2:] - bboxes[:, :2]).prod(axis=1)
    parts: np.ndarray = common.max(axis=1) / np.maximum(areas, 1e-6)
    return parts


def _ignored(gts: Boxes) -> np.ndarray:
    return np.zeros(len(gts.bboxes), dtype=bool) if gts.ignored is None else gts.ignored


def _best_first(detections: Boxes) -> np.ndarray:
    assert detections.scores is not None
    order: np.ndarray = np.argsort(-detections.scores, kind='stable')
    return order


def _sorted_scores(detections: Boxes) -> np.ndarray:
    assert detections.scores is not None
    scores: np.ndarray = detections.scores[_best_first(detections)]
    return scores
