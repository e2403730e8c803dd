"""Evaluation during a training, and the best checkpoint."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from torch import distributed, nn
from torch.utils.data import DataLoader

from mmkit.datasets import build_metrics
from mmkit.dialects.v2 import EVAL_HOOK_KEYS
from mmkit.engine.hook import Hook, Record, Trainer
from mmkit.engine.hooks.checkpoint import output_directory
from mmkit.engine.predict import check_masks, run_metrics
from mmkit.engine.state import Best
from mmkit.errors import ConfigError, InvalidTypeError, InvalidValueError
from mmkit.metrics import DatasetMetric, compute_metrics
from mmkit.metrics.base import as_dataset_metric
from mmkit.protocols import Metric
from mmkit.registry import HOOKS
from mmkit.structures import Prediction
from mmkit.utils.dist import broadcast_object, get_world_size, is_main
from mmkit.utils.files import check_disk
from mmkit.utils.names import nearest
from mmkit.utils.weights import read_weights

# Parts of metric names; those of losses come first, as 'loss_AP' would still be a loss.
_LESS_IS_BETTER = ('loss',)
_MORE_IS_BETTER = ('mAP', 'AR@', 'AP', 'acc', 'top', 'auc', 'precision', 'recall', 'mDice', 'mIoU', 'PQ')


@HOOKS.register_module(name=['EvalHook', 'DistEvalHook'])
class EvalHook(Hook):
    """Predicts a whole dataset, by one process or several, and publishes the figures of some metrics.

    Args:
        dataloader: over the dataset, in its order.
        start: first epoch with an evaluation; reached already by a training that is resumed or begins (0), it is
            evaluated before training too. None: after the first interval.
        interval: epochs (or iterations) between evaluations.
        by_epoch: count epochs.
        save_best: name of the figure that decides which checkpoint is the best, 'auto' for the first one, None for no
            best checkpoint.
        rule: 'greater' or 'less' is better; None: by the figure's name.
        test_fn: (model, dataloader) -> predictions for all images in order; for metrics that are `DatasetMetric`s.
        greater_keys, less_keys: parts of names of figures for the rule, besides the usual ones.
        out_dir: where the best checkpoint goes, as in `CheckpointHook`.
        dynamic_intervals: [(epoch, interval), ...]: from that epoch on, this interval.
        begin: first epoch after which there may be an evaluation; unlike `start` it does not move the others.
        at_end: evaluate at the end of the training in any case.
        file_client_args: only None or dict(backend='disk').
        broadcast_bn_buffer: give all processes the norm statistics of the first one before.
        eval_args: arguments of `build_metrics`: `metric` and its options, and `metrics`.
        metrics: in place of `eval_args`, metrics with the ground truth of the dataset.

    Raises:
        UserError: naming the argument that is wrong, also one of a metric.
    """

    priority = 'LOW'

    def __init__(
        self,
        dataloader: DataLoader[Any],
        start: int | None = None,
        interval: int = 1,
        by_epoch: bool = True,
        save_best: str | None = None,
        rule: str | None = None,
        test_fn: Callable[[nn.Module, DataLoader[Any]], Sequence[Prediction]] | None = None,
        greater_keys: Sequence[str] | None = None,
        less_keys: Sequence[str] | None = None,
        out_dir: str | None = None,
        dynamic_intervals: Sequence[tuple[int, int]] | None = None,
        file_client_args: Mapping[str, Any] | None = None,
        broadcast_bn_buffer: bool = True,
        begin: int = 1,
        at_end: bool = False,
        eval_args: Mapping[str, Any] | None = None,
        metrics: Sequence[Metric] | None = None,
    ) -> None:
        check_disk(file_client_args)
        if not isinstance(interval, int) or interval < 1:
            message = f'evaluation.interval is {interval!r}, expected a positive whole number'
            raise InvalidValueError(message, key='interval')
        if start is not None and start < 0:
            raise InvalidValueError(f'evaluation.start is {start}, expected at least 0', key='start')
        if rule not in (None, 'greater', 'less'):
            message = f"evaluation.rule is {rule!r}, expected 'greater', 'less' or None"
            raise InvalidValueError(message, key='rule')
        self.dataloader = dataloader
        self.start = start
        self.intervals = [(0, interval), *((int(first), int(each)) for first, each in dynamic_intervals or [])]
        self.by_epoch = by_epoch
        self.save_best = save_best
        self.rule = rule
        self.test_fn = test_fn
        self.greater_keys = (*_as_tuple(greater_keys), *_MORE_IS_BETTER)
        self.less_keys = (*_as_tuple(less_keys), *_LESS_IS_BETTER)
        self.out_dir = out_dir
        self.broadcast_bn_buffer = broadcast_bn_buffer
        self.begin = begin
        self.at_end = at_end
        self.metrics = _build_metrics(dataloader.dataset, eval_args or {}) if metrics is None else list(metrics)
        self._check_metrics()
        self._has_begun = False

    def _check_metrics(self) -> None:
        if self.test_fn is not None:
            for metric in self.metrics:
                as_dataset_metric(metric)
        known = [metric.names for metric in self.metrics if isinstance(metric, DatasetMetric)]
        names = [name for each in known for name in each]
        if len(known) == len(self.metrics) and all(known) and self.save_best not in (None, 'auto', *names):
            raise _unknown_figure(str(self.save_best), names)

    def before_run(self, runner: Trainer) -> None:
        check_masks(runner.module, self.metrics)
        if runner.iter and self.save_best is not None:
            self._find_best(runner)

    def before_train_epoch(self, runner: Trainer) -> None:
        first, self._has_begun = not self._has_begun, True
        done = runner.epoch if self.by_epoch else runner.iter
        if first and self.start is not None and done >= self.start:
            self._evaluate(runner)

    def after_train_epoch(self, runner: Trainer) -> None:
        if self.by_epoch and (self._is_due(runner.epoch) or (self.at_end and self.is_last_epoch(runner))):
            self._evaluate(runner)

    def after_train_iter(self, runner: Trainer) -> None:
        if not self.by_epoch and (self._is_due(runner.iter) or (self.at_end and self.is_last_iter(runner))):
            self._evaluate(runner)

    def _is_due(self, done: int) -> bool:
        interval = self.intervals[bisect_right([begin for begin, _ in self.intervals], done) - 1][1]
        if self.start is None:
            return done >= self.begin and done % interval == 0
        return done >= self.start and (done - self.start) % interval == 0

    def _evaluate(self, runner: Trainer) -> None:
        with runner.evaluation_mode() as model:
            if self.broadcast_bn_buffer and get_world_size() > 1:
                _broadcast_norm_statistics(model)
            values = self._figures(model)
        epoch = runner.epoch + bool(runner.inner_iter)
        number = len(self.dataloader) if self.by_epoch else runner.iter
        runner.publish(Record('val', epoch, number, values))
        if self.save_best is not None and values:
            self._keep_best(runner, values)

    def _figures(self, model: nn.Module) -> dict[str, float | str]:
        if self.test_fn is None:
            return run_metrics(model, self.dataloader, self.metrics)
        outputs = self.test_fn(model, self.dataloader)
        values = compute_metrics(self.metrics, outputs) if is_main() else {}
        return broadcast_object(values)

    def _keep_best(self, runner: Trainer, values: Mapping[str, float | str]) -> None:
        key = next(iter(values)) if self.save_best == 'auto' else self.save_best
        assert key is not None
        if key not in values:
            raise _unknown_figure(key, values)
        score = float(values[key])
        best = runner.best.get('score')
        if best is not None and not (score > best if self._rule(key) == 'greater' else score < best):
            return
        old = runner.best.get('path')
        kind, number = ('epoch', runner.epoch) if self.by_epoch else ('iter', runner.iter)
        path = output_directory(runner, self.out_dir) / f'best_{key.replace("/", "_")}_{kind}_{number}.pth'
        runner.best = {'key': key, 'score': score, 'path': str(path), 'iter': runner.iter}
        runner.save(path)
        if is_main() and old and Path(old) != path:
            Path(old).unlink(missing_ok=True)
        runner.logger.info('best %s so far: %.4f, saved as %s', key, score, path)

    def _rule(self, key: str) -> str:
        if self.rule is not None:
            return self.rule
        for rule, parts in (('less', self.less_keys), ('greater', self.greater_keys)):
            if any(part.lower() in key.lower() for part in parts):
                return rule
        raise ConfigError(f"is more or less {key!r} better? Set evaluation.rule to 'greater' or 'less'")

    def _find_best(self, runner: Trainer) -> None:
        """The best of the epochs until the resumed one: the last checkpoint was written before its evaluation."""
        for path in output_directory(runner, self.out_dir).glob('best_*.pth'):
            try:
                best: Best = read_weights(path)['runner']['best']
            except (ValueError, KeyError):
                runner.logger.warning('%s is broken and is not compared with', path)
                continue
            if runner.best.get('iter', 0) < best['iter'] <= runner.iter:
                best['path'] = str(path)  # it may have been moved
                runner.best = best


def _build_metrics(dataset: object, arguments: Mapping[str, Any]) -> list[Metric]:
    """`build_metrics`, with a hint where an unknown argument looks like one of the hook."""
    try:
        return build_metrics(dataset, **arguments)
    except InvalidTypeError as error:
        near = get_close_matches(str(error.key), EVAL_HOOK_KEYS, 1, cutoff=0.8) if error.key in arguments else []
        if near:
            raise InvalidTypeError(f'evaluation has no {error.key!r}, did you mean {near[0]!r}?', error.key) from error
        raise


def _unknown_figure(key: str, names: Iterable[str]) -> ConfigError:
    near = nearest(key, names, 1) or [next(iter(names))]
    message = f'evaluation.save_best is {key!r}, which is not evaluated: did you mean {near[0]!r}?'
    return ConfigError(message, key='save_best')


def _as_tuple(keys: Sequence[str] | str | None) -> tuple[str, ...]:
    return (keys,) if isinstance(keys, str) else tuple(keys or ())


def _broadcast_norm_statistics(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats:
            for buffer in (module.running_mean, module.running_var):
                if buffer is not None:
                    distributed.broadcast(buffer, 0)
