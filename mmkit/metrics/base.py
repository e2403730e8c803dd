"""The base of metrics that compare the predictions for a whole dataset with its ground truth."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property

import torch

from mmkit.errors import InvalidTypeError, InvalidValueError
from mmkit.evaluation import DetectionTruth, Truth
from mmkit.protocols import Metric
from mmkit.structures import ImageMeta, Instances, Prediction
from mmkit.utils import dist
from mmkit.utils.logging import get_logger


class DatasetMetric(ABC):
    """A metric over all images of a dataset, whichever process predicts which of them.

    A subclass says what the figures are (`compute`). It may check the ground truth in `prepare`, which is called once,
    before anything is predicted.

    Attributes:
        truth: ground truth of the dataset; None if the dataset has none to give.
        names: names of the figures, as far as they are known before they are computed.
        needs_masks: figures are about masks, which a model must predict.
        ann_file: the ground truth is that of this file instead, whose images may be others; their ids say which.
        prefix: stands before the names of the figures, with a slash: 'coco' for coco/bbox_mAP.
    """

    truth: Truth | None = None
    names: Sequence[str] = ()
    needs_masks = False
    ann_file: str | None = None
    prefix: str | None = None

    @cached_property
    def _predictions(self) -> dict[int, Prediction]:  # subclasses need not call an __init__
        return {}

    def prepare(self, truth: Truth) -> None:
        """Take the ground truth of the dataset that will be evaluated.

        Raises:
            UserError: if it does not suit the metric or its options.
        """
        self.truth = truth

    def reset(self) -> None:
        """Forget all predictions."""
        self._predictions = {}

    def process(self, metas: Sequence[ImageMeta], predictions: Sequence[Prediction]) -> None:
        """Take in predictions for some images; of an image that comes twice the last one counts."""
        for meta, prediction in zip(metas, predictions, strict=True):
            self._predictions[self._position(meta)] = prediction

    def evaluate(self) -> dict[str, float | str]:
        """The figures, on the main process; an empty dict on the others. All processes must call it.

        Raises:
            RuntimeError: if no process has predicted some image.
        """
        parts = dist.all_gather_object(self._predictions)
        if not dist.is_main():
            return {}
        predictions = {position: each for part in parts for position, each in part.items()}
        number = max(predictions, default=-1) + 1 if self.truth is None else len(self.truth)
        missing = sorted(set(range(number)) - set(predictions))
        if missing and self.ann_file is not None and self.truth is not None:
            get_logger().warning('nothing is predicted for %d of the images of %s', len(missing), self.ann_file)
            predictions |= {position: nothing_found() for position in missing}
        elif missing:
            raise RuntimeError(f'no process predicted image {missing[0]} of {number}: is the sampler random?')
        return self.figures([predictions[position] for position in range(number)])

    def figures(self, predictions: Sequence[Prediction]) -> dict[str, float | str]:
        """`compute` with the prefix before its names."""
        return {self.with_prefix(name): value for name, value in self.compute(predictions).items()}

    def with_prefix(self, name: str) -> str:
        """The name of a figure as others see it."""
        return f'{self.prefix}/{name}' if self.prefix else name

    @abstractmethod
    def compute(self, predictions: Sequence[Prediction]) -> dict[str, float | str]:
        """The figures of predictions for all images, in the order of the dataset."""

    def _position(self, meta: ImageMeta) -> int:
        """Index of the image in the dataset."""
        if meta.index is not None and self.ann_file is None:
            return meta.index
        if self.truth is None:
            if dist.get_world_size() > 1:
                raise RuntimeError('images without ImageMeta.index cannot be put in order over several processes')
            return len(self._predictions)
        if meta.img_id not in self.truth.positions:
            raise InvalidValueError(f'{self.truth.source} has no image with the id {meta.img_id!r}')
        return self.truth.positions[meta.img_id]


def nothing_found() -> Instances:
    """Detections of an image without any."""
    return Instances(torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.int64), scores=torch.zeros(0))


def check_num_outputs(outputs: Sequence[Prediction], expected: int) -> None:
    """Raises an InvalidValueError unless there is a prediction for each image."""
    if len(outputs) != expected:
        raise InvalidValueError(f'outputs of {len(outputs)} images for a dataset of {expected} images')


def truth_and_detections(
    metric: DatasetMetric, predictions: Sequence[Prediction]
) -> tuple[DetectionTruth, list[Instances]]:
    """The ground truth of a metric of detections, and the detections in each of its images.

    Raises:
        RuntimeError: before `prepare`.
        InvalidTypeError: for scores of whole images.
        InvalidValueError: unless there is a prediction for each image, with masks if the metric needs them.
    """
    truth = metric.truth
    if not isinstance(truth, DetectionTruth):
        raise RuntimeError('prepare(truth) comes before compute')
    check_num_outputs(predictions, len(truth))
    detections = [out for out in predictions if isinstance(out, Instances)]
    if len(detections) != len(predictions):
        raise InvalidTypeError('the metric is about detected objects, and these are scores of whole images')
    if metric.needs_masks and any(out.masks is None and len(out) for out in detections):
        raise InvalidValueError("metric 'segm' needs detections with masks", key='metric')
    return truth, detections


def compute_metrics(metrics: Sequence[Metric], outputs: Sequence[Prediction]) -> dict[str, float | str]:
    """The figures of predictions that are at hand, in the order of the dataset.

    Raises:
        InvalidTypeError: for a metric that is no `DatasetMetric` and wants to see metas, too.
    """
    values: dict[str, float | str] = {}
    for metric in metrics:
        values |= as_dataset_metric(metric).figures(outputs)
    return values


def as_dataset_metric(metric: Metric) -> DatasetMetric:
    """The metric; an InvalidTypeError if it is another kind."""
    if not isinstance(metric, DatasetMetric):
        kind = type(metric).__name__
        raise InvalidTypeError(f'{kind} is no DatasetMetric: it can be evaluated only while images are predicted')
    return metric
