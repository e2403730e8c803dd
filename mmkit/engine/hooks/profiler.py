"""A profile of the first iterations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import profiler

from mmkit.engine.hook import Hook, Trainer
from mmkit.errors import InvalidValueError
from mmkit.registry import HOOKS

_ACTIVITIES = {'cpu': profiler.ProfilerActivity.CPU, 'cuda': profiler.ProfilerActivity.CUDA}


@HOOKS.register_module()
class ProfilerHook(Hook):
    """Runs torch.profiler over the first iterations (or epochs).

    Args:
        by_epoch: profile_iters counts epochs.
        profile_iters: how many to profile.
        activities: of 'cpu' and 'cuda'.
        schedule: arguments of `torch.profiler.schedule`.
        on_trace_ready: a function of the profiler; dict(type='log_trace', sort_by=, row_limit=) logs a table;
            dict(type='tb_trace', dir_name=) writes for tensorboard, by default to tf_logs in the work directory.
        record_shapes, profile_memory, with_stack, with_flops: as in `torch.profiler.profile`.
        json_trace_path: file for a trace in Chrome's format.
    """

    def __init__(
        self,
        by_epoch: bool = True,
        profile_iters: int = 1,
        activities: Sequence[str] = ('cpu', 'cuda'),
        schedule: Mapping[str, int] | None = None,
        on_trace_ready: Callable[[profiler.profile], None] | Mapping[str, Any] | None = None,
        record_shapes: bool = False,
        profile_memory: bool = False,
        with_stack: bool = False,
        with_flops: bool = False,
        json_trace_path: str | None = None,
    ) -> None:
        unknown = [name for name in activities if name not in _ACTIVITIES]
        if unknown:
            message = f"ProfilerHook.activities has {unknown[0]!r}, expected some of 'cpu', 'cuda'"
            raise InvalidValueError(message, key='activities')
        if profile_iters < 1:
            message = f'ProfilerHook.profile_iters is {profile_iters}, expected a positive number'
            raise InvalidValueError(message, key='profile_iters')
        if isinstance(on_trace_ready, Mapping) and on_trace_ready.get('type') not in ('log_trace', 'tb_trace'):
            message = f"ProfilerHook.on_trace_ready is {on_trace_ready}, expected type 'log_trace' or 'tb_trace'"
            raise InvalidValueError(message, key='on_trace_ready')
        self.by_epoch = by_epoch
        self.profile_iters = profile_iters
        self.activities = [_ACTIVITIES[name] for name in activities if name == 'cpu' or torch.cuda.is_available()]
        self.schedule = profiler.schedule(**schedule) if schedule else None
        self.on_trace_ready = on_trace_ready
        self.record_shapes = record_shapes
        self.profile_memory = profile_memory
        self.with_stack = with_stack
        self.with_flops = with_flops
        self.json_trace_path = json_trace_path
        self._profiler: profiler.profile | None = None
        self._done = 0

    def before_run(self, runner: Trainer) -> None:
        self._profiler = profiler.profile(
            activities=self.activities,
            schedule=self.schedule,
            on_trace_ready=self._handler(runner),
            record_shapes=self.record_shapes,
            profile_memory=self.profile_memory,
            with_stack=self.with_stack,
            with_flops=self.with_flops,
        )
        self._profiler.start()

    def _handler(self, runner: Trainer) -> Callable[[profiler.profile], None] | None:
        if not isinstance(self.on_trace_ready, Mapping):
            return self.on_trace_ready
        arguments = {key: value for key, value in self.on_trace_ready.items() if key != 'type'}
        if self.on_trace_ready['type'] == 'tb_trace':
            handler: Callable[[profiler.profile], None] = profiler.tensorboard_trace_handler(
                arguments.pop('dir_name', str(runner.work_dir / 'tf_logs')), **arguments
            )
            return handler
        sort_by, rows = arguments.get('sort_by', 'self_cpu_time_total'), arguments.get('row_limit', 100)
        return lambda prof: runner.logger.info('%s', prof.key_averages().table(sort_by=sort_by, row_limit=rows))

    def after_train_iter(self, runner: Trainer) -> None:
        if self._profiler is not None:
            self._profiler.step()
            if not self.by_epoch:
                self._count(runner)

    def after_train_epoch(self, runner: Trainer) -> None:
        if self._profiler is not None and self.by_epoch:
            self._count(runner)

    def after_run(self, runner: Trainer) -> None:
        self._stop(runner)

    def _count(self, runner: Trainer) -> None:
        self._done += 1
        if self._done == self.profile_iters:
            self._stop(runner)

    def _stop(self, runner: Trainer) -> None:
        if self._profiler is None:
            return
        self._profiler.stop()
        if self.json_trace_path is not None:
            self._profiler.export_chrome_trace(self.json_trace_path)
        self._profiler = None
        runner.logger.info('profiling has ended')
