"""The end of a training that has stopped getting better."""

from __future__ import annotations

import math

from mmkit.engine.hook import Hook, Record, Trainer
from mmkit.engine.hooks.eval_hook import rule_of
from mmkit.errors import ConfigError, InvalidValueError
from mmkit.registry import HOOKS
from mmkit.utils.names import suggestion


@HOOKS.register_module()
class EarlyStoppingHook(Hook):
    """Ends the training when a figure of its evaluations does not get better any more.

    Args:
        monitor: name of the figure, such as 'bbox_mAP'.
        rule: 'greater' or 'less' is better; None: by the name.
        min_delta: an evaluation counts as better if it is so by at least this much.
        strict: evaluations without that figure are an error, not a warning.
        check_finite: end the training as well if the figure is infinite or not a number.
        patience: so many evaluations in a row that are no better end the training.
        stopping_threshold: a figure better than this ends it at once.

    Raises:
        ConfigError: the rule doesn't follow from the name, or `strict` and there is no such figure.
    """

    priority = 'LOWEST'
    counts_evaluations = True

    def __init__(
        self,
        monitor: str,
        rule: str | None = None,
        min_delta: float = 0.1,
        strict: bool = False,
        check_finite: bool = True,
        patience: int = 5,
        stopping_threshold: float | None = None,
    ) -> None:
        if rule not in (None, 'greater', 'less'):
            raise InvalidValueError(f"rule is {rule!r}, expected 'greater', 'less' or None", key='rule')
        if not isinstance(patience, int) or patience < 1:
            raise InvalidValueError(f'patience is {patience!r}, expected a positive whole number', key='patience')
        self.monitor = monitor
        self.sign = 1 if (rule or rule_of(monitor)) == 'greater' else -1
        self.min_delta = abs(min_delta)
        self.strict = strict
        self.check_finite = check_finite
        self.patience = patience
        self.stopping_threshold = stopping_threshold

    def on_record(self, runner: Trainer, record: Record) -> None:
        if record.mode != 'val':
            return
        if self.monitor not in record.values:
            hint = suggestion(self.monitor, record.values)
            message = f'EarlyStoppingHook.monitor is {self.monitor!r}, which is not evaluated{hint}'
            if self.strict:
                raise ConfigError(message, key='monitor')
            runner.logger.warning(message)
            return
        reason = self._reason(runner, float(record.values[self.monitor]))
        if reason is not None:
            runner.logger.info('the training ends after epoch %d: %s', record.epoch, reason)
            runner.stop()

    def _reason(self, runner: Trainer, score: float) -> str | None:
        """Take in a figure; the reason to stop, if there is one."""
        name = type(self).__name__
        state = runner.hook_states.setdefault(name, {'best': -self.sign * math.inf, 'waited': 0})
        if self.check_finite and not math.isfinite(score):
            return f'{self.monitor} is {score}, the best was {state["best"]:.4f}'
        if self.stopping_threshold is not None and self.sign * (score - self.stopping_threshold) > 0:
            state['best'] = score
            return f'{self.monitor} is {score:.4f}, beyond the threshold {self.stopping_threshold}'
        if self.sign * (score - state['best']) >= self.min_delta:
            state.update(best=score, waited=0)
            return None
        state['waited'] += 1
        if state['waited'] < self.patience:
            return None
        return f'{self.monitor} has not got better than {state["best"]:.4f} in {self.patience} evaluations'
