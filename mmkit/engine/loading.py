"""Data loaders for a runner: setting their epoch, and starting in the middle of one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Protocol, runtime_checkable

from torch.utils.data import BatchSampler, DataLoader

from mmkit.structures import Batch


class Loader(Protocol):
    """The batches of one pass over a dataset; a DataLoader, or a list."""

    def __iter__(self) -> Iterator[Batch]: ...

    def __len__(self) -> int: ...


@runtime_checkable
class HasEpoch(Protocol):
    """A dataset, a sampler or a model that depends on the epoch."""

    def set_epoch(self, epoch: int) -> None:
        """Called before the epoch begins, counted from 0."""


@runtime_checkable
class HasClasses(Protocol):
    """A dataset whose labels have names."""

    CLASSES: tuple[str, ...] | None


def dataset_of(loader: Loader) -> object:
    """The dataset of a DataLoader; None for a loader that has none."""
    return loader.dataset if isinstance(loader, DataLoader) else None


def set_epoch(loader: Loader, epoch: int) -> None:
    """Tell the epoch to all parts of a loader that depend on it, as order and augmentation do."""
    parts: list[object] = [loader]
    if isinstance(loader, DataLoader):
        parts += [loader.sampler, loader.batch_sampler, loader.dataset]
        if isinstance(loader.batch_sampler, BatchSampler):
            parts.append(loader.batch_sampler.sampler)
    for part in {id(part): part for part in parts}.values():
        if isinstance(part, HasEpoch):
            part.set_epoch(epoch)


def without_first(loader: Loader, count: int) -> Iterable[Batch]:
    """The batches after the first `count`, which are not loaded if the loader has a batch sampler."""
    if count == 0:
        return loader
    if not isinstance(loader, DataLoader) or loader.batch_sampler is None:
        return islice(loader, count, None)
    return DataLoader(
        loader.dataset,
        batch_sampler=_Rest(loader.batch_sampler, count),
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        timeout=loader.timeout,
        worker_init_fn=loader.worker_init_fn,
        multiprocessing_context=loader.multiprocessing_context,
        generator=loader.generator,
        prefetch_factor=loader.prefetch_factor,
    )


def restart_workers(loader: Loader) -> None:
    """Stop persistent workers: they hold a copy of the dataset as it was."""
    if isinstance(loader, DataLoader) and loader.persistent_workers:
        loader._iterator = None


class _Rest:
    """A batch sampler without its first batches."""

    def __init__(self, batch_sampler: Iterable[list[int]], count: int) -> None:
        self.batch_sampler = batch_sampler
        self.count = count

    def __iter__(self) -> Iterator[list[int]]:
        return islice(iter(self.batch_sampler), self.count, None)

    def __len__(self) -> int:
        return max(len(self.batch_sampler) - self.count, 0)  # type: ignore[arg-type]  # torch's own need no length
