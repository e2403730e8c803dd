"""Evaluation during a training, and the best checkpoint."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from itertools import count
from pathlib import Path
from typing import Any

from torch import distributed, nn
from torch.utils.data import DataLoader

from mmkit.datasets import build_metrics
from mmkit.dialects.v2 import EVAL_HOOK_KEYS
from mmkit.engine.checkpoint import unwrap
from mmkit.engine.hook import Hook, Record, Trainer
from mmkit.engine.hooks.checkpoint import output_directory
from mmkit.engine.predict import Visit, check_masks, run_metrics
from mmkit.engine.state import Best, read_best
from mmkit.errors import ConfigError, InvalidTypeError, InvalidValueError
from mmkit.metrics import DatasetMetric, compute_metrics
from mmkit.metrics.base import as_dataset_metric
from mmkit.models.detectors import SemiBaseDetector
from mmkit.protocols import Metric
from mmkit.registry import HOOKS
from mmkit.structures import ImageMeta, Prediction
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
        save_best: name of the figure that decides which checkpoint is the best, 'auto' for the first one, or several
            names, each with a best checkpoint of its own; None for no best checkpoint.
        rule: 'greater' or 'less' is better, or a list of such words for several figures; None: by the figure's name.
        test_fn: (model, dataloader) -> predictions for all images in order; for metrics that are `DatasetMetric`s.
        greater_keys, less_keys: parts of names of figures for the rule, besides the usual ones.
        out_dir: where the best checkpoint goes, as in `CheckpointHook`.
        dynamic_intervals: [(epoch, interval), ...]: from that epoch on, this interval.
        begin: in place of `start`: no evaluation before this epoch (or iteration); the interval is counted from 0.
        at_end: evaluate at the end of the training in any case.
        fp16: predict in mixed precision; None: if the training has it.
        branches: of a semi-supervised detector, each predicts in turn, and its name stands before those of its figures:
            'teacher/coco/bbox_mAP'.
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
        save_best: str | Sequence[str] | None = None,
        rule: str | Sequence[str] | None = None,
        test_fn: Callable[[nn.Module, DataLoader[Any]], Sequence[Prediction]] | None = None,
        greater_keys: Sequence[str] | None = None,
        less_keys: Sequence[str] | None = None,
        out_dir: str | None = None,
        dynamic_intervals: Sequence[tuple[int, int]] | None = None,
        begin: int | None = None,
        at_end: bool = False,
        fp16: bool | None = None,
        branches: Sequence[str] = (),
        file_client_args: Mapping[str, Any] | None = None,
        broadcast_bn_buffer: bool = True,
        eval_args: Mapping[str, Any] | None = None,
        metrics: Sequence[Metric] | None = None,
    ) -> None:
        check_disk(file_client_args)
        if not isinstance(interval, int) or interval < 1:
            message = f'evaluation.interval is {interval!r}, expected a positive whole number'
            raise InvalidValueError(message, key='interval')
        if start is not None and start < 0:
            raise InvalidValueError(f'evaluation.start is {start}, expected at least 0', key='start')
        if begin is not None and (start is not None or begin < 0):
            message = f'evaluation.begin is {begin}, start is {start}: expected one of them, and at least 0'
            raise InvalidValueError(message, key='begin')
        self.best_by = _as_tuple(save_best)
        rules = _as_tuple(rule) if rule is not None else (None,)
        if any(each not in (None, 'greater', 'less') for each in rules):
            message = f"evaluation.rule is {rule!r}, expected 'greater', 'less' or None"
            raise InvalidValueError(message, key='rule')
        if len(rules) not in (1, len(self.best_by)) or ('auto' in self.best_by and len(self.best_by) > 1):
            message = f'evaluation.save_best is {save_best!r}, rule is {rule!r}: expected names with a rule for each'
            raise InvalidValueError(message, key='rule')
        self.dataloader = dataloader
        self.start = start
        self.intervals = [(0, interval), *((int(first), int(each)) for first, each in dynamic_intervals or [])]
        self.by_epoch = by_epoch
        self.begin = begin
        self.at_end = at_end
        self.fp16 = fp16
        self.branches = tuple(branches)
        self.rules = dict(zip(self.best_by, rules if len(rules) > 1 else rules * len(self.best_by)))
        self.test_fn = test_fn
        self.greater_keys = (*_as_tuple(greater_keys), *_MORE_IS_BETTER)
        self.less_keys = (*_as_tuple(less_keys), *_LESS_IS_BETTER)
        self.out_dir = out_dir
        self.broadcast_bn_buffer = broadcast_bn_buffer
        self.metrics = _build_metrics(dataloader.dataset, eval_args or {}) if metrics is None else list(metrics)
        self._check_metrics()
        self._has_begun = False

    def _check_metrics(self) -> None:
        if self.test_fn is not None:
            for metric in self.metrics:
                as_dataset_metric(metric)
        known = [metric.names for metric in self.metrics if isinstance(metric, DatasetMetric)]
        names = [name for each in known for name in each]
        names = [f'{branch}/{name}' for branch in self.branches for name in names] or names
        for figure in self.best_by:
            if len(known) == len(self.metrics) and all(known) and figure not in ('auto', *names):
                raise _unknown_figure(figure, names)

    def before_run(self, runner: Trainer) -> None:
        check_masks(runner.module, self.metrics)
        if self.branches and not isinstance(runner.module, SemiBaseDetector):
            message = f'a {type(runner.module).__name__} has no {" and no ".join(self.branches)} to evaluate'
            raise ConfigError(message, key='branches')
        if runner.iter and self.best_by:
            self._find_best(runner)

    def before_train_epoch(self, runner: Trainer) -> None:
        first, self._has_begun = not self._has_begun, True
        done = runner.epoch if self.by_epoch else runner.iter
        begins_with_one = self.start is not None and done >= self.start
        repeats_one = any(hook.counts_evaluations for hook in runner.hooks) and self._was_due(runner)
        if first and (begins_with_one or repeats_one):
            self._evaluate(runner)

    def after_train_epoch(self, runner: Trainer) -> None:
        if self.by_epoch and (self._is_due(runner.epoch) or (self.at_end and self.is_last_epoch(runner))):
            self._evaluate(runner)

    def after_train_iter(self, runner: Trainer) -> None:
        if not self.by_epoch and (self._is_due(runner.iter) or (self.at_end and self.is_last_iter(runner))):
            self._evaluate(runner)

    def _was_due(self, runner: Trainer) -> bool:
        """True if the checkpoint of a resumed training was written just before an evaluation."""
        if self.by_epoch:
            return runner.epoch > 0 and not runner.inner_iter and self._is_due(runner.epoch)
        return runner.iter > 0 and self._is_due(runner.iter)

    def _is_due(self, done: int) -> bool:
        if self.begin is not None and done < self.begin:
            return False
        interval = self.intervals[bisect_right([begin for begin, _ in self.intervals], done) - 1][1]
        if self.start is None:
            return done % interval == 0
        return done >= self.start and (done - self.start) % interval == 0

    def _evaluate(self, runner: Trainer) -> None:
        with runner.evaluation_mode(self.fp16) as model:
            if self.broadcast_bn_buffer and get_world_size() > 1:
                _broadcast_norm_statistics(model)
            values = self._figures_of_branches(model, _visit_of_hooks(runner))
        epoch = runner.epoch + bool(runner.inner_iter)
        number = len(self.dataloader) if self.by_epoch else runner.iter
        runner.publish(Record('val', epoch, number, values))
        if self.best_by and values:
            self._keep_best(runner, values)

    def _figures_of_branches(self, model: nn.Module, visit: Visit) -> dict[str, float | str]:
        if not self.branches:
            return self._figures(model, visit)
        detector = unwrap(model)
        assert isinstance(detector, SemiBaseDetector)
        values: dict[str, float | str] = {}
        for branch in self.branches:
            with detector.predicting_on(branch):
                values |= {f'{branch}/{name}': value for name, value in self._figures(model, visit).items()}
        return values

    def _figures(self, model: nn.Module, visit: Visit) -> dict[str, float | str]:
        if self.test_fn is None:
            return run_metrics(model, self.dataloader, self.metrics, visit)
        outputs = self.test_fn(model, self.dataloader)
        values = compute_metrics(self.metrics, outputs) if is_main() else {}
        return broadcast_object(values)

    def _keep_best(self, runner: Trainer, values: Mapping[str, float | str]) -> None:
        """Write a checkpoint for each figure that is better than ever; each of them knows about all."""
        kind, number = ('epoch', runner.epoch) if self.by_epoch else ('iter', runner.iter)
        old = dict(runner.best)
        better = {}
        for key in [next(iter(values))] if 'auto' in self.best_by else self.best_by:
            if key not in values:
                raise _unknown_figure(key, values)
            score = float(values[key])
            is_greater = self._rule(key) == 'greater'
            if key in old and not (score > old[key]['score'] if is_greater else score < old[key]['score']):
                continue
            path = output_directory(runner, self.out_dir) / f'best_{key.replace("/", "_")}_{kind}_{number}.pth'
            better[key] = Best(score=score, path=str(path), iter=runner.iter)
        runner.best |= better
        for key, best in better.items():
            runner.save(best['path'])
            if is_main() and key in old and old[key]['path'] != best['path']:
                Path(old[key]['path']).unlink(missing_ok=True)
            runner.logger.info('best %s so far: %.4f, saved as %s', key, best['score'], best['path'])

    def _rule(self, key: str) -> str:
        rule = self.rules.get(key, self.rules.get('auto'))
        if rule is not None:
            return rule
        return rule_of(key, self.greater_keys, self.less_keys)

    def _find_best(self, runner: Trainer) -> None:
        """The best of the epochs until the resumed one: the last checkpoint was written before its evaluation."""
        for path in output_directory(runner, self.out_dir).glob('best_*.pth'):
            try:
                bests = read_best(read_weights(path)['runner'])
            except (ValueError, KeyError):
                runner.logger.warning('%s is broken and is not compared with', path)
                continue
            for key, best in bests.items():
                if Path(best['path']).name != path.name:
                    continue
                best['path'] = str(path)  # it may have been moved
                known = runner.best[key]['iter'] if key in runner.best else 0
                if known < best['iter'] <= runner.iter:
                    runner.best[key] = best


def rule_of(key: str, greater_keys: Sequence[str] = _MORE_IS_BETTER, less_keys: Sequence[str] = _LESS_IS_BETTER) -> str:
    """'greater' or 'less', whichever is better for a figure of this name.

    Raises:
        ConfigError: the name does not tell.
    """
    for rule, parts in (('less', less_keys), ('greater', greater_keys)):
        if any(part.lower() in key.lower() for part in parts):
            return rule
    raise ConfigError(f"is more or less {key!r} better? Set evaluation.rule to 'greater' or 'less'", key='rule')


def _visit_of_hooks(runner: Trainer) -> Visit:
    """Shows each prediction to the hooks."""
    numbers = count()

    def visit(meta: ImageMeta, prediction: Prediction) -> None:
        number = next(numbers)
        for hook in runner.hooks:
            hook.on_prediction(runner, number, meta, prediction)

    return visit


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
    message = f'save_best is {key!r}, which is not evaluated: did you mean {near[0]!r}?'
    return ConfigError(message, key='save_best')


def _as_tuple(keys: Sequence[str] | str | None) -> tuple[str, ...]:
    return (keys,) if isinstance(keys, str) else tuple(keys or ())


def _broadcast_norm_statistics(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats:
            for buffer in (module.running_mean, module.running_var):
                if buffer is not None:
                    distributed.broadcast(buffer, 0)
