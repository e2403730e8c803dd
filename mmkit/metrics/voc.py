"""Pascal VOC's mean average precision, and recall."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from mmkit.errors import InvalidTypeError, InvalidValueError
from mmkit.evaluation import Boxes, DetectionTruth, Truth, recall_values, voc_eval
from mmkit.evaluation.options import check_counts, check_flag, check_names, check_ranges, check_thresholds
from mmkit.evaluation.voc import MODES
from mmkit.metrics.base import DatasetMetric, truth_and_detections
from mmkit.registry import METRICS
from mmkit.structures import Instances, Prediction

METRIC_NAMES = ('mAP', 'recall')


@METRICS.register_module()
class VOCMetric(DatasetMetric):
    """Mean average precision and recall of boxes, by the rules of Pascal VOC.

    Args:
        metric: 'mAP' or 'recall', or both.
        proposal_nums: numbers of the best boxes of an image, for recall.
        iou_thr: overlap from which on a detection is right, or several.
        scale_ranges: (from, to) sides of squares, in pixels, between which mAP is counted separately.
        eval_mode: 'area' under the precision-recall curve, or '11points' as in VOC 2007.
        use_legacy_coordinate: boxes include their last pixel, as in VOC's devkit.
        logger: where tables go; the logger `mmkit` by default.
        prefix: stands before the names of the figures, as in `pascal_voc/mAP`.

    Raises:
        InvalidValueError: naming the argument that is wrong.
    """

    def __init__(
        self,
        metric: str | Sequence[str] = 'mAP',
        proposal_nums: Sequence[int] = (100, 300, 1000),
        iou_thr: float | Sequence[float] = 0.5,
        scale_ranges: Sequence[tuple[float, float]] | None = None,
        eval_mode: str = 'area',
        use_legacy_coordinate: bool = False,
        logger: logging.Logger | None = None,
        prefix: str | None = None,
    ) -> None:
        self.metrics = list(metric) if isinstance(metric, (list, tuple)) else [metric]
        for name in self.metrics or [metric]:
            if name not in METRIC_NAMES:
                raise InvalidValueError(f"metric is 'mAP' or 'recall', got {name!r}", key='metric')
        self.proposal_nums = check_counts(proposal_nums, 'proposal_nums')
        self.iou_thrs = check_thresholds(iou_thr, 'iou_thr')
        self.scale_ranges = check_ranges(scale_ranges, 'scale_ranges')
        self.eval_mode = check_names('eval_mode', eval_mode, MODES, 'eval_mode')[0]
        self.use_legacy_coordinate = check_flag(use_legacy_coordinate, 'use_legacy_coordinate')
        self.logger = logger
        self.prefix = prefix

    def prepare(self, truth: Truth) -> None:
        if not isinstance(truth, DetectionTruth):
            raise InvalidTypeError(f'VOCMetric compares objects, and {truth.source} has none', key='type')
        super().prepare(truth)

    def compute(self, predictions: Sequence[Prediction]) -> dict[str, float | str]:
        truth, outputs = truth_and_detections(self, predictions)
        values: dict[str, float | str] = {}
        for name in self.metrics:
            values |= self._mean_ap(outputs, truth) if name == 'mAP' else self._recall(outputs, truth)
        return values

    def _mean_ap(self, outputs: Sequence[Instances], truth: DetectionTruth) -> dict[str, float]:
        return voc_eval(
            [_detections(out) for out in outputs],
            truth.boxes(),
            truth.classes,
            iou_thr=self.iou_thrs,
            scale_ranges=self.scale_ranges,
            mode=self.eval_mode,
            legacy=self.use_legacy_coordinate,
            logger=self.logger,
        )

    def _recall(self, outputs: Sequence[Instances], truth: DetectionTruth) -> dict[str, float]:
        gts = [boxes.bboxes if boxes.ignored is None else boxes.bboxes[~boxes.ignored] for boxes in truth.boxes()]
        proposals = [_scored_boxes(out) for out in outputs]
        return recall_values(gts, proposals, self.proposal_nums, self.iou_thrs, self.use_legacy_coordinate)


def _detections(out: Instances) -> Boxes:
    if out.labels is None or out.scores is None:
        raise InvalidValueError('mAP needs detections with labels and scores', key='metric')
    return Boxes(out.bboxes.cpu().numpy(), out.labels.cpu().numpy(), out.scores.cpu().numpy())


def _scored_boxes(out: Instances) -> np.ndarray:
    """(N, 5), with zeros where there are no scores."""
    scores = np.zeros(len(out), np.float32) if out.scores is None else out.scores.cpu().numpy()
    return np.concatenate([out.bboxes.cpu().numpy(), scores[:, None]], axis=1)
