"""The orders of mmdetection 3.x, by the names that its configs use for them: functions of (seed, epoch), too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch.utils.data import Sampler

from mmkit.datasets.samplers import EpochSampler, group_steps
from mmkit.datasets.seeded import SeededDataset
from mmkit.errors import InvalidTypeError
from mmkit.registry import DATA_SAMPLERS, located


@dataclass(frozen=True)
class SampledData:
    """The dataset that a sampler draws from, and the process that it draws for.

    Attributes:
        dataset: to draw from.
        batch_size: images in a batch of one process.
        num_replicas, rank: number of processes, and of this one.
        seed: of the order, where a sampler has none of its own.
        drop_last: leave out a last batch that is smaller.
    """

    dataset: SeededDataset
    batch_size: int = 1
    num_replicas: int = 1
    rank: int = 0
    seed: int = 0
    drop_last: bool = False


def build_sampler(cfg: Mapping[str, Any], source: SampledData) -> EpochSampler:
    """The sampler of a config.

    Raises:
        UserError: if it is wrong, or its class is no sampler.
    """
    sampler = DATA_SAMPLERS.build(cfg, source=source)
    if not isinstance(sampler, EpochSampler):
        with located(cfg):
            raise InvalidTypeError(f'a {type(sampler).__name__} is no EpochSampler', key='type')
    return sampler


def build_batch_sampler(cfg: Mapping[str, Any], sampler: EpochSampler, source: SampledData) -> Sampler[list[int]]:
    """The batch sampler of a config, over a sampler; raises as `build_sampler` does."""
    batches = DATA_SAMPLERS.build(cfg, sampler=sampler, source=source)
    if not isinstance(batches, Sampler):
        with located(cfg):
            raise InvalidTypeError(f'a {type(batches).__name__} is no sampler of batches', key='type')
    return batches


class SourceSampler(EpochSampler):
    """The base of samplers that a config names.

    Args:
        source: what to draw from, and for whom.
        seed: of the order; None for that of the run.
    """

    def __init__(self, source: SampledData, seed: int | None = None) -> None:
        super().__init__(source.dataset, source.num_replicas, source.rank, source.seed if seed is None else seed)
        self.batch_size = source.batch_size

    def rng(self, *more: int) -> np.random.Generator:
        """The generator of this epoch, or of other numbers."""
        return np.random.default_rng((self.seed, *(more or (self.epoch,))))

    def all_images(self, shuffle: bool, *more: int) -> np.ndarray:
        """Indices of all images, in a new order for each epoch (or other numbers) with `shuffle`."""
        order = np.arange(len(self.dataset))
        if shuffle:
            self.rng(*more).shuffle(order)
        return order

    def own_part(self, order: np.ndarray, fill: bool = True) -> np.ndarray:
        """Every `num_replicas`-th image of an order, for each process as many with `fill`."""
        total = -(-len(order) // self.num_replicas) * self.num_replicas if fill else len(order)
        part: np.ndarray = np.resize(order, total)[self.rank :: self.num_replicas]
        return part


@DATA_SAMPLERS.register_module()
class DefaultSampler(SourceSampler):
    """Every image once in an epoch, as `DistributedSampler` has them.

    Args:
        shuffle: a new order in every epoch.
        round_up: let all processes take as many, so that some images may come twice.
        source, seed: see `SourceSampler`.
    """

    def __init__(
        self, source: SampledData, shuffle: bool = True, seed: int | None = None, round_up: bool = True
    ) -> None:
        super().__init__(source, seed)
        self.shuffle = shuffle
        self.round_up = round_up

    def __len__(self) -> int:
        num_images = len(self.dataset) if self.round_up else len(self.dataset) - self.rank
        return -(-num_images // self.num_replicas)

    def indices(self) -> np.ndarray:
        return self.own_part(self.all_images(self.shuffle), self.round_up)


@DATA_SAMPLERS.register_module()
class InfiniteSampler(SourceSampler):
    """Passes over the data one after the other, cut into whole batches: an epoch is about a pass.

    Args:
        shuffle: a new order in every pass.
        source, seed: see `SourceSampler`.
    """

    def __init__(self, source: SampledData, shuffle: bool = True, seed: int | None = None) -> None:
        super().__init__(source, seed)
        self.shuffle = shuffle

    def __len__(self) -> int:
        return -(-len(self.dataset) // (self.batch_size * self.num_replicas)) * self.batch_size

    def indices(self) -> np.ndarray:
        total = len(self) * self.num_replicas
        first, start = divmod(self.epoch * total, len(self.dataset))
        num_passes = -(-(start + total) // len(self.dataset))
        passes = [self.all_images(self.shuffle, number) for number in range(first, first + num_passes)]
        return self.own_part(np.concatenate(passes)[start : start + total])


@DATA_SAMPLERS.register_module()
class AspectRatioBatchSampler(Sampler[list[int]]):
    """Batches of images of one group (wide or high); what is left of all groups makes the last batches.

    A shuffled `DefaultSampler` gives the batches of `GroupSampler`, except that no group is filled up.

    Args:
        sampler: gives the images.
        source: what it draws from.
        drop_last: leave out a last batch that is smaller; None does as `source` says.
    """

    def __init__(self, sampler: EpochSampler, source: SampledData, drop_last: bool | None = None) -> None:
        self.sampler = sampler
        self.batch_size = source.batch_size
        self.drop_last = source.drop_last if drop_last is None else drop_last
        self.flag = source.dataset.groups()
        self.shuffles = isinstance(sampler, DefaultSampler) and sampler.shuffle

    def set_epoch(self, epoch: int) -> None:
        """Before the iteration over the loader begins."""
        self.sampler.set_epoch(epoch)

    def __len__(self) -> int:
        num_images, step = len(self.sampler), self.batch_size
        if self.shuffles:
            num_images, step = len(self.flag), self.batch_size * self.sampler.num_replicas
        return num_images // step if self.drop_last else -(-num_images // step)

    def __iter__(self) -> Iterator[list[int]]:
        return self._grouped_steps() if self.shuffles else self._grouped_stream()

    def _grouped_steps(self) -> Iterator[list[int]]:
        """Batches of this process in steps that all processes share."""
        rank, num_replicas = self.sampler.rank, self.sampler.num_replicas
        step = self.batch_size * num_replicas
        rng = np.random.default_rng((self.sampler.seed, self.sampler.epoch))
        steps, left = group_steps(self.flag, step, rng, fill=False)
        for images in [*steps, *np.split(left, range(step, len(left), step))]:
            if len(images) == step or (len(images) and not self.drop_last):
                share = -(-len(images) // num_replicas)  # of each process; a last step is filled up to that
                yield np.resize(images, share * num_replicas)[rank * share : (rank + 1) * share].tolist()

    def _grouped_stream(self) -> Iterator[list[int]]:
        """Batches in the order in which they fill up."""
        waiting: dict[int, list[int]] = {0: [], 1: []}
        for index in self.sampler:
            batch = waiting.setdefault(int(self.flag[index]), [])
            batch.append(index)
            if len(batch) == self.batch_size:
                yield batch[:]
                batch.clear()
        left = [index for batch in waiting.values() for index in batch]
        for start in range(0, len(left), self.batch_size):
            batch = left[start : start + self.batch_size]
            if len(batch) == self.batch_size or not self.drop_last:
                yield batch
