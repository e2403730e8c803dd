"""Score threshold and NMS for boxes of several classes."""

from __future__ import annotations

from torch import Tensor

from mmkit.ops import batched_nms
from mmkit.registry import Cfg
from mmkit.structures import Instances


def multiclass_nms_inds(
    bboxes: Tensor,
    scores: Tensor,
    score_thr: float,
    nms_cfg: Cfg,
    max_num: int = -1,
    score_factors: Tensor | None = None,
) -> tuple[Instances, Tensor]:
    """As `multiclass_nms`; with the indices (K,) of the detections among the N * C pairs: `inds // C` is the box."""
    num_classes = scores.shape[1] - 1
    valid = scores[:, :-1] > score_thr  # (N, C)
    scores = scores[:, :-1]
    if score_factors is not None:
        # After the threshold: weak factors lower the rank of a box, but do not remove it.
        scores = scores * score_factors[:, None]
    box, label = valid.nonzero(as_tuple=True)
    if bboxes.shape[1] == 4:
        bboxes = bboxes[box]
    else:
        bboxes = bboxes.view(len(bboxes), num_classes, 4)[box, label]
    scores = scores[box, label]
    detections, keep = batched_nms(bboxes, scores, label, nms_cfg)
    if max_num > 0:
        detections, keep = detections[:max_num], keep[:max_num]
    instances = Instances(bboxes=detections[:, :4], labels=label[keep], scores=detections[:, 4])
    return instances, box[keep] * num_classes + label[keep]


def multiclass_nms(
    bboxes: Tensor,
    scores: Tensor,
    score_thr: float,
    nms_cfg: Cfg,
    max_num: int = -1,
    score_factors: Tensor | None = None,
) -> Instances:
    """Threshold, suppress the lesser of two overlapping boxes of a class, keep the best.

    Args:
        bboxes: (N, 4), or (N, C * 4) if every class has its own.
        scores: (N, C + 1), the last column is the background, which is ignored.
        score_thr: scores must be above this.
        nms_cfg: see `mmkit.ops.batched_nms`.
        max_num: keep that many at most; negative: all.
        score_factors: (N,) multiply the scores after the threshold.

    Returns:
        Detections with labels and scores, best first.
    """
    return multiclass_nms_inds(bboxes, scores, score_thr, nms_cfg, max_num, score_factors)[0]
