"""Hooks that log a training: text and JSON lines, tensorboard, a progress bar."""

from __future__ import annotations

import datetime
import json
import math
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from tqdm import tqdm

from mmkit.engine.hook import Hook, Record, Trainer
from mmkit.errors import InvalidValueError, MissingPackageError
from mmkit.registry import HOOKS
from mmkit.utils.dist import is_main
from mmkit.utils.files import check_disk
from mmkit.utils.progress import track

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class LoggerHook(Hook):
    """Makes a record of the averages every `interval` iterations and writes it, like those that others publish.

    Args:
        interval: iterations between records.
        ignore_last: no record at the end of an epoch for fewer iterations than the interval.
        reset_flag: forget everything that is averaged after a record.
        by_epoch: count the iterations of an epoch instead of those of the training.
    """

    priority = 'VERY_LOW'

    def __init__(
        self, interval: int = 10, ignore_last: bool = True, reset_flag: bool = False, by_epoch: bool = True
    ) -> None:
        if not isinstance(interval, int) or interval < 1:
            message = f'log_config.interval is {interval!r}, expected a positive whole number'
            raise InvalidValueError(message, key='interval')
        self.interval = interval
        self.ignore_last = ignore_last
        self.reset_flag = reset_flag
        self.by_epoch = by_epoch

    def before_run(self, runner: Trainer) -> None:
        runner.meters.widen(self.interval)

    def after_train_iter(self, runner: Trainer) -> None:
        count = runner.inner_iter if self.by_epoch else runner.iter
        over = count % self.interval
        if over and (self.ignore_last or not self.end_of_epoch(runner)):
            return
        runner.read_losses()
        values: dict[str, float | str] = {'lr': learning_rate(runner), **runner.meters.averages(over or self.interval)}
        self.write(runner, Record('train', runner.epoch + 1, count, values))
        if self.reset_flag:
            runner.meters.clear()

    def on_record(self, runner: Trainer, record: Record) -> None:
        self.write(runner, record)

    def write(self, runner: Trainer, record: Record) -> None:
        raise NotImplementedError


