"""COCO's metrics of detections. arXiv:1405.0312"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from os import PathLike
from typing import Any

from mmkit.errors import InvalidTypeError, InvalidValueError
from mmkit.evaluation import CocoEvaluation, CocoOptions, DetectionTruth, Truth
from mmkit.metrics.base import DatasetMetric, truth_and_detections
from mmkit.metrics.coco_results import coco_detections, write_coco_results
from mmkit.registry import METRICS
from mmkit.structures import Prediction


@METRICS.register_module()
class CocoMetric(DatasetMetric):
    """AP and AR of boxes, masks and proposals. See `mmkit.evaluation.CocoOptions` and docs/metrics.md.

    Args:
        metric: some of bbox, segm, proposal, proposal_fast.
        classwise: also the AP of every class.
        proposal_nums: numbers of boxes of an image that count.
        iou_thrs: overlaps from which on a detection is right; 0.5, 0.55 ... 0.95 by default.
        metric_items: names of the items to return, such as mAP_50; the usual six by default.
        jsonfile_prefix: also write the detections in COCO's result format, see `write_coco_results`.
        engine: hotcoco or pycocotools; the numbers are the same.
        logger: where tables go; the logger `mmkit` by default.
        ann_file: compare with the objects of this file; by default with those of the dataset.
        format_only: only write the detections to files of `jsonfile_prefix`, for a test server.
        prefix: stands before the names of the figures, as in `coco/bbox_mAP`.
        classwise_name: name of the AP of a class, with {metric} and {name} in it.

    Raises:
        InvalidValueError: naming the argument that is wrong.
    """

    def __init__(
        self,
        metric: str | Sequence[str] = 'bbox',
        classwise: bool = False,
        proposal_nums: Sequence[int] = (100, 300, 1000),
        iou_thrs: float | Sequence[float] | None = None,
        metric_items: str | Sequence[str] | None = None,
        jsonfile_prefix: str | PathLike[str] | None = None,
        engine: str = 'hotcoco',
        logger: logging.Logger | None = None,
        ann_file: str | None = None,
        format_only: bool = False,
        prefix: str | None = None,
        classwise_name: str = '{metric}_mAP/{name}',
    ) -> None:
        self.options = CocoOptions.checked(
            metric,
            classwise=classwise,
            iou_thrs=iou_thrs,
            metric_items=metric_items,
            proposal_nums=proposal_nums,
            engine=engine,
            classwise_name=classwise_name,
        )
        if jsonfile_prefix is not None and not isinstance(jsonfile_prefix, (str, PathLike)):
            raise InvalidValueError(f'jsonfile_prefix is {jsonfile_prefix!r}, expected a path', key='jsonfile_prefix')
        self.jsonfile_prefix = jsonfile_prefix
        if format_only and jsonfile_prefix is None:
            message = 'format_only=True writes files, whose names begin with jsonfile_prefix'
            raise InvalidValueError(message, key='format_only')
        self.ann_file = ann_file
        self.format_only = format_only
        self.logger = logger
        self.prefix = prefix
        self.needs_masks = 'segm' in self.options.metrics
        self._evaluation: CocoEvaluation | None = None

    def prepare(self, truth: Truth) -> None:
        if not isinstance(truth, DetectionTruth):
            raise InvalidTypeError(f'CocoMetric compares objects, and {truth.source} has none', key='type')
        super().prepare(truth)
        if self.format_only:
            return
        self.names = [self.with_prefix(name) for name in self.options.names(truth.classes)]
        self._evaluation = CocoEvaluation(truth, self.options, self.logger)

    def compute(self, predictions: Sequence[Prediction]) -> dict[str, float | str]:
        truth, outputs = truth_and_detections(self, predictions)
        if self.jsonfile_prefix is not None:
            write_coco_results(outputs, self.jsonfile_prefix, truth.img_ids, truth.cat_ids)
        if self._evaluation is None:
            return {}
        detections: list[dict[str, Any]] = []
        for index, (img_id, out) in enumerate(zip(truth.img_ids, outputs)):
            for detection in coco_detections(img_id, out, len(truth.classes), with_masks=self.needs_masks):
                detection['image'] = index
                detections.append(detection)
        return self._evaluation.run(detections)
