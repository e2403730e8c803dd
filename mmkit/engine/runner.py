"""The training loop, by epochs or by iterations."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from mmkit.engine.base_runner import Runner, Workflow
from mmkit.engine.loading import Loader, without_first
from mmkit.errors import InvalidValueError
from mmkit.registry import RUNNERS
from mmkit.structures import Batch

__all__ = ['EpochBasedRunner', 'IterBasedRunner', 'Runner']


@RUNNERS.register_module()
class EpochBasedRunner(Runner):
    """Trains for `max_epochs` passes over the dataset; a workflow counts epochs."""

    def _length(self, max_epochs: int | None, max_iters: int | None) -> tuple[int, int]:
        if not isinstance(max_epochs, int) or max_epochs < 1 or max_iters is not None:
            raise InvalidValueError(
                'runner EpochBasedRunner needs max_epochs, a positive number, and no max_iters, '
                f'got max_epochs={max_epochs!r}, max_iters={max_iters!r}',
                key='max_epochs',
            )
        return max_epochs, 0

    def _set_length(self) -> None:
        self.max_iters = self.max_epochs * self.iters_per_epoch

    def _loop(self, loaders: Sequence[Loader], workflow: Workflow) -> None:
        done = _done_in_round(self.epoch, workflow)
        while self.epoch < self.max_epochs and not self.is_stopped:
            for loader, (mode, times) in zip(loaders, workflow):
                if mode == 'train':
                    times, done = max(times - done, 0), max(done - times, 0)
                    for _ in range(min(times, self.max_epochs - self.epoch)):
                        self._train_epoch(loader)
                        if self.is_stopped:
                            return
                elif not done:
                    for _ in range(times):
                        self._val_pass(loader, iter(loader))

    def _train_epoch(self, loader: Loader) -> None:
        if not self.inner_iter:
            self.read_losses()
            self.meters.clear()
        for batch in self._begin_epoch(loader):
            self._train_iter(batch)
        self._end_epoch()


@RUNNERS.register_module()
class IterBasedRunner(Runner):
    """Trains for `max_iters` batches; a workflow counts iterations. Epochs go on underneath."""

    def _length(self, max_epochs: int | None, max_iters: int | None) -> tuple[int, int]:
        if not isinstance(max_iters, int) or max_iters < 1 or max_epochs is not None:
            raise InvalidValueError(
                'runner IterBasedRunner needs max_iters, a positive number, and no max_epochs, '
                f'got max_iters={max_iters!r}, max_epochs={max_epochs!r}',
                key='max_iters',
            )
        return 0, max_iters

    def _set_length(self) -> None:
        self.max_epochs = math.ceil(self.max_iters / self.iters_per_epoch)
        if not self.inner_iter and self.iter != self.epoch * self.iters_per_epoch:  # mmdetection counts no epochs here
            self.epoch, self.inner_iter = divmod(self.iter, self.iters_per_epoch)

    def _loop(self, loaders: Sequence[Loader], workflow: Workflow) -> None:
        done = _done_in_round(self.iter, workflow)
        rounds = (self.iter - done) // _round_length(workflow)
        batches: dict[int, Iterator[Batch]] = {}
        while self.iter < self.max_iters and not self.is_stopped:
            for index, (loader, (mode, times)) in enumerate(zip(loaders, workflow)):
                if mode == 'train':
                    endless = batches.setdefault(index, self._train_batches(loader))
                    times, done = max(times - done, 0), max(done - times, 0)
                    for _ in range(min(times, self.max_iters - self.iter)):
                        self.mode, self.loader = 'train', loader
                        self._train_iter(next(endless))
                        if self.is_stopped:
                            break
                elif not done:
                    endless = batches.setdefault(index, _forever(loader, rounds * times))
                    self._val_pass(loader, (next(endless) for _ in range(times)))
        if self.inner_iter == self.iters_per_epoch:
            self._end_epoch()

    def _train_batches(self, loader: Loader) -> Iterator[Batch]:
        while True:
            yield from self._begin_epoch(loader)
            self._end_epoch()


def _round_length(workflow: Workflow) -> int:
    return sum(times for mode, times in workflow if mode == 'train')


def _done_in_round(count: int, workflow: Workflow) -> int:
    """Training of the current round of the workflow that a resumed run has behind it.

    A checkpoint is written before the validation that follows, so at the end of a round all of its training is done.
    """
    return (count - 1) % _round_length(workflow) + 1 if count else 0


def _forever(loader: Loader, start: int) -> Iterator[Batch]:
    """Batches without end, beginning with batch `start`."""
    yield from without_first(loader, start % len(loader))
    while True:
        yield from loader
