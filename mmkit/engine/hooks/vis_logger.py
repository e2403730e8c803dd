"""The log in the manner of mmdetection 3.x."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from mmkit.engine.hook import Record, Trainer
from mmkit.engine.hooks.logger import LoggerHook, Pace, copy_logs, learning_rate
from mmkit.engine.log_processor import LogProcessor
from mmkit.protocols import VisBackend
from mmkit.registry import HOOKS, VIS_BACKENDS, Cfg, check_arguments, located
from mmkit.utils.dist import is_main
from mmkit.utils.files import check_disk


@HOOKS.register_module(name='LoggerHook')
class VisLoggerHook(LoggerHook):
    """Lines for people to the log, and figures to the backends of a visualizer, under the names of mmdetection 3.x.

    Files are in `<work_dir>/<timestamp>`, those of the backends in its `vis_data`. The step of a figure is its
    iteration; of an evaluation it is the epoch.

    Args:
        interval: iterations between records.
        ignore_last: no record at the end of an epoch for fewer iterations than the interval, unless it has no other.
        interval_exp_name: iterations between lines with the name of the experiment.
        out_dir: copy the files to a directory with the name of the work directory in here at the end.
        out_suffix: endings of the files to copy.
        keep_local: keep the copied files in the work directory too.
        file_client_args, backend_args: only None or the disk.
        log_metric_by_epoch: False makes the iteration the step of an evaluation, too.
        processor: arguments of `LogProcessor`.
        backends: configs of visualization backends.
        by_epoch: default of the processor's.
    """

    def __init__(
        self,
        interval: int = 10,
        ignore_last: bool = True,
        interval_exp_name: int = 1000,
        out_dir: str | None = None,
        out_suffix: str | Sequence[str] = ('.json', '.log', '.py', 'yaml'),
        keep_local: bool = True,
        file_client_args: Mapping[str, Any] | None = None,
        log_metric_by_epoch: bool = True,
        backend_args: Mapping[str, Any] | None = None,
        processor: Cfg | None = None,
        backends: Sequence[Cfg] = ({'type': 'LocalVisBackend'},),
        by_epoch: bool = True,
    ) -> None:
        super().__init__(interval, ignore_last)
        check_disk(file_client_args)
        check_disk(backend_args)
        settings = {'by_epoch': by_epoch, **(processor or {})}
        with located(processor or {}):
            check_arguments(LogProcessor, settings)
            self.processor = LogProcessor(**settings)
        self.backends: list[VisBackend] = [VIS_BACKENDS.build(backend) for backend in backends]
        self.interval_exp_name = interval_exp_name
        self.out_dir = out_dir
        self.out_suffix = (out_suffix,) if isinstance(out_suffix, str) else tuple(out_suffix)
        self.keep_local = keep_local
        self.log_metric_by_epoch = log_metric_by_epoch
        self._pace = Pace()
        self._opened: list[VisBackend] = []

    def before_run(self, runner: Trainer) -> None:
        self.processor.widen(runner.meters, runner.iters_per_epoch, runner.max_iters)
        self._pace.begin(runner)
        if not is_main():
            return
        directory = runner.work_dir / runner.timestamp / 'vis_data'
        for backend in self.backends:
            backend.open(directory, runner.meta.get('config', ''), runner.module)
            self._opened.append(backend)

    def after_train_iter(self, runner: Trainer) -> None:
        self._pace.add(runner)
        if self._is_due(runner):
            runner.read_losses()
            self.write(runner, self._record(runner))
        if runner.meta.get('exp_name') and runner.iter % self.interval_exp_name == 0:
            runner.logger.info('Exp name: %s', runner.meta['exp_name'])

    def _is_due(self, runner: Trainer) -> bool:
        if not self.processor.by_epoch:
            return runner.iter % self.interval == 0
        if runner.inner_iter % self.interval == 0:
            return True
        is_short = runner.iters_per_epoch <= self.interval
        return self.end_of_epoch(runner) and (is_short or not self.ignore_last)

    def _record(self, runner: Trainer) -> Record:
        figures = self.processor.figures(runner.meters, runner.inner_iter)
        first = ('data_time', 'grad_norm', 'loss')
        others = [name for name in figures if name not in (*first, 'time')]
        ordered = [name for name in (*first, *others, 'time') if name in figures]
        values = {'lr': learning_rate(runner)} | {name: figures[name] for name in ordered}
        return Record('train', runner.epoch + 1, runner.iter, dict(values))

    def write(self, runner: Trainer, record: Record) -> None:
        if not is_main():
            return
        is_train = record.mode == 'train'
        if is_train and runner.device.type == 'cuda':
            record.values['memory'] = torch.cuda.max_memory_allocated(runner.device) // 2**20
        runner.logger.info('%s', self.processor.line(runner, record, self._pace.left(runner) if is_train else None))
        by_epoch = self.processor.by_epoch and self.log_metric_by_epoch
        step = record.epoch if by_epoch and not is_train else runner.iter
        values = self.processor.tags(record)
        if is_train:
            values |= {'epoch': record.epoch} if self.processor.by_epoch else {}
            values |= {'iter': runner.iter}
        for backend in self.backends:
            backend.add_scalars(values, step)

    def after_run(self, runner: Trainer) -> None:
        while self._opened:
            self._opened.pop().close()
        if self.out_dir is not None and is_main():
            paths = (runner.work_dir / runner.timestamp).rglob('*')
            copy_logs(paths, runner, self.out_dir, self.out_suffix, self.keep_local)
