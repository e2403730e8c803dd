"""Images with one class for the whole of them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmkit.datasets.replacements import Replacements
from mmkit.datasets.seeded import SeededDataset
from mmkit.errors import BrokenDataError, InvalidValueError
from mmkit.evaluation import ClassTruth, format_pairs
from mmkit.protocols import Transform
from mmkit.structures import Prediction
from mmkit.transforms.compose import Compose
from mmkit.utils.logging import get_logger

logger = get_logger('mmkit.datasets')


class ClassificationDataset(SeededDataset):
    """The base of datasets for classification; a subclass reads the labels and makes the start of a sample.

    Args:
        source: the file or folder that the labels are from, for messages.
        labels: (N,), of each image.
        classes: names of the labels; None if nobody knows them.
        pipeline: transforms, configs or callables.
        test_mode: every image once; a broken one is an error. In training it is replaced.
        max_broken: so many unreadable images are replaced by others in training before it stops.

    Raises:
        InvalidValueError: if there is no image, or a label is not one of a class.
    """

    def __init__(
        self,
        source: str,
        labels: Sequence[int] | np.ndarray,
        classes: Sequence[str] | None,
        pipeline: Sequence[Mapping[str, Any] | Transform],
        test_mode: bool = False,
        max_broken: int = 10,
    ) -> None:
        super().__init__()
        self.source = source
        self.labels = np.asarray(labels, dtype=np.int64)
        self.CLASSES = None if classes is None else tuple(classes)
        self.pipeline = Compose(pipeline)
        self.test_mode = test_mode
        self.flag = np.zeros(len(self.labels), dtype=np.uint8)  # the shape of an image is known when it is read
        self._check()
        self._replacements = Replacements(source, len(self.labels), max_broken)

    def _check(self) -> None:
        """Labels and classes; logs how many images there are of each."""
        kind = type(self).__name__
        if not len(self.labels):
            raise InvalidValueError(f'{kind}: no image in {self.source}')
        num_classes = len(self.CLASSES) if self.CLASSES else int(self.labels.max()) + 1
        wrong = np.flatnonzero((self.labels < 0) | (self.labels >= num_classes))
        if len(wrong):
            raise InvalidValueError(
                f'{kind}: image {wrong[0]} of {self.source} has the label {self.labels[wrong[0]]}, '
                f'expected 0..{num_classes - 1}'
            )
        names = self.CLASSES or [str(label) for label in range(num_classes)]
        numbers = np.bincount(self.labels, minlength=num_classes)
        table = format_pairs([(name, str(number)) for name, number in zip(names, numbers)], ('class', 'images'))
        logger.info('%s %s: %d images\n%s', kind, self.source, len(self), table)

    def __len__(self) -> int:
        return len(self.labels)

    def get_cat_ids(self, index: int) -> list[int]:
        return [int(self.labels[index])]

    def start(self, index: int) -> dict[str, Any]:
        """The dict that the pipeline begins with, besides `gt_label`."""
        raise NotImplementedError

    def get(self, index: int, rng: np.random.Generator) -> Any:
        """Sample `index`; in training another one where the image is broken or the pipeline gives None.

        Raises:
            BrokenDataError: if more than `max_broken` images are broken, or none is of use.
        """

        def make(number: int) -> Any:
            return self.pipeline({**self.start(number), 'gt_label': self.labels[number], 'rng': rng})

        if self.test_mode:
            return make(index)
        sample = self._replacements.first_usable(index, rng, self.groups(), make)
        if sample is None:
            raise BrokenDataError(
                f'no usable sample in {self._replacements.max_tries} tries from {self.source}: image {index} and those '
                f'drawn instead of it are broken, or {self.pipeline} gives None for them'
            )
        return sample

    def truth(self) -> ClassTruth:
        return ClassTruth(self.source, self.CLASSES or (), range(len(self)), self.labels)

    def metric_config(self) -> dict[str, Any]:
        return {'type': 'ClassificationMetric'}

    has_own_evaluate = False

    def evaluate(  # type: ignore[override]  # the order of mmclassification's arguments
        self,
        outputs: Sequence[Prediction],
        metric: str | Sequence[str] | None = None,
        metric_options: Mapping[str, Any] | None = None,
        logger: logging.Logger | None = None,
        **options: Any,
    ) -> dict[str, Any]:
        if metric_options is not None:
            options['metric_options'] = metric_options
        return super().evaluate(outputs, metric, logger, **options)
