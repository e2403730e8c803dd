"""Testing a detector or a classifier on a dataset, and the files that come out of it."""

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

from mmkit.datasets import ClassificationDataset, CocoDataset, build_dataloader, build_dataset, collate
from mmkit.engine.failures import located_in_model
from mmkit.engine.hooks.eval_hook import metric_options
from mmkit.engine.predict import Visit, eval_mode, multi_gpu_test, predict_views, single_gpu_test
from mmkit.engine.rng import preserved_rng
from mmkit.engine.settings import read_dataset, read_loader
from mmkit.registry import located
from mmkit.structures import Batch, ClassScores, Instances, Prediction
from mmkit.utils.files import atomic_write
from mmkit.utils.logging import get_logger


def build_test_dataset(cfg: Mapping[str, Any]) -> Any:
    """`data.test` of a config in test mode; a list of datasets becomes one."""
    return build_dataset(read_dataset(cfg, 'test'), {'test_mode': True})


def build_test_loader(dataset: Any, cfg: Mapping[str, Any], distributed: bool = False) -> DataLoader[Any]:
    """Batches of a dataset in its order, with the batch size and workers that the config has for testing."""
    settings = read_loader(cfg, 'test').arguments()
    return build_dataloader(dataset, **{**settings, 'dist': distributed, 'shuffle': False})


def test_detector(
    model: nn.Module, dataset: Any, cfg: Mapping[str, Any], distributed: bool = False, visit: Visit | None = None
) -> list[Prediction]:
    """Detections, or class scores, of every image of a dataset, in its order.

    Args:
        model: a detector or a classifier, on its device.
        dataset: in test mode.
        cfg: whole config, for the loader's settings.
        distributed: share the work between the processes that `init_dist` joined.
        visit: called with each image's meta and prediction.
    """
    loader = build_test_loader(dataset, cfg, distributed)
    return (multi_gpu_test if distributed else single_gpu_test)(model, loader, visit)


test_detector.__test__ = False  # type: ignore[attr-defined]  # pytest must not take it for a test


def rehearse(model: nn.Module, dataset: Any, cfg: Mapping[str, Any], split: str) -> None:
    """Predict the first image of `data.<split>`: a mistake in its files, its pipeline or in `test_cfg` shows now, and
    not in the middle of a training or a test. Random numbers are as before.

    Raises:
        Exception: what prediction raises, its message extended by the config key, file and line.
    """
    if not len(dataset):
        return
    with preserved_rng():
        with located(cfg['data'], split):
            views = collate([dataset[0]])
        first = views if isinstance(views, Batch) else views[0]
        if first.gts is not None:
            get_logger().warning(
                'data.%s gives ground truth as data.train does: a test wants a pipeline of its own, whose flips are '
                'undone (MultiScaleFlipAug)',
                split,
            )
        with located_in_model(model, cfg.get('model')), eval_mode(model):
            predict_views(model, views)


def evaluation_options(cfg: Mapping[str, Any], options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Arguments of `dataset.evaluate` besides `metric`: those under `evaluation` of the config, and `options`."""
    configured = metric_options(cfg.get('evaluation') or {})
    configured.pop('metric', None)
    return {**configured, **(options or {})}


def check_output_file(path: str | os.PathLike[str], dataset: Any) -> None:
    """Raises a ValueError if predictions for the dataset could not be written to a file of this name."""
    suffix = Path(path).suffix
    if suffix not in ('.pkl', '.pickle', '.json'):
        raise ValueError(f'{path} ends in {suffix!r}, expected .pkl or .json')
    if suffix == '.json' and not isinstance(dataset, (CocoDataset, ClassificationDataset)):
        raise ValueError(f'{type(dataset).__name__} has no COCO ids: write its detections to a .pkl file')


def write_outputs(path: str | os.PathLike[str], outputs: Sequence[Prediction], dataset: Any) -> None:
    """Write detections or class scores to one file.

    Args:
        path: `.pkl` for mmdetection's layout, see `per_class_arrays`; `.json` for COCO's list of results. Class scores
            are written as `class_columns` in both.
        outputs: of every image of the dataset.

    Raises:
        ValueError: for another suffix, or `.json` with a dataset that has no COCO ids.
    """
    check_output_file(path, dataset)
    suffix = Path(path).suffix
    scores = [found for found in outputs if isinstance(found, ClassScores)]
    detections = [found for found in outputs if isinstance(found, Instances)]
    content: Any
    if scores:
        content = class_columns(scores, dataset.CLASSES)
        if suffix == '.json':
            content = {name: np.asarray(values).tolist() for name, values in content.items()}
    elif suffix != '.json':
        content = [per_class_arrays(found, len(dataset.CLASSES)) for found in detections]
    else:
        content = dataset.to_coco_json(detections, any(found.masks is not None for found in detections))
    if suffix == '.json':
        with atomic_write(path, 'w') as file:
            json.dump(content, file)
    else:
        with atomic_write(path) as file:
            pickle.dump(content, file)


def class_columns(outputs: Sequence[ClassScores], classes: Sequence[str] | None) -> dict[str, Any]:
    """mmclassification's layout: `class_scores` (N, C), `pred_score`, `pred_label` (N,), and the names `pred_class`."""
    scores = np.stack([found.scores.numpy() for found in outputs])
    labels = scores.argmax(axis=1)
    names = {} if classes is None else {'pred_class': [classes[label] for label in labels]}
    return {'class_scores': scores, 'pred_score': scores.max(axis=1), 'pred_label': labels, **names}


def per_class_arrays(found: Instances, num_classes: int) -> Any:
    """mmdetection's layout of one image: for each class (n, 5) float32 x1 y1 x2 y2 score.

    With masks it is the pair of that and, for each class, the list of run-length codes.
    """
    scores = np.ones(len(found)) if found.scores is None else found.scores.numpy()
    labels = np.zeros(len(found), dtype=np.int64) if found.labels is None else found.labels.numpy()
    rows = np.concatenate([found.bboxes.numpy(), scores[:, None]], axis=1).astype(np.float32)
    of_class = [np.flatnonzero(labels == label) for label in range(num_classes)]
    arrays = [rows[indices] for indices in of_class]
    if found.masks is None:
        return arrays
    return arrays, [[found.masks.masks[index] for index in indices] for indices in of_class]
