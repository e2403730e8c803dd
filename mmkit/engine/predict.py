"""Predictions for a whole dataset, by one process or several, with or without test-time augmentation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mmkit.datasets import SeededDataset
from mmkit.engine.checkpoint import unwrap
from mmkit.errors import ConfigError, InvalidValueError
from mmkit.metrics import DatasetMetric
from mmkit.models.detectors import Detector, SemiBaseDetector
from mmkit.ops import batched_nms
from mmkit.protocols import Metric
from mmkit.registry import METRICS
from mmkit.structures import Batch, ClassScores, EncodedMasks, ImageMeta, Instances, Prediction
from mmkit.utils import dist
from mmkit.utils.logging import get_logger
from mmkit.utils.progress import track

logger = get_logger('mmkit.engine')
_DETECTOR_BASES = (Detector, SemiBaseDetector)
Visit = Callable[[ImageMeta, Prediction], None]
Views = Batch | Sequence[Batch]  # of several views of the same images (test-time augmentation) a batch for each


@dataclass(frozen=True)
class Merging:
    """The way in which the detections of several views of an image become those of the image.

    Attributes:
        nms: arguments of `batched_nms`, class by class over the detections of all views; None is that of the model.
        max_per_img: detections kept, the best; negative: all; None is that of the model.
    """

    nms: Mapping[str, Any] | None = None
    max_per_img: int | None = None


OF_MODEL = Merging()


def single_gpu_test(
    model: nn.Module, loader: Iterable[Views], visit: Visit | None = None, merging: Merging = OF_MODEL
) -> list[Prediction]:
    """Detections, or class scores, of every image of a loader.

    Args:
        model: a detector or a classifier; it is in evaluation mode meanwhile.
        loader: gives a `Batch`, or the views of the images as a list of them (test-time augmentation).
        visit: called with each image's meta and prediction as they come.
        merging: of several views.

    Returns:
        `Instances` in pixels of the original images, or `ClassScores`, on the CPU, in the order of the loader.
    """
    predictions: list[Prediction] = []

    def take(metas: Sequence[ImageMeta], predicted: Sequence[Prediction]) -> None:
        for meta, each in zip(metas, predicted, strict=True):
            if visit is not None:
                visit(meta, each)
        predictions.extend(predicted)

    _predict_all(model, loader, take, merging)
    return predictions


def multi_gpu_test(
    model: nn.Module, loader: DataLoader[Any], visit: Visit | None = None, merging: Merging = OF_MODEL
) -> list[Prediction]:
    """`single_gpu_test` with the work shared between processes, whose samplers each give a part of the images.

    Args:
        loader: a DataLoader whose sampler gives the same indices whenever it is asked.

    Returns:
        The predictions for all images in the order of the dataset, in every process.
    """
    own = (list(loader.sampler), single_gpu_test(model, loader, visit, merging))
    if len(own[0]) != len(own[1]):
        raise RuntimeError(f'the sampler named {len(own[0])} images, but {len(own[1])} were predicted')
    by_index: dict[int, Prediction] = {}
    for indices, predictions in dist.all_gather_object(own):
        by_index.update(zip(indices, predictions, strict=True))
    total = len(loader.dataset)  # type: ignore[arg-type]  # torch's Dataset does not promise a length
    missing = set(range(total)) - set(by_index)
    if missing:
        raise RuntimeError(f'no process predicted image {min(missing)} of {total}: is the sampler random?')
    return [by_index[index] for index in range(total)]


def evaluate_model(
    model: nn.Module,
    loader: Iterable[Views],
    metrics: Sequence[Metric | Mapping[str, Any]],
) -> dict[str, float | str]:
    """Figures of the predictions for every image of a loader, by any number of metrics in one pass over the data.

    Args:
        model: a detector or a classifier; it is in evaluation mode meanwhile.
        loader: as for `single_gpu_test`; of several processes each has its own part of the images.
        metrics: metrics or configs of metrics. Ground truth comes from the loader's dataset.

    Returns:
        The figures of all metrics by name, in every process.

    Raises:
        UserError: before anything is predicted, if a metric cannot be evaluated on this dataset.
    """
    if isinstance(loader, DataLoader) and isinstance(loader.dataset, SeededDataset):
        built = loader.dataset.build_metrics(metrics=metrics)
    else:
        built = [METRICS.build(metric) for metric in metrics]
    check_masks(model, built)
    return run_metrics(model, loader, built)


def run_metrics(
    model: nn.Module, loader: Iterable[Views], metrics: Sequence[Metric], visit: Visit | None = None
) -> dict[str, float | str]:
    """`evaluate_model` with metrics that have their ground truth.

    Args:
        visit: called with each image's meta and prediction as they come.
    """

    def take(metas: Sequence[ImageMeta], predicted: Sequence[Prediction]) -> None:
        for metric in metrics:
            metric.process(metas, predicted)
        if visit is not None:
            for meta, each in zip(metas, predicted, strict=True):
                visit(meta, each)

    for metric in metrics:
        metric.reset()
    _predict_all(model, loader, take)
    return collect_figures(metrics)


def collect_figures(metrics: Sequence[Metric]) -> dict[str, float | str]:
    """The figures of metrics that have processed all predictions, in every process; all processes must call it."""
    values: dict[str, float | str] = {}
    for metric in metrics:
        figures = metric.evaluate()
        metric.reset()  # predictions for a whole dataset take memory
        for name in figures.keys() & values.keys():
            logger.warning('two metrics have a figure %s; the one of %s counts', name, type(metric).__name__)
        values |= figures
    return dist.broadcast_object(values)


def check_masks(model: nn.Module, metrics: Sequence[Metric]) -> None:
    """Raises a ConfigError if masks are to be evaluated and the model makes none."""
    detector = unwrap(model)
    needs_masks = any(metric.needs_masks for metric in metrics if isinstance(metric, DatasetMetric))
    if needs_masks and isinstance(detector, _DETECTOR_BASES) and not detector.with_mask:
        raise ConfigError("metric 'segm' evaluates masks, and this detector makes boxes only", key='metric')


def _predict_all(
    model: nn.Module,
    loader: Iterable[Views],
    take: Callable[[Sequence[ImageMeta], Sequence[Prediction]], None],
    merging: Merging = OF_MODEL,
) -> None:
    """Predict batch by batch, with a progress bar."""
    own_part = loader.sampler if isinstance(loader, DataLoader) else loader
    total = len(own_part) if isinstance(loader, DataLoader) and isinstance(own_part, Sized) else None
    with eval_mode(model), track(total=total, desc='testing', unit='img') as bar:
        for views in loader:
            predictions = predict_views(model, views, merging)
            take(views.metas if isinstance(views, Batch) else views[0].metas, predictions)
            bar.update(len(predictions))


@torch.no_grad()
def predict_views(model: nn.Module, views: Views, merging: Merging = OF_MODEL) -> list[Prediction]:
    """Predictions for the images of one batch, or of several views of the same images; on the CPU.

    Args:
        model: in evaluation mode.
        merging: of several views.

    Raises:
        InvalidValueError: if there are several views, and neither `merging` nor the detector has an NMS.
    """
    model = unwrap(model)
    device = next(model.parameters()).device
    if isinstance(views, Batch):
        return [prediction.to('cpu') for prediction in model(views.to(device))]
    if len(views) == 1:
        return predict_views(model, views[0], merging)
    per_view: list[list[Prediction]] = []
    for view in views:
        predictions = [prediction.to('cpu') for prediction in model(view.to(device))]
        per_view.append([flip_back(each, meta) for each, meta in zip(predictions, view.metas, strict=True)])
    return [_merged(model, predictions, merging) for predictions in zip(*per_view, strict=True)]


def mixed_precision(device: torch.device, wanted: bool = True) -> AbstractContextManager[object]:
    """Mixed precision if it is wanted: float16 on a GPU, bfloat16 elsewhere."""
    if not wanted:
        return nullcontext()
    return torch.autocast(device.type, torch.float16 if device.type == 'cuda' else torch.bfloat16)


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, and afterwards the mode from before."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def _merged(model: nn.Module, predictions: Sequence[Prediction], merging: Merging) -> Prediction:
    """Merge the predictions for several views of an image: boxes by NMS, scores of the whole image by their mean."""
    scores = [each.scores for each in predictions if isinstance(each, ClassScores)]
    if scores:
        return ClassScores(torch.stack(scores).mean(dim=0))
    settings = model.nms_settings if isinstance(model, _DETECTOR_BASES) else None
    nms = merging.nms or (settings.nms if settings is not None else None)
    if not nms:
        raise InvalidValueError(
            f'test-time augmentation merges views by NMS, and the test_cfg of {type(model).__name__} has no nms: '
            'set flip=False and a single img_scale in MultiScaleFlipAug'
        )
    views = [each for each in predictions if isinstance(each, Instances)]
    max_per_img = merging.max_per_img
    if max_per_img is None:
        max_per_img = settings.max_per_img if settings is not None else -1
    return merge_views(views, nms, max_per_img)


def merge_views(views: Sequence[Instances], nms: Mapping[str, Any], max_per_img: int = -1) -> Instances:
    """Merge the detections in several views by NMS over all of them.

    Args:
        views: of one image, in pixels of the original image, not flipped.
        nms: arguments of `batched_nms`.
        max_per_img: detections kept; negative: all.
    """
    together = Instances.cat(views)
    if not len(together):
        return together
    assert together.scores is not None
    labels = torch.zeros(len(together), dtype=torch.long) if together.labels is None else together.labels
    detections, keep = batched_nms(together.bboxes, together.scores, labels, nms)
    if max_per_img > 0:
        detections, keep = detections[:max_per_img], keep[:max_per_img]
    return replace(together[keep], bboxes=detections[:, :4], scores=detections[:, 4])


def flip_back(prediction: Prediction, meta: ImageMeta) -> Prediction:
    """Predictions for a mirrored view as those for the image itself.

    Args:
        prediction: boxes in pixels of the original image's size.
    """
    if not meta.flip or not isinstance(prediction, Instances):
        return prediction
    direction = meta.flip_direction or 'horizontal'
    masks = prediction.masks
    if masks is not None:
        masks = EncodedMasks.from_bitmaps(masks.to_bitmap().flip(direction).to_ndarray())
    return replace(prediction, bboxes=_mirror(prediction.bboxes, meta.ori_shape, direction), masks=masks)


def _mirror(bboxes: Tensor, shape: tuple[int, int], direction: str) -> Tensor:
    left, top, right, bottom = bboxes.unbind(1)
    if direction in ('horizontal', 'diagonal'):
        left, right = shape[1] - right, shape[1] - left
    if direction in ('vertical', 'diagonal'):
        top, bottom = shape[0] - bottom, shape[0] - top
    return torch.stack([left, top, right, bottom], dim=1)
