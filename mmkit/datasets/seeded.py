"""The base of all datasets: samples that repeat, ground truth and metrics."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch.utils.data import Dataset

from mmkit.errors import InvalidTypeError, MissingFileError, UserError
from mmkit.evaluation import Truth
from mmkit.metrics import DatasetMetric, EvaluateMetric, compute_metrics
from mmkit.protocols import Metric
from mmkit.registry import METRICS, located
from mmkit.structures import Prediction, Sample
from mmkit.transforms.randomness import seeded_globals


class SeededDataset(Dataset[Any]):
    """Sample i of epoch e is a function of (seed, e, i), whichever process makes it.

    A subclass says how a sample is made from an index and a generator (`get`); a wrapper hands its generator on to the
    dataset it wraps, so that two appearances of an image in one epoch are augmented differently.

    Attributes:
        CLASSES: names of the labels 0..C-1.
        PALETTE: RGB of each label, for drawings; None leaves the choice to them.
        METAINFO: `classes` and `palette`, as a class of mmdetection 3.x has the two.
        flag: (N,) uint8, the group of each image: `GroupSampler` never mixes groups in a batch. None: no groups.
        has_own_evaluate: set for a subclass that overrides `evaluate`: its figures are those that this returns.
    """

    CLASSES: tuple[str, ...] | None = None
    PALETTE: Sequence[Sequence[int]] | None = None
    METAINFO: ClassVar[Mapping[str, Any]] = {}
    flag: np.ndarray | None = None
    has_own_evaluate: ClassVar[bool] = False

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if 'METAINFO' in vars(cls):
            cls.CLASSES = cls.METAINFO.get('classes', cls.CLASSES)
            cls.PALETTE = cls.METAINFO.get('palette', cls.PALETTE)
        if 'evaluate' in vars(cls) and 'has_own_evaluate' not in vars(cls):
            cls.has_own_evaluate = True

    def __init__(self) -> None:
        self.seed = 0
        # shared memory, so that the epoch reaches workers that live longer than an epoch
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def set_seed(self, seed: int) -> None:
        """Before workers start."""
        self.seed = int(seed)

    def set_epoch(self, epoch: int) -> None:
        """Between two epochs, that is, before the next iteration over the loader begins."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        raise NotImplementedError

    def get(self, index: int, rng: np.random.Generator) -> Any:
        """Sample `index`, with `rng` as its only source of chance."""
        raise NotImplementedError

    def groups(self) -> np.ndarray:
        """(N,) uint8, `flag`; without it all images are of group 0."""
        return np.zeros(len(self), dtype=np.uint8) if self.flag is None else np.asarray(self.flag)

    def get_cat_ids(self, index: int) -> list[int]:
        """The labels of the objects of image `index`."""
        raise NotImplementedError

    def __getitem__(self, index: int) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(f'sample {index} of {len(self)}')
        rng = np.random.default_rng((self.seed, int(self._epoch), int(index)))
        with seeded_globals(rng):
            sample = self.get(int(index), rng)
        for view in sample if isinstance(sample, list) else [sample]:
            if isinstance(view, Sample):
                view.meta.index = int(index)
        return sample

    def truth(self) -> Truth | None:
        """Ground truth of all images, for metrics; None if there is none to give."""
        return None

    def truth_in(self, ann_file: str) -> Truth:
        """Ground truth of the classes of this dataset in another file, for a metric that names one.

        Raises:
            InvalidTypeError: the dataset has no files of annotations.
        """
        message = f'a {type(self).__name__} does not read the ann_file of a metric: leave it out'
        raise InvalidTypeError(message, key='ann_file')

    def metric_config(self) -> dict[str, Any] | None:
        """The metric that `metric` and other options of an evaluation are for: its `type`, and defaults of options."""
        return None

    def build_metrics(
        self,
        metric: str | Sequence[str] | None = None,
        metrics: Sequence[Mapping[str, Any] | Metric] = (),
        **options: Any,
    ) -> list[Metric]:
        """Metrics with the ground truth of this dataset, everything about them checked.

        Args:
            metric: names that the dataset's own metric knows, such as 'bbox', or names of registered metrics.
            metrics: configs of more metrics, or metrics. Without `metric` and options there are only these.
            options: of the dataset's own metric.

        Raises:
            UserError: for a wrong option, for ground truth that a metric cannot use, or if there is no own metric.
        """
        if not isinstance(metrics, (list, tuple)):
            message = f"metrics is a list of dicts with `type`, got {metrics!r}; names such as 'bbox' go into metric"
            raise InvalidTypeError(message, key='metrics')
        names = list(metric) if isinstance(metric, (list, tuple)) else [metric]
        registered = [name for name in names if name in METRICS]
        own_names = [name for name in names if name not in METRICS] if registered else metric
        if own_names or not (registered or own_names is None):
            options = {'metric': own_names, **options}
        more = [*({'type': name} for name in registered), *metrics]
        own = [self._own_metric(options)] if options or not more else []
        return own + [self._of_config(each) for each in more]

    def _of_config(self, cfg: Mapping[str, Any] | Metric) -> Metric:
        with located(cfg if isinstance(cfg, Mapping) else {}):
            return self._prepared(METRICS.build(cfg))

    def _own_metric(self, options: Mapping[str, Any]) -> Metric:
        """The metric behind `evaluate`."""
        if self.has_own_evaluate:
            return EvaluateMetric(self, options)
        return self._prepared(self._default_metric(options))

    def _default_metric(self, options: Mapping[str, Any]) -> Metric:
        config = self.metric_config()
        if config is None:
            raise InvalidTypeError(
                f'a {type(self).__name__} cannot be evaluated: use the dataset in it, or list `metrics`'
            )
        return METRICS.build({**config, **options})

    def _prepared(self, metric: Metric) -> Metric:
        if isinstance(metric, DatasetMetric) and metric.truth is None:
            truth = self.truth() if metric.ann_file is None else self._truth_in_file(metric.ann_file)
            if truth is not None:
                metric.prepare(truth)
        return metric

    def _truth_in_file(self, ann_file: str) -> Truth | None:
        try:
            return self.truth_in(ann_file)
        except FileNotFoundError as error:
            raise MissingFileError(f'no annotation file {ann_file}', key='ann_file') from error
        except UserError as error:
            error.key = 'ann_file'  # an argument of the metric, whatever it is for the reader
            raise

    def evaluate(
        self,
        outputs: Sequence[Prediction],
        metric: str | Sequence[str] | None = None,
        logger: logging.Logger | None = None,
        **options: Any,
    ) -> dict[str, Any]:
        """The figures of predictions, by the dataset's own metric (see `metric_config`).

        Args:
            outputs: of each image, in order.
            metric: names of metrics, see docs/metrics.md.
            logger: where tables go.
            options: more arguments of the metric.

        Returns:
            `bbox_mAP`, `mAP`, `accuracy_top-1`, ...
        """
        options |= without_none(metric=metric, logger=logger)
        return compute_metrics([self._prepared(self._default_metric(options))], outputs)


def without_none(**arguments: object) -> dict[str, object]:
    """The arguments that are given."""
    return {name: value for name, value in arguments.items() if value is not None}
