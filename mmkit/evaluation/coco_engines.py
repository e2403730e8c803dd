"""The engines that match detections with objects for COCO's metrics."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmkit.errors import InvalidValueError
from mmkit.evaluation.coco_truth import id_order, usable_segmentation
from mmkit.evaluation.truth import DetectionTruth
from mmkit.utils.logging import get_logger

AREAS = ('all', 'small', 'medium', 'large')


@dataclass
class Counts:
    """Counts of an engine; -1 where there is no ground truth.

    Attributes:
        precision: (T, R, K, A, M), over IoU thresholds, recall points, classes, areas, numbers of detections.
        recall: (T, K, A, M).
        iou_thrs: (T,)
        max_dets: (M,) detections of an image and class that count.
    """

    precision: np.ndarray
    recall: np.ndarray
    iou_thrs: np.ndarray
    max_dets: list[int]

    def average_precision(
        self,
        iou_thr: float | None = None,
        area: str = 'all',
        max_det: int | None = None,
        class_index: int | None = None,
    ) -> float:
        """Mean over the axes that are not fixed; -1 without ground truth, or for a threshold that was not counted."""
        max_det = self.max_dets[-1] if max_det is None else max_det
        if max_det not in self.max_dets:
            return -1.0
        values = self.precision[..., AREAS.index(area), self.max_dets.index(max_det)]  # (T, R, K)
        values = values if class_index is None else values[:, :, class_index]
        if iou_thr is not None:
            values = values[np.isclose(self.iou_thrs, iou_thr)]
        return _mean_of_known(values)

    def average_recall(self, area: str = 'all', max_det: int | None = None) -> float:
        max_det = self.max_dets[-1] if max_det is None else max_det
        return _mean_of_known(self.recall[..., AREAS.index(area), self.max_dets.index(max_det)])


def _mean_of_known(values: np.ndarray) -> float:
    known = values[values > -1]
    return float(known.mean()) if known.size else -1.0


class Engine:
    """hotcoco or pycocotools with its ground truth.

    Images, categories and objects are numbered 1, 2, ...: the engines disagree about other ids, and pycocotools takes
    an object of id 0 for none. Images keep the order of their ids, which decides between equal scores.

    Args:
        truth: the objects.
        iou_type: bbox or segm, what overlaps are measured of.
        name: hotcoco or pycocotools.

    Raises:
        InvalidValueError: for segm, if no object has a mask.
    """

    def __init__(self, truth: DetectionTruth, iou_type: str, name: str) -> None:
        self.iou_type = iou_type
        self.name = name
        self._image_ids = np.empty(len(truth), dtype=np.int64)
        self._image_ids[id_order(truth.img_ids)] = np.arange(1, len(truth) + 1)
        self._cat_ids = list(range(1, len(truth.classes) + 1))
        self._coco = _load(name, self._content(truth))

    def _content(self, truth: DetectionTruth) -> dict[str, Any]:
        """The ground truth in COCO's format."""
        chosen = np.flatnonzero(truth.labels >= 0)  # an ignored region of no class excuses no detection
        columns = [values[chosen].tolist() for values in (truth.images, truth.labels, truth.areas, truth.bboxes)]
        annotations: list[dict[str, Any]] = [
            dict(id=number, image_id=int(self._image_ids[image]), category_id=label + 1, area=area, bbox=bbox)
            for number, (image, label, area, bbox) in enumerate(zip(*columns), 1)
        ]
        for ann, is_crowd in zip(annotations, truth.is_crowd[chosen].tolist()):
            ann['iscrowd'] = int(is_crowd)
        if self.iou_type == 'segm':
            for ann, mask in zip(annotations, _masks(truth, chosen)):
                ann['segmentation'] = mask
        images = [
            dict(id=number, height=height, width=width, file_name='')
            for number, (height, width) in zip(self._image_ids.tolist(), truth.sizes.tolist())
        ]
        categories = [dict(id=number, name=name) for number, name in zip(self._cat_ids, truth.classes)]
        return dict(info={}, images=images, categories=categories, annotations=annotations)

    def count(
        self,
        detections: Sequence[Mapping[str, Any]],
        iou_thrs: Sequence[float],
        max_dets: Sequence[int],
        use_labels: bool = True,
    ) -> Counts:
        """Matches detections with objects.

        Args:
            detections: dicts of `image`, `label` (indices), `score`, and `bbox` or `segmentation`.
            iou_thrs: from which overlap on a detection is right.
            max_dets: numbers of detections of an image (and class) that count.
            use_labels: compare within each class.
        """
        kind = 'segmentation' if self.iou_type == 'segm' else 'bbox'  # of both, the box would give a mask its area
        results = [
            {
                'image_id': int(self._image_ids[each['image']]),
                'category_id': int(each['label']) + 1 if use_labels else 1,
                'score': each['score'],
                kind: each[kind],
            }
            for each in detections
        ]
        evaluator = self._evaluator(results)
        evaluator.params.catIds = self._cat_ids
        evaluator.params.imgIds = sorted(self._image_ids.tolist())
        evaluator.params.maxDets = list(max_dets)
        evaluator.params.iouThrs = list(iou_thrs) if self.name == 'hotcoco' else np.asarray(iou_thrs)
        evaluator.params.useCats = int(use_labels)
        with contextlib.redirect_stdout(io.StringIO()):
            evaluator.evaluate()
            evaluator.accumulate()
        counts = evaluator.eval
        return Counts(
            np.asarray(counts['precision']), np.asarray(counts['recall']), np.asarray(iou_thrs), list(max_dets)
        )

    def _evaluator(self, results: list[dict[str, Any]]) -> Any:
        """The engine's own object that compares detections, in COCO's result format, with the ground truth."""
        if self.name == 'hotcoco':
            from hotcoco import COCOeval as HotCOCOeval

            return HotCOCOeval(self._coco, self._coco.load_res(results), self.iou_type)
        from pycocotools.cocoeval import COCOeval

        with contextlib.redirect_stdout(io.StringIO()):
            if results:
                return COCOeval(self._coco, self._coco.loadRes(results), self.iou_type)
            # loadRes looks at the first one
            return COCOeval(self._coco, _load(self.name, {**self._coco.dataset, 'annotations': []}), self.iou_type)


