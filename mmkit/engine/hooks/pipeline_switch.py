"""Another pipeline for the last epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmkit.datasets.wrappers import require_switchable
from mmkit.engine.hook import Hook, Trainer
from mmkit.engine.loading import dataset_of, restart_workers
from mmkit.registry import HOOKS
from mmkit.transforms.compose import Compose

Pipeline = Sequence[Mapping[str, Any]]


@HOOKS.register_module()
class PipelineSwitchHook(Hook):
    """Replaces the pipeline of the training data from an epoch on (RTMDet, arXiv:2212.07784).

    Args:
        switch_epoch: the first epoch with the new pipeline, counted from 0.
        switch_pipeline: configs of the transforms.

    Raises:
        InvalidTypeError: when the training begins, if its dataset has no pipeline that can be replaced.
    """

    def __init__(self, switch_epoch: int, switch_pipeline: Pipeline) -> None:
        Compose(switch_pipeline)  # a mistake in it is found now, not in the last epochs
        self.switch_epoch = switch_epoch
        self.switch_pipeline = switch_pipeline
        self._switched = False

    def before_train_epoch(self, runner: Trainer) -> None:
        require_switchable(dataset_of(runner.loader))
        if not self._switched and runner.epoch >= self.switch_epoch:
            self._switched = True
            switch_pipeline(runner, self.switch_pipeline)


def switch_pipeline(runner: Trainer, pipeline: Pipeline) -> None:
    """Replace the pipeline of the training data; workers that are running start anew with it."""
    require_switchable(dataset_of(runner.loader)).set_pipeline(pipeline)
    restart_workers(runner.loader)
    runner.logger.info('from now on with the pipeline %s', ', '.join(str(step['type']) for step in pipeline))
