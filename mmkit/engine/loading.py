"""What a runner asks of a data loader besides batches."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from torch.utils.data import DataLoader


def set_epoch(loader: Any, epoch: int) -> None:
    """Tell the epoch to all parts of a loader that want to know: the order and the augmentation depend on it."""
    batch_sampler = getattr(loader, 'batch_sampler', None)
    parts = [
        loader,
        getattr(loader, 'sampler', None),
        batch_sampler,
        getattr(batch_sampler, 'sampler', None),
        getattr(loader, 'dataset', None),
    ]
    for part in {id(part): part for part in parts}.values():
        if callable(getattr(part, 'set_epoch', None)):
            part.set_epoch(epoch)


def without_first(loader: Any, count: int) -> Any:
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


class _Rest:
    """A batch sampler without its first batches."""

    def __init__(self, batch_sampler: Any, count: int) -> None:
        self.batch_sampler = batch_sampler
        self.count = count

    def __iter__(self) -> Iterator[Any]:
        return islice(iter(self.batch_sampler), self.count, None)

    def __len__(self) -> int:
        return max(len(self.batch_sampler) - self.count, 0)
