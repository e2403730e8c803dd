"""CrowdHuman's metric."""

from __future__ import annotations

from collections.abc import Sequence

from mmkit.errors import InvalidTypeError, InvalidValueError
from mmkit.evaluation import Boxes, DetectionTruth, Truth
from mmkit.evaluation.crowd import REFERENCE_FPPI, crowd_eval
from mmkit.metrics.base import DatasetMetric, truth_and_detections
from mmkit.registry import METRICS
from mmkit.structures import Prediction

FIGURES = {'AP': 'mAP', 'MR': 'mMR', 'JI': 'JI'}


@METRICS.register_module()
class CrowdHumanMetric(DatasetMetric):
    """Average precision, log-average miss rate and Jaccard index of people in crowds, see `crowd_eval`.

    Args:
        metric: some of AP, MR and JI; the figures are called mAP, mMR and JI.
        iou_thres: overlap above which a detection is right.
        mr_ref: 'CALTECH_-2' or 'CALTECH_-4', from how many false detections per image on the miss rate is averaged.
        prefix: stands before the names of the figures, as in `crowd_human/mAP`.
        ann_file: that of the dataset, if it is given.

    Raises:
        InvalidValueError: for another metric or reference.
    """

    def __init__(
        self,
        metric: str | Sequence[str] = ('AP', 'MR', 'JI'),
        iou_thres: float = 0.5,
        mr_ref: str = 'CALTECH_-2',
        prefix: str | None = None,
        ann_file: str | None = None,
    ) -> None:
        self.metrics = [metric] if isinstance(metric, str) else list(metric)
        for name in self.metrics:
            if name not in FIGURES:
                raise InvalidValueError(f'metric is some of {", ".join(FIGURES)}, got {name!r}', key='metric')
        if mr_ref not in REFERENCE_FPPI:
            raise InvalidValueError(f'mr_ref is one of {", ".join(REFERENCE_FPPI)}, got {mr_ref!r}', key='mr_ref')
        self.iou_thres = iou_thres
        self.mr_ref = mr_ref
        self.prefix = prefix
        self.ann_file = ann_file

    def prepare(self, truth: Truth) -> None:
        if not isinstance(truth, DetectionTruth):
            raise InvalidTypeError(f'CrowdHumanMetric compares objects, and {truth.source} has none', key='type')
        super().prepare(truth)

    def compute(self, predictions: Sequence[Prediction]) -> dict[str, float | str]:
        truth, outputs = truth_and_detections(self, predictions)
        detections = []
        for out in outputs:
            if out.labels is None or out.scores is None:
                raise InvalidValueError('CrowdHumanMetric needs detections with labels and scores', key='metric')
            detections.append(Boxes(out.bboxes.cpu().numpy(), out.labels.cpu().numpy(), out.scores.cpu().numpy()))
        figures = crowd_eval(detections, truth.boxes(), self.iou_thres, self.mr_ref)
        return {FIGURES[name]: round(figures[FIGURES[name]], 4) for name in self.metrics}
