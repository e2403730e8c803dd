"""COCO metrics: AP and AR of boxes, masks and proposals.

The counting itself is done by hotcoco (Rust, the numbers of pycocotools, a hundred times as fast) or by pycocotools.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmkit.evaluation.recall import box_recalls
from mmkit.evaluation.tables import format_pairs, format_table
from mmkit.utils.logging import get_logger
from mmkit.utils.names import nearest

AP_ITEMS = ('mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l')
METRICS = ('bbox', 'segm', 'proposal', 'proposal_fast')
ENGINES = ('hotcoco', 'pycocotools')
IOU_THRS = np.linspace(0.5, 0.95, 10)  # 0.5 + 0.05 * k differs in the last bit, and IoUs of small masks do hit 0.65
AREAS = ('all', 'small', 'medium', 'large')


@dataclass
class Counts:
    """What an engine has counted; -1 where there is no ground truth.

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
        """Mean over what is not fixed; -1 if nothing was to be found, or if that threshold was not counted."""
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


def coco_eval(
    gt: Mapping[str, Any] | str | Path,
    detections: Sequence[Mapping[str, Any]],
    metrics: str | Sequence[str] = 'bbox',
    *,
    cat_ids: Sequence[int] | None = None,
    img_ids: Sequence[int] | None = None,
    classes: Sequence[str] | None = None,
    classwise: bool = False,
    iou_thrs: Sequence[float] | float | None = None,
    metric_items: str | Sequence[str] | None = None,
    proposal_nums: Sequence[int] = (100, 300, 1000),
    engine: str = 'hotcoco',
    logger: logging.Logger | None = None,
) -> dict[str, Any]:
    """Compares detections with ground truth in COCO's format. arXiv:1405.0312

    Args:
        gt: the annotations as COCO's json holds them, or the path of that file.
        detections: COCO's result format: dicts of image_id, category_id, score, bbox (x, y, w, h) and, for masks,
            segmentation (RLE).
        metrics: some of bbox, segm, proposal (recall by COCO's rules, whatever the class), proposal_fast (recall
            after pairing boxes off greedily, crowds left out).
        cat_ids: the categories that count, all by default.
        img_ids: the images that count, all by default.
        classes: names of `cat_ids` for the table; by default as in `gt`.
        classwise: log the AP of every class, and return it as `<metric>_mAP/<class>`.
        iou_thrs: 0.5, 0.55 ... 0.95 by default.
        metric_items: which items to return, by default mAP mAP_50 mAP_75 mAP_s mAP_m mAP_l, or for proposals
            AR@100 AR@300 AR@1000 AR_s@1000 AR_m@1000 AR_l@1000.
        proposal_nums: numbers of detections of an image that count. As in mmdetection, mAP is that of the best 100
            (-1 if 100 is not among them), the other items of the largest number.
        engine: hotcoco or pycocotools; the numbers are the same.
        logger: where tables go; the logger `mmkit` by default.

    Returns:
        `bbox_mAP`, `bbox_mAP_50`, ... `bbox_mAP_copypaste` (six values as text), `AR@100`, ...: shares of 1 in full
        precision, -1 where there was nothing to find.

    Raises:
        ValueError: for an unknown metric, item or engine.
    """
    metrics = _as_list(metrics)
    coco_metric_names(metrics, metric_items, proposal_nums, engine=engine)  # raises for what there isn't
    truth = _read(gt)
    cat_ids = [c['id'] for c in truth['categories']] if cat_ids is None else list(cat_ids)
    img_ids = [i['id'] for i in truth['images']] if img_ids is None else list(img_ids)
    thrs = np.atleast_1d(np.asarray(IOU_THRS if iou_thrs is None else iou_thrs, dtype=np.float64))
    nums = sorted(proposal_nums)
    items = None if metric_items is None else _as_list(metric_items)
    logger = logger or get_logger()

    values: dict[str, Any] = {}
    for metric in metrics:
        if metric == 'proposal_fast':
            values.update(_fast_recalls(truth, detections, img_ids, thrs, nums))
            continue
        counts = _count(truth, detections, metric, cat_ids, img_ids, thrs, nums, engine)
        if metric == 'proposal':
            values.update(_proposal_values(counts, items, logger))
            continue
        values.update(_ap_values(counts, metric, items, logger))
        if classwise:
            names = classes or _names(truth, cat_ids)
            values.update(_classwise_values(counts, metric, names, logger))
    return values