class Pace:
    """Seconds that the iterations of this run have taken, and so the time that is left."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._start = 0

    def begin(self, runner: Trainer) -> None:
        self._start, self._seconds = runner.iter, 0.0

    def add(self, runner: Trainer) -> None:
        """After an iteration, once its `time` has been measured."""
        self._seconds += runner.meters.averages(1).get('time', 0.0)

    def left(self, runner: Trainer) -> str:
        """Time until the end of the training, as 1 day, 2:03:04."""
        seconds = self._seconds / max(runner.iter - self._start, 1) * (runner.max_iters - runner.iter)
        return str(datetime.timedelta(seconds=int(seconds)))


def copy_logs(
    paths: Iterable[Path], runner: Trainer, out_dir: str, suffixes: tuple[str, ...], keep_local: bool
) -> None:
    """Copy files of the work directory with some endings to a directory of its name.

    Args:
        out_dir: where that is made.
        keep_local: otherwise the files are moved.
    """
    target = Path(out_dir) / runner.work_dir.resolve().name
    for path in sorted(paths):
        if path.is_file() and path.name.endswith(suffixes):
            copied = target / path.relative_to(runner.work_dir)
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, copied)
            if not keep_local:
                path.unlink()


def learning_rate(runner: Trainer) -> float:
    """Learning rate of the first parameter group."""
    return float(runner.param_groups[0]['lr'])


@HOOKS.register_module()
class TextLoggerHook(LoggerHook):
    """Lines for people to the log, and for programs to `<timestamp>.log.json` in the work directory.

    The first line of the JSON file tells environment, config and seed; each other one mode, epoch, iter, lr and the
    averages.

    Args:
        interval, ignore_last, reset_flag, by_epoch: as in `LoggerHook`.
        interval_exp_name: iterations between lines with the name of the experiment.
        out_dir: copy the log files to a directory with the name of the work directory in here at the end.
        out_suffix: endings of the files to copy.
        keep_local: keep the copied files in the work directory too.
        file_client_args: only None or dict(backend='disk').
    """

    def __init__(
        self,
        by_epoch: bool = True,
        interval: int = 10,
        ignore_last: bool = True,
        reset_flag: bool = False,
        interval_exp_name: int = 1000,
        out_dir: str | None = None,
        out_suffix: str | Sequence[str] = ('.log.json', '.log', '.py'),
        keep_local: bool = True,
        file_client_args: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(interval, ignore_last, reset_flag, by_epoch)
        check_disk(file_client_args)
        self.interval_exp_name = interval_exp_name
        self.out_dir = out_dir
        self.out_suffix = (out_suffix,) if isinstance(out_suffix, str) else tuple(out_suffix)
        self.keep_local = keep_local
        self._pace = Pace()

    def before_run(self, runner: Trainer) -> None:
        super().before_run(runner)
        self._pace.begin(runner)
        if is_main():
            runner.work_dir.mkdir(parents=True, exist_ok=True)
            self._dump(runner, {key: value for key, value in runner.meta.items() if _is_plain(value)})

    def after_train_iter(self, runner: Trainer) -> None:
        self._pace.add(runner)
        super().after_train_iter(runner)
        if runner.meta.get('exp_name') and runner.iter % self.interval_exp_name == 0:
            runner.logger.info('Exp name: %s', runner.meta['exp_name'])

    def write(self, runner: Trainer, record: Record) -> None:
        if not is_main():
            return
        values = dict(record.values)
        if record.mode == 'train' and runner.device.type == 'cuda':
            values['memory'] = torch.cuda.max_memory_allocated(runner.device) // 2**20
        lr = float(values.pop('lr', learning_rate(runner)))
        runner.logger.info('%s', self._line(runner, record, lr, dict(values)))
        first = ('memory', 'data_time')
        ordered = {name: values[name] for name in first if name in values}
        ordered |= {name: value for name, value in values.items() if name not in ('time', *first)}
        ordered |= {'time': values['time']} if 'time' in values else {}
        entry = {'mode': record.mode, 'epoch': record.epoch, 'iter': record.iter, 'lr': float(f'{lr:.5g}'), **ordered}
        self._dump(runner, {k: round(v, 5) if isinstance(v, float) and k != 'lr' else v for k, v in entry.items()})

    def _line(self, runner: Trainer, record: Record, lr: float, values: dict[str, float | str]) -> str:
        length = len(runner.train_loader)
        if record.mode == 'val':
            head = f'Epoch(val) [{record.epoch}][{record.iter}]' if self.by_epoch else f'Iter(val) [{record.iter}]'
            return head + '\t' + ', '.join(f'{name}: {_shown(value)}' for name, value in values.items())
        if self.by_epoch:
            head = f'Epoch [{record.epoch}][{record.iter}/{length}]'
        else:
            head = f'Iter [{record.iter}/{runner.max_iters}]'
        parts = [f'lr: {lr:.3e}']
        if 'time' in values:
            parts.append(f'eta: {self._pace.left(runner)}')
            parts += [f'time: {values.pop("time"):.3f}', f'data_time: {values.pop("data_time"):.3f}']
        if 'memory' in values:
            parts.append(f'memory: {values.pop("memory")}')
        return head + '\t' + ', '.join(parts + [f'{name}: {_shown(value)}' for name, value in values.items()])

    def _dump(self, runner: Trainer, entry: Mapping[str, Any]) -> None:
        with open(runner.work_dir / f'{runner.timestamp}.log.json', 'a', encoding='utf-8') as file:
            file.write(json.dumps(entry) + '\n')

    def after_run(self, runner: Trainer) -> None:
        if self.out_dir is not None and is_main():
            copy_logs(runner.work_dir.iterdir(), runner, self.out_dir, self.out_suffix, self.keep_local)


def _shown(value: float | str) -> str:
    return f'{value:.4f}' if isinstance(value, float) else str(value)


def _is_plain(value: object) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True


@HOOKS.register_module()
class TensorboardLoggerHook(LoggerHook):
    """Curves for tensorboard (`tensorboard --logdir <work_dir>/tf_logs`).

    Args:
        log_dir: by default tf_logs in the work directory.
        interval, ignore_last, reset_flag, by_epoch: as in `LoggerHook`.

    Raises:
        MissingPackageError: tensorboard is not installed.
    """

    def __init__(
        self,
        log_dir: str | None = None,
        interval: int = 10,
        ignore_last: bool = True,
        reset_flag: bool = False,
        by_epoch: bool = True,
    ) -> None:
        super().__init__(interval, ignore_last, reset_flag, by_epoch)
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            message = 'TensorboardLoggerHook needs tensorboard: pip install tensorboard'
            raise MissingPackageError(message, key='type') from error
        self._open = SummaryWriter
        self.log_dir = log_dir
        self.writer: SummaryWriter | None = None

    def before_run(self, runner: Trainer) -> None:
        super().before_run(runner)
        if is_main():
            self.writer = self._open(self.log_dir or str(runner.work_dir / 'tf_logs'))

    def write(self, runner: Trainer, record: Record) -> None:
        if self.writer is None:
            return
        for name, value in record.values.items():
            tag = 'learning_rate' if name == 'lr' else f'{record.mode}/{name}'
            if isinstance(value, str):
                self.writer.add_text(tag, value, runner.iter)
            else:
                self.writer.add_scalar(tag, value, runner.iter)

    def after_run(self, runner: Trainer) -> None:
        if self.writer is not None:
            self.writer.close()


class ProgressHook(Hook):
    """A progress bar over the iterations of the whole training."""

    priority = 'LOWEST'

    def __init__(self) -> None:
        self.bar: tqdm[Any] | None = None

    def before_run(self, runner: Trainer) -> None:
        self.bar = track(total=runner.max_iters, desc='training', initial=runner.iter, unit='it')

    def after_train_iter(self, runner: Trainer) -> None:
        if self.bar is None:
            return
        averages = runner.meters.averages(1)  # of the latest loss that has been read
        self.bar.set_postfix(epoch=runner.epoch + 1, loss=f'{averages.get("loss", math.nan):.4f}', refresh=False)
        self.bar.update()

    def after_run(self, runner: Trainer) -> None:
        if self.bar is not None:
            self.bar.close()
