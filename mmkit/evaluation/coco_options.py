"""Options of COCO's metrics, and the names of their figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmkit.errors import InvalidValueError
from mmkit.evaluation.options import check_counts, check_flag, check_names, check_thresholds

METRIC_NAMES = ('bbox', 'segm', 'proposal', 'proposal_fast')
ENGINES = ('hotcoco', 'pycocotools')
AP_ITEMS = ('mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l')
IOU_THRS = np.linspace(0.5, 0.95, 10)  # 0.5 + 0.05 * k differs in the last bit, and IoUs of small masks do hit 0.65


@dataclass(frozen=True)
class CocoOptions:
    """Choice of the figures to compute.

    Attributes:
        metrics: some of bbox, segm, proposal (recall by COCO's rules, whatever the class), proposal_fast (recall after
            pairing boxes off greedily, without crowds).
        iou_thrs: 0.5, 0.55 ... 0.95 by default.
        proposal_nums: numbers of detections of an image that count, rising. As in mmdetection, mAP is that of the best
            100 (-1 if 100 is not among them), the other items of the largest number.
        items: names of the items to return; empty for mAP mAP_50 mAP_75 mAP_s mAP_m mAP_l, or for proposals AR@100
            AR@300 AR@1000 AR_s@1000 AR_m@1000 AR_l@1000.
        classwise: also the AP of every class.
        engine: hotcoco or pycocotools; the numbers are the same.
        classwise_name: name of the AP of a class, with {metric} and {name} for the metric and the class.
    """

    metrics: list[str]
    iou_thrs: list[float]
    proposal_nums: list[int]
    items: list[str]
    classwise: bool = False
    engine: str = 'hotcoco'
    classwise_name: str = '{metric}_mAP/{name}'

    @classmethod
    def checked(
        cls,
        metric: str | Sequence[str] = 'bbox',
        classwise: bool = False,
        iou_thrs: float | Sequence[float] | None = None,
        metric_items: str | Sequence[str] | None = None,
        proposal_nums: Sequence[int] = (100, 300, 1000),
        engine: str = 'hotcoco',
        classwise_name: str = '{metric}_mAP/{name}',
    ) -> CocoOptions:
        """Checked options from the arguments of a config.

        Raises:
            InvalidValueError: naming the argument that is wrong.
        """
        metrics = check_names('metric', metric, METRIC_NAMES, 'metric')
        if not metrics:
            raise InvalidValueError(f'metric is empty, expected some of: {", ".join(METRIC_NAMES)}', key='metric')
        nums = sorted(check_counts(proposal_nums, 'proposal_nums'))
        items: list[str] = []
        for name in metrics if metric_items is not None else ():
            known = recall_names(nums) if name == 'proposal' else [*AP_ITEMS, *recall_names(nums)]
            items = check_names('metric item', metric_items or (), known, 'metric_items')
        return cls(
            metrics=metrics,
            iou_thrs=check_thresholds(IOU_THRS if iou_thrs is None else iou_thrs, 'iou_thrs'),
            proposal_nums=nums,
            items=items,
            classwise=check_flag(classwise, 'classwise'),
            engine=check_names('engine', engine, ENGINES, 'engine')[0],
            classwise_name=_check_template(classwise_name),
        )

    def names(self, classes: Sequence[str]) -> list[str]:
        """Names of the figures that will be computed."""
        names: list[str] = []
        for metric in self.metrics:
            if metric == 'proposal_fast':
                names += recall_names(self.proposal_nums)[: len(self.proposal_nums)]
            elif metric == 'proposal':
                names += self.items or recall_names(self.proposal_nums)
            else:
                names += [f'{metric}_{item}' for item in self.items or AP_ITEMS]
                names += [self.name_of_class(metric, name) for name in classes if self.classwise]
        return names

    def name_of_class(self, metric: str, name: str) -> str:
        """Name of the AP of a class."""
        return self.classwise_name.format(metric=metric, name=name)


def _check_template(template: str) -> str:
    try:
        first, second = (template.format(metric='bbox', name=name) for name in ('a', 'b'))
    except (AttributeError, IndexError, KeyError, ValueError):
        first = second = ''
    if first == second:
        message = f'classwise_name is {template!r}, expected a text with {{name}} and perhaps {{metric}} in it'
        raise InvalidValueError(message, key='classwise_name')
    return template


def recall_names(nums: Sequence[int]) -> list[str]:
    """`AR@100` ... of each number, and `AR_s@1000` ... of each size of objects."""
    return [f'AR@{num}' for num in nums] + [f'AR_{area}@{nums[-1]}' for area in 'sml']
