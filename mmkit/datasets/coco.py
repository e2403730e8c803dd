"""COCO's format: boxes and masks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from mmkit.datasets.box_metrics import check_num_outputs
from mmkit.datasets.coco_json import parse_coco, read_coco_json
from mmkit.datasets.custom import CustomDataset, logger
from mmkit.evaluation import coco_eval, coco_metric_names
from mmkit.registry import DATASETS
from mmkit.structures import EncodedMasks, Instances
from mmkit.utils.files import atomic_write


@DATASETS.register_module()
class CocoDataset(CustomDataset):
    """Images with boxes and masks from COCO's json.

    `classes` chooses the categories, and their order is that of the labels, whatever the category ids. Without them,
    and without `CLASSES` in a subclass, all categories of the file count, in the order of their ids. Crowds become
    ignored boxes. Boxes without area, thinner than a pixel or outside of their image are left out and counted in the
    log. The other arguments are those of `CustomDataset`.

    Raises:
        ValueError: if a class is not in the file, if ids occur twice, or if there is nothing to train on.
    """

    cat_ids: list[int]

    def load_annotations(self, ann_file: str) -> list[dict[str, Any]]:
        file = parse_coco(ann_file, self.CLASSES)
        self.CLASSES, self.cat_ids = file.classes, file.cat_ids
        if file.num_dropped:
            logger.warning('%s: left out %d boxes without area or outside of their image', ann_file, file.num_dropped)
        if file.num_stray:
            logger.warning(
                '%s: left out %d annotations of images or categories that it does not list', ann_file, file.num_stray
            )
        return file.images

    def to_coco_json(self, outputs: Sequence[Instances], with_masks: bool = False) -> list[dict[str, Any]]:
        """Detections in COCO's result format; without labels (proposals) all are of the first category."""
        check_num_outputs(outputs, len(self))
        return [
            entry
            for img_id, out in zip(self.img_ids, outputs)
            for entry in _image_to_json(img_id, out, self.cat_ids, with_masks)
        ]

    def format_outputs(self, outputs: Sequence[Instances], jsonfile_prefix: str) -> dict[str, str]:
        """Writes `<prefix>.bbox.json`, with masks `<prefix>.segm.json`, and for proposals `<prefix>.proposal.json`.

        Returns:
            kind -> path.
        """
        kinds = {'bbox': False, 'segm': True}
        if all(out.labels is None for out in outputs):
            kinds = {'proposal': False}
        elif all(out.masks is None for out in outputs):
            kinds = {'bbox': False}
        paths = {}
        for kind, with_masks in kinds.items():
            paths[kind] = f'{jsonfile_prefix}.{kind}.json'
            with atomic_write(paths[kind], 'w') as file:
                json.dump(self.to_coco_json(outputs, with_masks), file)
        return paths

    def check_evaluation(  # type: ignore[override]  # as for evaluate
        self,
        metric: str | Sequence[str] = 'bbox',
        engine: str = 'hotcoco',
        metric_items: str | Sequence[str] | None = None,
        proposal_nums: Sequence[int] = (100, 300, 1000),
        classwise: bool = False,
        **options: Any,
    ) -> list[str]:
        """The names of the numbers that `evaluate` will return; raises a ValueError where it would."""
        classes = self.CLASSES if classwise else None
        return coco_metric_names(metric, metric_items, proposal_nums, classes, engine)

    def evaluate(  # type: ignore[override]  # COCO's metrics have arguments of their own
        self,
        outputs: Sequence[Instances],
        metric: str | Sequence[str] = 'bbox',
        logger: Any = None,
        jsonfile_prefix: str | None = None,
        classwise: bool = False,
        proposal_nums: Sequence[int] = (100, 300, 1000),
        iou_thrs: Sequence[float] | float | None = None,
        metric_items: str | Sequence[str] | None = None,
        engine: str = 'hotcoco',
    ) -> dict[str, Any]:
        """COCO's metrics.

        Args:
            outputs: of each image, in order.
            metric: some of bbox, segm, proposal, proposal_fast.
            logger: where tables go.
            jsonfile_prefix: also write the detections, see `format_outputs`.
            classwise: AP of every class.
            proposal_nums: numbers of boxes an image for recall.
            iou_thrs: 0.5, 0.55 ... 0.95 by default.
            metric_items: which of the items to return.
            engine: hotcoco or pycocotools.

        Returns:
            `bbox_mAP`, `bbox_mAP_50`, ...
        """
        metrics = [metric] if isinstance(metric, str) else list(metric)
        if jsonfile_prefix is not None:
            self.format_outputs(outputs, jsonfile_prefix)
        if 'segm' in metrics and any(out.masks is None and len(out) for out in outputs):
            raise ValueError("metric 'segm' needs detections with masks")
        return coco_eval(
            read_coco_json(self.ann_file),
            self.to_coco_json(outputs, with_masks='segm' in metrics),
            metrics,
            cat_ids=self.cat_ids,
            img_ids=self.img_ids,
            classes=self.CLASSES,
            classwise=classwise,
            iou_thrs=iou_thrs,
            metric_items=metric_items,
            proposal_nums=proposal_nums,
            engine=engine,
            logger=logger,
        )


def _image_to_json(img_id: Any, out: Instances, cat_ids: Sequence[int], with_masks: bool) -> list[dict[str, Any]]:
    bboxes = out.bboxes.detach().cpu().numpy().astype(np.float64)
    bboxes[:, 2:] -= bboxes[:, :2]
    scores = np.ones(len(out)) if out.scores is None else out.scores.detach().cpu().numpy()
    labels = np.zeros(len(out), np.int64) if out.labels is None else out.labels.cpu().numpy()
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(cat_ids):
        raise ValueError(
            f'image {img_id}: labels {labels.min()}..{labels.max()}, the dataset has {len(cat_ids)} classes'
        )
    entries = [
        dict(image_id=img_id, bbox=bbox, score=score, category_id=cat_ids[label])
        for bbox, score, label in zip(bboxes.tolist(), scores.tolist(), labels)
    ]
    if with_masks and out.masks is not None:
        masks = out.masks
        encoded = masks if isinstance(masks, EncodedMasks) else EncodedMasks.from_bitmaps(masks.to_ndarray())
        for entry, segmentation in zip(entries, encoded.to_json()):
            entry['segmentation'] = segmentation
    return entries
