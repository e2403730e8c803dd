"""Log entries in the manner of mmdetection 3.x: the choice of figures, their averages, and the lines of text."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from mmkit.engine.hook import Record, Trainer
from mmkit.engine.meters import Meters
from mmkit.errors import InvalidValueError
from mmkit.registry import Cfg, check_arguments

Window = int | Literal['epoch', 'global']

_METHODS: Mapping[str, Callable[[Sequence[float]], float]] = {
    'mean': statistics.fmean,
    'max': max,
    'min': min,
    'current': lambda values: values[-1],
}
_TIMES = ('time', 'data_time')


@dataclass(frozen=True)
class Statistic:
    """A figure besides the usual ones.

    Attributes:
        data_src: name of what is measured, such as 'loss'.
        method_name: 'mean', 'max', 'min' or 'current'.
        log_name: of the figure; None replaces the usual one of `data_src`.
        window_size: number of values, or all of this 'epoch', or of the training ('global').

    Raises:
        InvalidValueError: for another method or window.
    """

    data_src: str
    method_name: str = 'mean'
    log_name: str | None = None
    window_size: Window = 1

    def __post_init__(self) -> None:
        if self.method_name not in _METHODS:
            message = f'method_name is {self.method_name!r}, expected one of {", ".join(_METHODS)}'
            raise InvalidValueError(message, key='method_name')
        _check_window(self.window_size)

    def of(self, values: Sequence[float], done_in_epoch: int) -> float:
        """Its value.

        Args:
            values: everything that was measured and is kept.
            done_in_epoch: iterations.
        """
        size = done_in_epoch if self.window_size == 'epoch' else self.window_size
        return _METHODS[self.method_name](values if size == 'global' else values[-size:])


class LogProcessor:
    """Figures and lines of a log.

    Args:
        window_size: number of iterations over which means are taken.
        by_epoch: lines count the iterations of an epoch; otherwise those of the training.
        custom_cfg: arguments of more figures, see `Statistic`.
        num_digits: behind the point, in lines.
        log_with_hierarchy: write 'train/' and 'val/' before the names.
        mean_pattern: regular expression for names of which a mean is taken; of others it is the latest value.

    Raises:
        InvalidValueError: naming the argument that is wrong.
    """

    def __init__(
        self,
        window_size: int = 10,
        by_epoch: bool = True,
        custom_cfg: Sequence[Cfg] | None = None,
        num_digits: int = 4,
        log_with_hierarchy: bool = False,
        mean_pattern: str = r'.*(loss|time|data_time|grad_norm).*',
    ) -> None:
        if not isinstance(window_size, int):
            raise InvalidValueError(f'window_size is {window_size!r}, expected a whole number', key='window_size')
        _check_window(window_size)
        self.window_size = window_size
        self.by_epoch = by_epoch
        for cfg in custom_cfg or ():
            check_arguments(Statistic, cfg)
        self.statistics = [Statistic(**cfg) for cfg in custom_cfg or ()]
        if not by_epoch and any(each.window_size == 'epoch' for each in self.statistics):
            raise InvalidValueError("window_size='epoch' needs by_epoch=True", key='custom_cfg')
        self.num_digits = num_digits
        self.log_with_hierarchy = log_with_hierarchy
        self.mean_pattern = re.compile(mean_pattern)

    def widen(self, meters: Meters, iters_per_epoch: int, max_iters: int) -> None:
        """Let the meters keep as many values as the windows need."""
        lengths = {'epoch': iters_per_epoch, 'global': max_iters}
        for window in (self.window_size, *(each.window_size for each in self.statistics)):
            meters.widen(lengths[window] if isinstance(window, str) else window)

    def figures(self, meters: Meters, done_in_epoch: int) -> dict[str, float]:
        """The figures of a training by name.

        Args:
            done_in_epoch: iterations.
        """
        histories = meters.histories()
        chosen = {}
        for name, values in histories.items():
            is_mean = self.mean_pattern.match(name)
            chosen[name] = statistics.fmean(values[-self.window_size :]) if is_mean else values[-1]
        for each in self.statistics:
            if each.data_src in histories:
                chosen[each.log_name or each.data_src] = each.of(histories[each.data_src], done_in_epoch)
        return chosen

    def tags(self, record: Record) -> dict[str, float | str]:
        """The values of a record under the names of the log."""
        prefix = f'{record.mode}/' if self.log_with_hierarchy else ''
        return {f'{prefix}{name}': value for name, value in record.values.items()}

    def line(self, runner: Trainer, record: Record, eta: str | None) -> str:
        """A record for people.

        Args:
            eta: time until the end of the training, if it is known.
        """
        values = dict(record.values)
        parts = [self._head(runner, record)]
        if 'lr' in values:
            parts.append(f'lr: {values.pop("lr"):.{self.num_digits}e}')
        parts += [f'eta: {eta}'] if eta is not None else []
        parts += [f'{name}: {values.pop(name):.{self.num_digits}f}' for name in _TIMES if name in values]
        parts += [f'memory: {values.pop("memory")}'] if 'memory' in values else []
        for name, value in values.items():
            parts.append(f'{name}: {value:.{self.num_digits}f}' if isinstance(value, float) else f'{name}: {value}')
        return '  '.join(parts)

    def _head(self, runner: Trainer, record: Record) -> str:
        if record.mode == 'val':
            batches = f'{record.iter}/{record.iter}'
            return f'Epoch(val) [{record.epoch}][{batches}]' if self.by_epoch else f'Iter(val) [{record.iter}]'
        if not self.by_epoch:
            return f'Iter(train) [{runner.iter:>{len(str(runner.max_iters))}}/{runner.max_iters}]'
        epoch, total = f'{record.epoch:>{len(str(runner.max_epochs))}}', runner.iters_per_epoch
        return f'Epoch(train) [{epoch}][{runner.inner_iter:>{len(str(total))}}/{total}]'


def _check_window(window: Window) -> None:
    if window not in ('epoch', 'global') and (not isinstance(window, int) or window < 1):
        message = f"window_size is {window!r}, expected a positive whole number, 'epoch' or 'global'"
        raise InvalidValueError(message, key='window_size')
