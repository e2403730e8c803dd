"""Predictions for a whole dataset, and the files they are written to."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn
from torch.utils.data import DataLoader

from mmkit.datasets import ClassificationDataset, CocoDataset, SeededDataset
from mmkit.dialects import read_recipe
from mmkit.engine.parts import build_loader
from mmkit.engine.predict import OF_MODEL, Merging, Visit, multi_gpu_test, single_gpu_test
from mmkit.errors import InvalidValueError
from mmkit.structures import ClassScores, EncodedMasks, ImageMeta, Instances, Prediction
from mmkit.utils.files import atomic_write


def test_detector(
    model: nn.Module,
    dataset: SeededDataset,
    cfg: Mapping[str, Any],
    distributed: bool = False,
    visit: Visit | None = None,
) -> list[Prediction]:
    """Detections, or class scores, of every image of a dataset, in its order.

    Args:
        model: a detector or a classifier, on its device.
        dataset: in test mode.
        cfg: whole config, for the loader's settings.
        distributed: share the work between the processes that `init_dist` joined.
        visit: called with each image's meta and prediction.
    """
    loader = build_loader(dataset, read_recipe(cfg, training=False).test, distributed)
    return predict_dataset(model, loader, distributed, visit)


test_detector.__test__ = False  # type: ignore[attr-defined]  # pytest must not take it for a test


def predict_dataset(
    model: nn.Module,
    loader: DataLoader[Any],
    distributed: bool = False,
    visit: Visit | None = None,
    merging: Merging = OF_MODEL,
) -> list[Prediction]:
    """`test_detector` for a loader that has been built."""
    return (multi_gpu_test if distributed else single_gpu_test)(model, loader, visit, merging)


def check_output_file(path: str | os.PathLike[str], dataset: SeededDataset) -> None:
    """Raises an InvalidValueError if predictions for the dataset could not be written to a file of this name."""
    suffix = Path(path).suffix
    if suffix not in ('.pkl', '.pickle', '.json'):
        raise InvalidValueError(f'{path} ends in {suffix!r}, expected .pkl or .json')
    if suffix == '.json' and not isinstance(dataset, (CocoDataset, ClassificationDataset)):
        raise InvalidValueError(f'{type(dataset).__name__} has no COCO ids: write its detections to a .pkl file')


def write_outputs(
    path: str | os.PathLike[str],
    outputs: Sequence[Prediction],
    dataset: SeededDataset,
    metas: Sequence[ImageMeta] | None = None,
) -> None:
    """Write detections or class scores to one file.

    Args:
        path: `.pkl` for mmdetection's layout, see `per_class_arrays`; `.json` for COCO's list of results. Class scores
            are written as `class_columns` in both.
        outputs: of every image of the dataset.
        metas: of every image, for the layout of mmdetection 3.x in a `.pkl`, see `data_sample`.

    Raises:
        InvalidValueError: for another suffix, or `.json` with a dataset that has no COCO ids.
    """
    check_output_file(path, dataset)
    suffix = Path(path).suffix
    scores = [each for each in outputs if isinstance(each, ClassScores)]
    detections = [each for each in outputs if isinstance(each, Instances)]
    content: Any
    if scores:
        content = class_columns(scores, dataset.CLASSES)
        if suffix == '.json':
            content = {name: np.asarray(values).tolist() for name, values in content.items()}
    elif suffix != '.json' and metas is not None:
        content = [data_sample(each, meta) for each, meta in zip(detections, metas, strict=True)]
    elif suffix != '.json':
        content = [per_class_arrays(each, len(dataset.CLASSES or ())) for each in detections]
    else:
        assert isinstance(dataset, CocoDataset)
        content = dataset.to_coco_json(detections, any(each.masks is not None for each in detections))
    if suffix == '.json':
        with atomic_write(path, 'w') as file:
            json.dump(content, file)
    else:
        with atomic_write(path) as file:
            pickle.dump(content, file)


def class_columns(outputs: Sequence[ClassScores], classes: Sequence[str] | None) -> dict[str, Any]:
    """mmclassification's layout: `class_scores` (N, C), `pred_score`, `pred_label` (N,), and the names `pred_class`."""
    scores = np.stack([each.scores.numpy() for each in outputs])
    labels = scores.argmax(axis=1)
    names = {} if classes is None else {'pred_class': [classes[label] for label in labels]}
    return {'class_scores': scores, 'pred_score': scores.max(axis=1), 'pred_label': labels, **names}


def data_sample(detections: Instances, meta: ImageMeta) -> dict[str, Any]:
    """mmdetection 3.x's layout of one image: `pred_instances` with tensors and run-length codes, and the image."""
    instances: dict[str, Any] = {name: value for name, value in detections.present().items() if name != 'masks'}
    if isinstance(detections.masks, EncodedMasks):
        instances['masks'] = detections.masks.masks
    return {
        'img_id': meta.img_id,
        'img_path': meta.filename,
        'ori_shape': meta.ori_shape,
        'img_shape': meta.img_shape,
        'scale_factor': tuple(meta.scale_factor[:2].tolist()),
        'pred_instances': instances,
    }


def per_class_arrays(detections: Instances, num_classes: int) -> Any:
    """mmdetection's layout of one image: for each class (n, 5) float32 x1 y1 x2 y2 score.

    With masks it is the pair of that and, for each class, the list of run-length codes.
    """
    scores = np.ones(len(detections)) if detections.scores is None else detections.scores.numpy()
    labels = np.zeros(len(detections), dtype=np.int64) if detections.labels is None else detections.labels.numpy()
    rows = np.concatenate([detections.bboxes.numpy(), scores[:, None]], axis=1).astype(np.float32)
    of_class = [np.flatnonzero(labels == label) for label in range(num_classes)]
    arrays = [rows[indices] for indices in of_class]
    if not isinstance(detections.masks, EncodedMasks):
        return arrays
    return arrays, [[detections.masks.masks[index] for index in indices] for indices in of_class]