def _masks(truth: DetectionTruth, chosen: np.ndarray) -> list[Any]:
    """The mask of each object. One without a mask gets an empty one: it counts and cannot be found."""
    segmentations = [None] * len(truth.labels) if truth.segmentations is None else list(truth.segmentations)
    sizes = truth.sizes[truth.images]
    masks = [usable_segmentation(segmentations[row], *sizes[row].tolist()) for row in chosen.tolist()]
    num_missing = sum(mask is None for mask in masks)
    if masks and num_missing == len(masks):
        raise InvalidValueError(
            f"metric 'segm' compares masks, and none of the {len(masks)} objects of {truth.source} has a mask "
            "(segmentation): evaluate 'bbox', or add polygons",
            key='metric',
        )
    if num_missing:
        get_logger('mmkit.evaluation').warning(
            '%s: %d of %d objects have no mask (segmentation) and cannot be found by segm',
            *(truth.source, num_missing, len(masks)),
        )
    for number, row in enumerate(chosen.tolist()):
        if masks[number] is None:
            height, width = sizes[row].tolist()
            masks[number] = {'size': [height, width], 'counts': [height * width]}
    return masks


def _load(name: str, content: dict[str, Any]) -> Any:
    """Ground truth in the engine's own form."""
    if name == 'hotcoco':
        from hotcoco import COCO as HotCOCO

        return HotCOCO(content)
    from pycocotools.coco import COCO

    coco = COCO()
    coco.dataset = content
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco
