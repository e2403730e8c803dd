"""What a hook is: it is told where a training is, and never is the step itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmkit.engine.runner import Runner

PRIORITIES = {
    'HIGHEST': 0,
    'VERY_HIGH': 10,
    'HIGH': 30,
    'ABOVE_NORMAL': 40,
    'NORMAL': 50,
    'BELOW_NORMAL': 60,
    'LOW': 70,
    'VERY_LOW': 90,
    'LOWEST': 100,
}


def priority_value(priority: int | str) -> int:
    """A priority as a number: 0 is called first, 100 last.

    Raises:
        ValueError: for a number outside 0..100 or an unknown word.
    """
    if isinstance(priority, str) and priority.upper() in PRIORITIES:
        return PRIORITIES[priority.upper()]
    if isinstance(priority, int) and 0 <= priority <= 100:
        return priority
    raise ValueError(f'priority {priority!r} is unknown, expected 0 to 100 or one of {", ".join(PRIORITIES)}')


@dataclass(frozen=True)
class Record:
    """What loggers write: averages over some training iterations, or the figures of an evaluation.

    Attributes:
        mode: 'train' or 'val'.
        epoch: counted from 1.
        iter: iterations of this epoch so far, or of the training; for an evaluation, its number of batches.
        values: by name.
    """

    mode: str
    epoch: int
    iter: int
    values: dict[str, float | str] = field(default_factory=dict)


class Hook:
    """Base class: every method does nothing, or calls the one that isn't specific to training or validation.

    `runner.epoch`, `runner.iter` and `runner.inner_iter` count what is complete: in `after_train_iter` the iteration
    that just ended is counted, in `before_train_iter` the coming one isn't.
    """

    priority: int | str = 'NORMAL'

    def before_run(self, runner: Runner) -> None:
        """Before the first epoch; the state of a resumed training is loaded."""

    def after_run(self, runner: Runner) -> None:
        """At the end, whatever happened."""

    def before_epoch(self, runner: Runner) -> None: ...

    def after_epoch(self, runner: Runner) -> None: ...

    def before_iter(self, runner: Runner) -> None: ...

    def after_iter(self, runner: Runner) -> None: ...

    def before_train_epoch(self, runner: Runner) -> None:
        self.before_epoch(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        self.after_epoch(runner)

    def before_train_iter(self, runner: Runner) -> None:
        self.before_iter(runner)

    def after_train_iter(self, runner: Runner) -> None:
        self.after_iter(runner)

    def before_val_epoch(self, runner: Runner) -> None:
        self.before_epoch(runner)

    def after_val_epoch(self, runner: Runner) -> None:
        self.after_epoch(runner)

    def before_val_iter(self, runner: Runner) -> None:
        self.before_iter(runner)

    def after_val_iter(self, runner: Runner) -> None:
        self.after_iter(runner)

    def on_record(self, runner: Runner, record: Record) -> None:
        """Somebody published figures, see `Runner.publish`."""

    def every_n_epochs(self, runner: Runner, n: int) -> bool:
        return n > 0 and runner.epoch % n == 0

    def every_n_iters(self, runner: Runner, n: int) -> bool:
        return n > 0 and runner.iter % n == 0

    def every_n_inner_iters(self, runner: Runner, n: int) -> bool:
        return n > 0 and runner.inner_iter % n == 0

    def end_of_epoch(self, runner: Runner) -> bool:
        return runner.inner_iter == runner.iters_per_epoch

    def is_last_epoch(self, runner: Runner) -> bool:
        return runner.epoch == runner.max_epochs

    def is_last_iter(self, runner: Runner) -> bool:
        return runner.iter == runner.max_iters
