"""COCO metrics: AP and AR of boxes, masks and proposals. arXiv:1405.0312

An engine does the counting: hotcoco (Rust, a hundred times as fast) or pycocotools. Both get the same normalised
ground truth, and their numbers are the same.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmkit.errors import InvalidValueError
from mmkit.evaluation.coco_engines import Counts, Engine
from mmkit.evaluation.coco_options import AP_ITEMS, CocoOptions, recall_names
from mmkit.evaluation.coco_truth import coco_truth
from mmkit.evaluation.recall import box_recalls
from mmkit.evaluation.tables import format_pairs, format_table
from mmkit.evaluation.truth import DetectionTruth
from mmkit.utils.logging import get_logger


class CocoEvaluation:
    """Ground truth, checked and ready to be compared with any number of sets of detections.

    Args:
        truth: objects, and their masks for the metric segm.
        options: what to count.
        logger: where tables go; the logger `mmkit` by default.

    Raises:
        InvalidValueError: if masks are asked for and no object has one.
    """

    def __init__(self, truth: DetectionTruth, options: CocoOptions, logger: logging.Logger | None = None) -> None:
        self.truth = truth
        self.options = options
        self.logger = logger or get_logger()
        kinds = {'segm' if metric == 'segm' else 'bbox' for metric in options.metrics if metric != 'proposal_fast'}
        self._engines = {kind: Engine(truth, kind, options.engine) for kind in sorted(kinds)}

    def run(self, detections: Sequence[Mapping[str, Any]]) -> dict[str, float | str]:
        """Figures of a set of detections.

        Args:
            detections: dicts of `image` and `label`, both indices, `score`, `bbox` (x, y, w, h) and, for segm,
                `segmentation` (RLE).

        Returns:
            `bbox_mAP`, `bbox_mAP_50`, ... `bbox_mAP_copypaste` (six values as text), `AR@100`, ...: shares of 1 in full
            precision, -1 where there was nothing to find.
        """
        options, values = self.options, dict[str, float | str]()
        for metric in options.metrics:
            if metric == 'proposal_fast':
                values |= self._fast_recalls(detections)
                continue
            engine = self._engines['segm' if metric == 'segm' else 'bbox']
            use_labels = metric != 'proposal'
            counts = engine.count(detections, options.iou_thrs, options.proposal_nums, use_labels)
            values |= self._ap_values(counts, metric) if use_labels else self._proposal_values(counts)
        return values

    def _ap_values(self, counts: Counts, metric: str) -> dict[str, float | str]:
        known = {
            'mAP': counts.average_precision(max_det=100),
            'mAP_50': counts.average_precision(0.5),
            'mAP_75': counts.average_precision(0.75),
            'mAP_s': counts.average_precision(area='small'),
            'mAP_m': counts.average_precision(area='medium'),
            'mAP_l': counts.average_precision(area='large'),
        }
        items = {**known, **self._recalls(counts)}
        self._log([[f'{metric}_{name}', f'{value:.3f}'] for name, value in items.items()])
        values: dict[str, float | str] = {f'{metric}_{name}': items[name] for name in self.options.items or AP_ITEMS}
        values[f'{metric}_mAP_copypaste'] = ' '.join(f'{known[name]:.3f}' for name in AP_ITEMS)
        if self.options.classwise:
            values |= self._classwise_values(counts, metric)
        return values

    def _classwise_values(self, counts: Counts, metric: str) -> dict[str, float]:
        aps = [counts.average_precision(class_index=label) for label in range(len(self.truth.classes))]
        values = dict(zip(self.truth.classes, aps, strict=True))
        pairs = [(name, 'no objects' if value < 0 else f'{value:.3f}') for name, value in values.items()]
        self.logger.info('\n%s', format_pairs(pairs, ('category', f'{metric} AP')))
        return {self.options.name_of_class(metric, name): value for name, value in values.items()}

    def _proposal_values(self, counts: Counts) -> dict[str, float]:
        known = self._recalls(counts)
        self._log([[name, f'{value:.3f}'] for name, value in known.items()])
        return {name: known[name] for name in self.options.items or known}

    def _recalls(self, counts: Counts) -> dict[str, float]:
        values = [counts.average_recall(max_det=num) for num in counts.max_dets]
        values += [counts.average_recall(area) for area in ('small', 'medium', 'large')]
        return dict(zip(recall_names(counts.max_dets), values, strict=True))

    def _fast_recalls(self, detections: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """Recall by greedy matching of boxes, without ignored objects; of all categories, as in mmdetection."""
        gts = self.truth.class_agnostic_boxes()
        rows: list[list[list[float]]] = [[] for _ in gts]
        for detection in detections:
            x, y, w, h = detection['bbox']
            rows[detection['image']].append([x, y, x + w, y + h, detection['score']])
        proposals = [np.asarray(each, np.float32).reshape(-1, 5) for each in rows]
        nums = self.options.proposal_nums
        recalls = box_recalls(gts, proposals, nums, self.options.iou_thrs)
        return {f'AR@{num}': float(value) for num, value in zip(nums, recalls.mean(axis=1))}

    def _log(self, rows: list[list[str]]) -> None:
        self.logger.info('\n%s', format_table(['metric', 'value'], rows))


def coco_eval(
    gt: Mapping[str, Any] | str | Path,
    detections: Sequence[Mapping[str, Any]],
    metrics: str | Sequence[str] = 'bbox',
    *,
    cat_ids: Sequence[Any] | None = None,
    img_ids: Sequence[Any] | None = None,
    classes: Sequence[str] | None = None,
    classwise: bool = False,
    iou_thrs: Sequence[float] | float | None = None,
    metric_items: str | Sequence[str] | None = None,
    proposal_nums: Sequence[int] = (100, 300, 1000),
    engine: str = 'hotcoco',
    logger: logging.Logger | None = None,
) -> dict[str, float | str]:
    """Figures of detections in COCO's result format, by ground truth in COCO's format.

    Args:
        gt: the annotations as COCO's json holds them, or the path of that file.
        detections: dicts of image_id, category_id, score, bbox (x, y, w, h) and, for masks, segmentation (RLE).
        metrics, classwise, iou_thrs, metric_items, proposal_nums, engine: see `CocoOptions`.
        cat_ids: the categories that count, all by default.
        img_ids: the images that count, all by default.
        classes: names of `cat_ids` for the table; by default as in `gt`.
        logger: where tables go; the logger `mmkit` by default.

    Returns:
        See `CocoEvaluation.run`.

    Raises:
        InvalidValueError: for a wrong option, or detections in an image that `gt` does not have.
    """
    options = CocoOptions.checked(
        metrics,
        classwise=classwise,
        iou_thrs=iou_thrs,
        metric_items=metric_items,
        proposal_nums=proposal_nums,
        engine=engine,
    )
    content = gt if isinstance(gt, Mapping) else json.loads(Path(gt).read_text(encoding='utf-8-sig'))
    truth = coco_truth(content, 'the ground truth', cat_ids, img_ids, classes)
    labels = {cat_id: label for label, cat_id in enumerate(truth.cat_ids)}
    unknown = {d['image_id'] for d in detections} - {image['id'] for image in content['images']}
    if unknown:
        raise InvalidValueError(f'detections in image {min(unknown, key=str)!r}, which the ground truth does not have')
    known = []
    for detection in detections:
        index, label = truth.positions.get(detection['image_id']), labels.get(detection['category_id'])
        if index is not None and (label is not None or options.metrics == ['proposal']):
            known.append({**detection, 'image': index, 'label': label or 0})
    return CocoEvaluation(truth, options, logger).run(known)