def coco_metric_names(
    metrics: str | Sequence[str],
    metric_items: str | Sequence[str] | None = None,
    proposal_nums: Sequence[int] = (100, 300, 1000),
    classes: Sequence[str] | None = None,
    engine: str = 'hotcoco',
) -> list[str]:
    """Names of the numbers that `coco_eval` returns; those of every class too where `classes` are given.

    Raises:
        ValueError: for an unknown metric, item or engine.
    """
    _check_names('metric', _as_list(metrics), METRICS)
    _check_names('engine', [engine], ENGINES)
    recalls = _recall_names(sorted(proposal_nums))
    items = _as_list(metric_items or [])
    names: list[str] = []
    for metric in _as_list(metrics):
        if metric == 'proposal_fast':
            names += recalls[: len(proposal_nums)]
        elif metric == 'proposal':
            _check_names('metric item', items, recalls)
            names += items or recalls
        else:
            _check_names('metric item', items, [*AP_ITEMS, *recalls])
            names += [f'{metric}_{item}' for item in items or AP_ITEMS]
            names += [f'{metric}_mAP/{name}' for name in classes or ()]
    return names


def _as_list(names: str | Sequence[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)


def _check_names(what: str, given: Sequence[str], known: Sequence[str]) -> None:
    for name in given:
        if name not in known:
            near = nearest(name, known, 1)
            hint = f', did you mean {near[0]!r}?' if near else ';'
            raise ValueError(f'unknown {what} {name!r}{hint} there are: {", ".join(known)}')


def _read(gt: Mapping[str, Any] | str | Path) -> dict[str, Any]:
    content = dict(gt) if isinstance(gt, Mapping) else json.loads(Path(gt).read_text())
    content.setdefault('info', {})
    content.setdefault('annotations', [])
    return content


def _names(truth: Mapping[str, Any], cat_ids: Sequence[int]) -> list[str]:
    names = {category['id']: category['name'] for category in truth['categories']}
    return [names[cat_id] for cat_id in cat_ids]


def _count(
    truth: dict[str, Any],
    detections: Sequence[Mapping[str, Any]],
    metric: str,
    cat_ids: list[int],
    img_ids: list[int],
    iou_thrs: np.ndarray,
    max_dets: list[int],
    engine: str,
) -> Counts:
    """Runs the engine of that name."""
    if metric == 'segm':  # with a box in the detection, its area would be taken for that of the mask
        detections = [{key: value for key, value in d.items() if key != 'bbox'} for d in detections]
    else:
        detections = [{key: value for key, value in d.items() if key != 'segmentation'} for d in detections]
    if metric == 'proposal':  # the class is of no interest, but an unknown one would not count
        detections = [{**d, 'category_id': cat_ids[0]} for d in detections]
    run = _hotcoco if engine == 'hotcoco' else _pycocotools
    evaluator = run(truth, [dict(each) for each in detections], 'segm' if metric == 'segm' else 'bbox')
    evaluator.params.catIds = cat_ids
    evaluator.params.imgIds = img_ids
    evaluator.params.maxDets = max_dets
    evaluator.params.iouThrs = iou_thrs if engine == 'pycocotools' else iou_thrs.tolist()
    if metric == 'proposal':
        evaluator.params.useCats = 0
    with contextlib.redirect_stdout(io.StringIO()):
        evaluator.evaluate()
        evaluator.accumulate()
    found = evaluator.eval
    return Counts(np.asarray(found['precision']), np.asarray(found['recall']), iou_thrs, max_dets)


def _hotcoco(truth: dict[str, Any], detections: list[dict[str, Any]], iou_type: str) -> Any:
    from hotcoco import COCO, COCOeval

    coco = COCO(truth)
    return COCOeval(coco, coco.load_res(detections), iou_type)


def _pycocotools(truth: dict[str, Any], detections: list[dict[str, Any]], iou_type: str) -> Any:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = json.loads(json.dumps(truth))  # it writes RLE into the annotations it is given
        coco.createIndex()
        if detections:
            found = coco.loadRes([dict(detection) for detection in detections])
        else:  # loadRes looks at the first detection
            found = COCO()
            found.dataset = {**coco.dataset, 'annotations': []}
            found.createIndex()
        return COCOeval(coco, found, iou_type)


def _ap_values(counts: Counts, metric: str, items: Sequence[str] | None, logger: logging.Logger) -> dict[str, Any]:
    known = {
        'mAP': counts.average_precision(max_det=100),
        'mAP_50': counts.average_precision(0.5),
        'mAP_75': counts.average_precision(0.75),
        'mAP_s': counts.average_precision(area='small'),
        'mAP_m': counts.average_precision(area='medium'),
        'mAP_l': counts.average_precision(area='large'),
    }
    recalls = _recall_items(counts)
    rows = [[f'{metric}_{name}', f'{value:.3f}'] for name, value in {**known, **recalls}.items()]
    logger.info('\n%s', format_table(['metric', 'value'], rows))
    values: dict[str, Any] = {f'{metric}_{item}': {**known, **recalls}[item] for item in items or AP_ITEMS}
    values[f'{metric}_mAP_copypaste'] = ' '.join(f'{known[item]:.3f}' for item in AP_ITEMS)
    return values


def _recall_items(counts: Counts) -> dict[str, float]:
    values = [counts.average_recall(max_det=num) for num in counts.max_dets]
    values += [counts.average_recall(area) for area in AREAS[1:]]
    return dict(zip(_recall_names(counts.max_dets), values, strict=True))


def _recall_names(nums: Sequence[int]) -> list[str]:
    return [f'AR@{num}' for num in nums] + [f'AR_{area[0]}@{nums[-1]}' for area in AREAS[1:]]


def _proposal_values(counts: Counts, items: Sequence[str] | None, logger: logging.Logger) -> dict[str, float]:
    known = _recall_items(counts)
    logger.info('\n%s', format_table(['metric', 'value'], [[name, f'{value:.3f}'] for name, value in known.items()]))
    return {item: known[item] for item in items or known}


def _classwise_values(counts: Counts, metric: str, names: Sequence[str], logger: logging.Logger) -> dict[str, float]:
    if len(names) != counts.precision.shape[2]:
        raise ValueError(f'{len(names)} class names for {counts.precision.shape[2]} categories')
    values = {name: counts.average_precision(class_index=index) for index, name in enumerate(names)}
    pairs = [(name, 'no objects' if value < 0 else f'{value:.3f}') for name, value in values.items()]
    logger.info('\n%s', format_pairs(pairs, ('category', f'{metric} AP')))
    return {f'{metric}_mAP/{name}': value for name, value in values.items()}


def _fast_recalls(
    truth: Mapping[str, Any],
    detections: Sequence[Mapping[str, Any]],
    img_ids: Sequence[int],
    iou_thrs: np.ndarray,
    nums: Sequence[int],
) -> dict[str, float]:
    gts: dict[int, list[list[float]]] = {img_id: [] for img_id in img_ids}
    proposals: dict[int, list[list[float]]] = {img_id: [] for img_id in img_ids}
    for ann in truth['annotations']:
        if ann['image_id'] in gts and not ann.get('ignore', False) and not ann.get('iscrowd', 0):
            gts[ann['image_id']].append(_corners(ann['bbox']))
    for detection in detections:
        if detection['image_id'] in proposals:
            proposals[detection['image_id']].append([*_corners(detection['bbox']), detection['score']])
    recalls = box_recalls(
        [np.asarray(gts[i], np.float32).reshape(-1, 4) for i in img_ids],
        [np.asarray(proposals[i], np.float32).reshape(-1, 5) for i in img_ids],
        nums,
        iou_thrs.tolist(),
    )
    return {f'AR@{num}': float(value) for num, value in zip(nums, recalls.mean(axis=1))}


def _corners(bbox: Sequence[float]) -> list[float]:
    x, y, w, h = bbox
    return [x, y, x + w, y + h]
