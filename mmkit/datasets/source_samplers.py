"""Orders of mmdetection 3.x that choose images by their classes or by the dataset that they are from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np

from mmkit.datasets.data_samplers import SampledData, SourceSampler
from mmkit.datasets.wrappers import ConcatDataset
from mmkit.errors import InvalidTypeError, InvalidValueError
from mmkit.registry import DATA_SAMPLERS


def in_turns(items: np.ndarray, rng: np.random.Generator) -> Iterator[int]:
    """Endless passes over items, each in a new order."""
    while True:
        yield from rng.permutation(items).tolist()


@DATA_SAMPLERS.register_module()
class ClassAwareSampler(SourceSampler):
    """Classes in turn, and images of each, so that all classes are seen as often. arXiv:1512.05830

    Args:
        num_sample_class: images of a class before its next turn.
        source, seed: see `SourceSampler`.
    """

    def __init__(self, source: SampledData, seed: int | None = None, num_sample_class: int = 1) -> None:
        super().__init__(source, seed)
        if num_sample_class < 1:
            message = f'num_sample_class is at least 1, got {num_sample_class}'
            raise InvalidValueError(message, key='num_sample_class')
        self.num_sample_class = num_sample_class
        of_class: dict[int, list[int]] = {}
        for index in range(len(source.dataset)):
            for label in set(source.dataset.get_cat_ids(index)):
                of_class.setdefault(label, []).append(index)
        self.images = {label: np.array(of_class[label]) for label in sorted(of_class)}

    def __len__(self) -> int:
        return -(-len(self.dataset) // self.num_replicas)

    def indices(self) -> np.ndarray:
        order = islice(self._stream(self.rng()), len(self) * self.num_replicas)
        return self.own_part(np.fromiter(order, dtype=np.int64))

    def _stream(self, rng: np.random.Generator) -> Iterator[int]:
        images = {label: in_turns(indices, rng) for label, indices in self.images.items()}
        for label in in_turns(np.array(list(images)), rng):
            yield from islice(images[label], self.num_sample_class)


def parts_of(source: SampledData, owner: str, shares: Sequence[float], key: str) -> list[np.ndarray]:
    """The indices of each part of a `ConcatDataset`.

    Raises:
        InvalidTypeError: if the dataset is another.
        InvalidValueError: if there are more or fewer `shares`, the argument `key`, than parts.
    """
    dataset = source.dataset
    if not isinstance(dataset, ConcatDataset):
        raise InvalidTypeError(f'{owner} draws from a ConcatDataset, got a {type(dataset).__name__}')
    if len(shares) != len(dataset.datasets) or min(shares) < 0 or not sum(shares):
        raise InvalidValueError(f'{owner}.{key} has {shares}, for {len(dataset.datasets)} datasets', key=key)
    ends = np.cumsum([len(part) for part in dataset.datasets])
    return np.split(np.arange(len(dataset)), ends[:-1])


@DATA_SAMPLERS.register_module()
class MultiDataSampler(SourceSampler):
    """Images of several datasets in given proportions, drawn with replacement.

    Args:
        dataset_ratio: share of each dataset of the `ConcatDataset`, in any unit.
        source, seed: see `SourceSampler`.
    """

    def __init__(self, source: SampledData, dataset_ratio: Sequence[float], seed: int | None = None) -> None:
        super().__init__(source, seed)
        parts = parts_of(source, 'MultiDataSampler', dataset_ratio, 'dataset_ratio')
        weights = [np.full(len(part), ratio / len(part)) for part, ratio in zip(parts, dataset_ratio)]
        self.probabilities = np.concatenate(weights) / sum(dataset_ratio)

    def __len__(self) -> int:
        return -(-len(self.dataset) // self.num_replicas)

    def indices(self) -> np.ndarray:
        total = len(self) * self.num_replicas
        return self.own_part(self.rng().choice(len(self.dataset), size=total, p=self.probabilities))


@DATA_SAMPLERS.register_module()
class MultiSourceSampler(SourceSampler):
    """Batches with a fixed number of images from each of several datasets, such as labelled and unlabelled ones.

    An epoch is as long as no image needs to come twice in it.

    Args:
        batch_size: images in a batch, those of the loader.
        source_ratio: share of each dataset of the `ConcatDataset` in a batch.
        shuffle: draw the images; otherwise they come in their order.
        grouped: images of a batch are of one group, wide or high; the groups are drawn as often as they are large.
        source, seed: see `SourceSampler`.
    """

    def __init__(
        self,
        source: SampledData,
        batch_size: int,
        source_ratio: Sequence[float],
        shuffle: bool = True,
        seed: int | None = None,
        grouped: bool = False,
    ) -> None:
        super().__init__(source, seed)
        if batch_size != source.batch_size:
            message = f'the sampler has batch_size={batch_size}, the loader {source.batch_size}'
            raise InvalidValueError(message, key='batch_size')
        self.parts = parts_of(source, 'MultiSourceSampler', source_ratio, 'source_ratio')
        self.counts = [int(batch_size * ratio / sum(source_ratio)) for ratio in source_ratio]
        self.counts[0] += batch_size - sum(self.counts)
        self.shuffle = shuffle
        self.flag = source.dataset.groups() if grouped else np.zeros(len(source.dataset), np.uint8)
        present = [set(self.flag[part].tolist()) for part in self.parts]
        self.groups = np.array(sorted(set.intersection(*present)))
        if not len(self.groups):
            raise InvalidValueError('no group of images, wide or high, is in all datasets', key='source_ratio')
        limits = [len(part) // (count * self.num_replicas) for part, count in zip(self.parts, self.counts) if count]
        self.num_steps = max(min(limits), 1)

    def __len__(self) -> int:
        return self.num_steps * self.batch_size

    def indices(self) -> np.ndarray:
        rng = self.rng()
        sizes = np.array([(self.flag == group).sum() for group in self.groups])
        streams = {
            group: [self._stream(part[self.flag[part] == group], rng) for part in self.parts] for group in self.groups
        }
        batches = []
        for group in rng.choice(self.groups, size=self.num_steps * self.num_replicas, p=sizes / sizes.sum()):
            batch = [islice(stream, count) for stream, count in zip(streams[group], self.counts)]
            batches.append([index for part in batch for index in part])
        own: np.ndarray = np.array(batches)[self.rank :: self.num_replicas].reshape(-1)
        return own

    def _stream(self, images: np.ndarray, rng: np.random.Generator) -> Iterator[int]:
        if self.shuffle:
            yield from in_turns(images, rng)
        while True:
            yield from images.tolist()


DATA_SAMPLERS.register_module('GroupMultiSourceSampler', module=MultiSourceSampler, defaults=dict(grouped=True))


@DATA_SAMPLERS.register_module()
class RepeatAugSampler(SourceSampler):
    """Every image several times in a row, in different processes: repeated augmentation, arXiv:1901.09335.

    An epoch has as many images as without it, of which only a part is seen.

    Args:
        shuffle: a new order in every epoch.
        num_repeats: how often an image comes.
        selected_round: the number of images of an epoch is rounded down to a multiple of it; 0 leaves it.
        source, seed: see `SourceSampler`.
    """

    def __init__(
        self,
        source: SampledData,
        shuffle: bool = True,
        num_repeats: int = 3,
        selected_round: int = 256,
        seed: int | None = None,
    ) -> None:
        super().__init__(source, seed)
        if num_repeats < 1:
            raise InvalidValueError(f'num_repeats is at least 1, got {num_repeats}', key='num_repeats')
        self.shuffle = shuffle
        self.num_repeats = num_repeats
        total = len(source.dataset)
        rounded = total // selected_round * selected_round if selected_round else total
        self.num_selected = -(-(rounded or total) // self.num_replicas)

    def __len__(self) -> int:
        return self.num_selected

    def indices(self) -> np.ndarray:
        return self.own_part(np.repeat(self.all_images(self.shuffle), self.num_repeats))[: len(self)]
