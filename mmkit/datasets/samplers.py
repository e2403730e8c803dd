"""The order in which images are seen: a function of (seed, epoch), the same in every process."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from mmkit.datasets.seeded import SeededDataset
from mmkit.utils.dist import get_rank, get_world_size


class EpochSampler(Sampler[int]):
    """The base of the samplers. `set_epoch` is called before every epoch; it tells the dataset, too.

    Args:
        dataset: to draw from.
        num_replicas, rank: number of processes, and of this one; those of torch.distributed by default.
        seed: of the order.
    """

    def __init__(
        self, dataset: SeededDataset, num_replicas: int | None = None, rank: int | None = None, seed: int = 0
    ) -> None:
        self.dataset = dataset
        self.num_replicas = get_world_size() if num_replicas is None else num_replicas
        self.rank = get_rank() if rank is None else rank
        self.seed = int(seed)
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Before the iteration over the loader begins; decides on the order and on the augmentations."""
        self.epoch = epoch
        if isinstance(self.dataset, SeededDataset):
            self.dataset.set_epoch(epoch)

    def __len__(self) -> int:
        raise NotImplementedError

    def indices(self) -> np.ndarray:
        """The images of this process in this epoch, (len(self),) int64."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices().tolist())


class DistributedSampler(EpochSampler):
    """Every process takes each `num_replicas`-th image; all of them take as many, so some images may come twice.

    Args:
        shuffle: a new order in every epoch.
        dataset, num_replicas, rank, seed: see `EpochSampler`.
    """

    def __init__(
        self,
        dataset: SeededDataset,
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(dataset, num_replicas, rank, seed)
        self.shuffle = shuffle

    def __len__(self) -> int:
        return -(-len(self.dataset) // self.num_replicas)

    def indices(self) -> np.ndarray:
        order = np.arange(len(self.dataset))
        if self.shuffle:
            np.random.default_rng((self.seed, self.epoch)).shuffle(order)
        return np.resize(order, len(self) * self.num_replicas)[self.rank :: self.num_replicas]


class DistributedGroupSampler(EpochSampler):
    """Batches of images of one group (wide or high), so that little padding is needed, in a new order in every epoch.

    A step of all processes together takes `num_replicas * samples_per_gpu` images of one group; the images of a step
    do not depend on how many processes share it. Groups are filled up to whole steps with images that come twice.

    Args:
        samples_per_gpu: images of one process in one step.
        dataset, num_replicas, rank, seed: see `EpochSampler`; the dataset has `flag` (N,), the group of each image.
    """

    def __init__(
        self,
        dataset: SeededDataset,
        samples_per_gpu: int = 1,
        num_replicas: int | None = None,
        rank: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(dataset, num_replicas, rank, seed)
        self.samples_per_gpu = samples_per_gpu
        self.flag = dataset.groups()
        self._step = samples_per_gpu * self.num_replicas
        sizes = np.unique(self.flag, return_counts=True)[1]
        self.num_steps = int((-(-sizes // self._step)).sum())

    def __len__(self) -> int:
        return self.num_steps * self.samples_per_gpu

    def indices(self) -> np.ndarray:
        rng = np.random.default_rng((self.seed, self.epoch))
        steps, _ = group_steps(self.flag, self._step, rng, fill=True)
        start = self.rank * self.samples_per_gpu
        return steps[:, start : start + self.samples_per_gpu].reshape(-1)


def group_steps(flag: np.ndarray, step: int, rng: np.random.Generator, fill: bool) -> tuple[np.ndarray, np.ndarray]:
    """Steps of a training in random order, each with images of one group.

    Args:
        flag: (N,), the group of each image.
        step: images of a step, in all processes together.
        fill: fill groups up to whole steps with images that come twice.

    Returns:
        (num_steps, step) images, and those that are left without `fill`, group by group.
    """
    steps, left = [], []
    for group in np.unique(flag):
        order = rng.permutation(np.flatnonzero(flag == group))
        num_steps = -(-len(order) // step) if fill else len(order) // step
        steps.append(np.resize(order, (num_steps, step)))
        left.append(order[num_steps * step :])
    return rng.permutation(np.concatenate(steps)), np.concatenate(left)


class GroupSampler(DistributedGroupSampler):
    """`DistributedGroupSampler` of one process."""

    def __init__(self, dataset: SeededDataset, samples_per_gpu: int = 1, seed: int = 0) -> None:
        super().__init__(dataset, samples_per_gpu, num_replicas=1, rank=0, seed=seed)
