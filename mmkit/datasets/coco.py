"""COCO's format: boxes and masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmkit.datasets.coco_json import parse_coco, read_coco_json, read_truth, truth_of
from mmkit.datasets.custom import CustomDataset, logger
from mmkit.evaluation import DetectionTruth
from mmkit.metrics import check_num_outputs, to_coco_json, write_coco_results
from mmkit.registry import DATASETS
from mmkit.structures import Instances


@DATASETS.register_module()
class CocoDataset(CustomDataset):
    """Images with boxes and masks from COCO's json.

    `classes` chooses the categories, and their order is that of the labels, whatever the category ids. Without them,
    and without `CLASSES` in a subclass, all categories of the file count, in the order of their ids, or of the file if
    the ids are texts or negative. Crowds become ignored boxes. Boxes without area, thinner than a pixel or outside of
    their image are left out and counted in the log. The other arguments are those of `CustomDataset`.

    Raises:
        InvalidValueError: if a class is not in the file, if ids occur twice, or if there is nothing to train on.
    """

    cat_ids: list[int]

    def load_annotations(self, ann_file: str) -> list[dict[str, Any]]:
        file = parse_coco(ann_file, self.CLASSES, with_truth=self.test_mode)
        self.CLASSES, self.cat_ids = file.classes, file.cat_ids
        if file.num_dropped:
            logger.warning('%s: left out %d boxes without area or outside of their image', ann_file, file.num_dropped)
        if file.num_stray:
            logger.warning(
                '%s: left out %d annotations of images or categories that it does not list', ann_file, file.num_stray
            )
        self._truth = file.truth
        return file.images

    def to_coco_json(self, outputs: Sequence[Instances], with_masks: bool = False) -> list[dict[str, Any]]:
        """Detections in COCO's result format; without labels (proposals) all are of the first category."""
        check_num_outputs(outputs, len(self))
        return to_coco_json(outputs, self.img_ids, self.cat_ids, with_masks)

    def format_outputs(self, outputs: Sequence[Instances], jsonfile_prefix: str) -> dict[str, str]:
        """Writes `<prefix>.bbox.json`, with masks `<prefix>.segm.json`, and for proposals `<prefix>.proposal.json`.

        Returns:
            kind -> path.
        """
        check_num_outputs(outputs, len(self))
        return write_coco_results(outputs, jsonfile_prefix, self.img_ids, self.cat_ids)

    def _read_truth(self) -> DetectionTruth:
        content = read_coco_json(self.ann_file)
        return truth_of(content, self.ann_file, self.CLASSES or (), self.cat_ids, self.img_ids)

    def truth_in(self, ann_file: str) -> DetectionTruth:
        if Path(ann_file).resolve() == Path(self.ann_file).resolve():
            return self.truth()
        return read_truth(ann_file, self.CLASSES)

    def metric_config(self) -> dict[str, Any]:
        return {'type': 'CocoMetric'}
