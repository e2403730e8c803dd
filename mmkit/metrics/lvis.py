"""LVIS's metrics of detections. arXiv:1908.03195"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Sequence
from os import PathLike
from typing import Any

from mmkit.errors import InvalidTypeError, InvalidValueError
from mmkit.evaluation import DetectionTruth, Truth
from mmkit.evaluation.options import check_flag, check_names
from mmkit.metrics.base import DatasetMetric, truth_and_detections
from mmkit.metrics.coco_results import to_coco_json, write_coco_results
from mmkit.registry import METRICS
from mmkit.structures import Prediction
from mmkit.utils.logging import get_logger

METRIC_NAMES = ('bbox', 'segm')
ITEMS = ('AP', 'AP50', 'AP75', 'APs', 'APm', 'APl', 'APr', 'APc', 'APf')


@METRICS.register_module()
class LVISMetric(DatasetMetric):
    """AP of boxes and masks where not all categories are annotated in all images.

    A detection of a category that nobody has looked for in its image doesn't count, and the best 300 of an image do.
    Besides COCO's items there are APr, APc and APf, of rare, common and frequent categories.

    Args:
        ann_file: LVIS's annotations, by default those of the dataset.
        metric: bbox or segm, or both.
        classwise: also the AP of every category, as `bbox_AP/<category>`.
        metric_items: names of the items to return; all by default.
        jsonfile_prefix, format_only: as in `CocoMetric`.
        prefix: stands before the names of the figures, as in `lvis/bbox_AP`.
        logger: where figures go; the logger `mmkit` by default.

    Raises:
        InvalidValueError: naming the argument that is wrong.
    """

    def __init__(
        self,
        ann_file: str | None = None,
        metric: str | Sequence[str] = 'bbox',
        classwise: bool = False,
        metric_items: str | Sequence[str] | None = None,
        jsonfile_prefix: str | PathLike[str] | None = None,
        format_only: bool = False,
        prefix: str | None = None,
        logger: logging.Logger | None = None,
    ) -> None:
        if format_only and jsonfile_prefix is None:
            message = 'format_only=True writes files, whose names begin with jsonfile_prefix'
            raise InvalidValueError(message, key='format_only')
        self.ann_file = ann_file
        self.metrics = check_names('metric', metric, METRIC_NAMES, 'metric')
        self.classwise = check_flag(classwise, 'classwise')
        self.items = check_names('metric item', metric_items or ITEMS, ITEMS, 'metric_items')
        self.jsonfile_prefix = jsonfile_prefix
        self.format_only = format_only
        self.prefix = prefix
        self.logger = logger or get_logger()
        self.needs_masks = 'segm' in self.metrics

    def prepare(self, truth: Truth) -> None:
        if not isinstance(truth, DetectionTruth):
            raise InvalidTypeError(f'LVISMetric compares objects, and {truth.source} has none', key='type')
        super().prepare(truth)
        if not self.format_only:
            self.names = [self.with_prefix(f'{metric}_{item}') for metric in self.metrics for item in self.items]

    def compute(self, predictions: Sequence[Prediction]) -> dict[str, float | str]:
        truth, outputs = truth_and_detections(self, predictions)
        if self.jsonfile_prefix is not None:
            write_coco_results(outputs, self.jsonfile_prefix, truth.img_ids, truth.cat_ids)
        values: dict[str, float | str] = {}
        for metric in self.metrics if not self.format_only else ():
            detections = to_coco_json(outputs, truth.img_ids, truth.cat_ids, with_masks=metric == 'segm')
            figures = lvis_figures(self.ann_file or truth.source, detections, metric, self.classwise)
            shown = {name: value for name, value in figures.items() if name in self.items or name.startswith('AP/')}
            self.logger.info('%s', ', '.join(f'{metric}_{name} {value:.3f}' for name, value in shown.items()))
            values |= {f'{metric}_{name}': value for name, value in shown.items()}
        return values


def lvis_figures(
    ann_file: str, detections: list[dict[str, Any]], iou_type: str, classwise: bool = False
) -> dict[str, float]:
    """LVIS's figures of detections in COCO's result format; 0 where there are no detections at all.

    Args:
        ann_file: LVIS's annotations.
        iou_type: bbox or segm, what overlaps are measured of.
        classwise: also `AP/<category>` of every category.
    """
    from hotcoco import COCO, COCOeval

    if not detections:
        return dict.fromkeys(ITEMS, 0.0)
    with contextlib.redirect_stdout(io.StringIO()):  # a table
        truth = COCO(ann_file)
        evaluation = COCOeval(truth, truth.load_res(detections), iou_type, lvis_style=True)
        evaluation.run()
        return dict(evaluation.get_results(per_class=classwise))
