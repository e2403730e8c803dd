"""The last epochs of YOLOX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from mmkit.datasets.wrappers import require_switchable
from mmkit.engine.hook import Hook, Trainer
from mmkit.engine.hooks.pipeline_switch import Pipeline, switch_pipeline
from mmkit.engine.loading import dataset_of, restart_workers
from mmkit.errors import InvalidTypeError
from mmkit.protocols import HasExtraLosses
from mmkit.registry import HOOKS


@runtime_checkable
class SkipsTypes(Protocol):
    """A dataset that can leave out steps of its pipeline, such as MultiImageMixDataset."""

    def update_skip_type_keys(self, skip_type_keys: Sequence[str]) -> None:
        """Leave out steps of these types from the next sample on."""


@HOOKS.register_module()
class YOLOXModeSwitchHook(Hook):
    """For the last epochs: no strong augmentation, and an additional L1 loss (arXiv:2107.08430).

    Args:
        num_last_epochs: before the end; the switch is made one epoch earlier, as mmdetection does.
        skip_type_keys: types of the pipeline's steps to leave out.
        new_train_pipeline: in place of that, configs of the transforms of a new pipeline.
    """

    def __init__(
        self,
        num_last_epochs: int = 15,
        skip_type_keys: Sequence[str] = ('Mosaic', 'RandomAffine', 'MixUp'),
        new_train_pipeline: Pipeline | None = None,
    ) -> None:
        self.num_last_epochs = num_last_epochs
        self.skip_type_keys = tuple(skip_type_keys)
        self.new_train_pipeline = new_train_pipeline
        self._switched = False

    def before_train_epoch(self, runner: Trainer) -> None:
        dataset, model = dataset_of(runner.loader), runner.module
        if self.new_train_pipeline is not None:
            require_switchable(dataset)
        elif not isinstance(dataset, SkipsTypes):  # found out now, not in the last epochs
            kind = type(dataset).__name__
            raise InvalidTypeError(f'YOLOXModeSwitchHook needs a MultiImageMixDataset to train on, not a {kind}')
        if not isinstance(model, HasExtraLosses):
            kind = type(model).__name__
            raise InvalidTypeError(f'YOLOXModeSwitchHook needs a model with extra losses, as YOLOX, not a {kind}')
        if self._switched or runner.epoch + 1 < runner.max_epochs - self.num_last_epochs:
            return
        self._switched = True
        if self.new_train_pipeline is not None:
            switch_pipeline(runner, self.new_train_pipeline)
        elif isinstance(dataset, SkipsTypes):
            runner.logger.info('from now on without %s', ', '.join(self.skip_type_keys))
            dataset.update_skip_type_keys(self.skip_type_keys)
            restart_workers(runner.loader)
        runner.logger.info('from now on with the L1 loss')
        model.use_extra_losses()
