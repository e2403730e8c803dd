"""The last epochs of YOLOX."""

from __future__ import annotations

from collections.abc import Sequence

from mmkit.engine.hook import Hook
from mmkit.engine.runner import Runner
from mmkit.errors import InvalidTypeError
from mmkit.protocols import HasExtraLosses
from mmkit.registry import HOOKS


@HOOKS.register_module()
class YOLOXModeSwitchHook(Hook):
    """For the last epochs: no strong augmentation, and an additional L1 loss (arXiv:2107.08430).

    Args:
        num_last_epochs: before the end; the switch is made one epoch earlier, as mmdetection does.
        skip_type_keys: types of the pipeline's steps to leave out.
    """

    def __init__(
        self, num_last_epochs: int = 15, skip_type_keys: Sequence[str] = ('Mosaic', 'RandomAffine', 'MixUp')
    ) -> None:
        self.num_last_epochs = num_last_epochs
        self.skip_type_keys = tuple(skip_type_keys)
        self._switched = False

    def before_train_epoch(self, runner: Runner) -> None:
        if not hasattr(runner.loader.dataset, 'update_skip_type_keys'):  # found out now, not in the last epochs
            kind = type(runner.loader.dataset).__name__
            raise TypeError(f'YOLOXModeSwitchHook needs a MultiImageMixDataset to train on, not a {kind}')
        if not isinstance(runner.module, HasExtraLosses):
            raise InvalidTypeError(
                f'YOLOXModeSwitchHook needs a model with extra losses, as YOLOX, not a {type(runner.module).__name__}'
            )
        if self._switched or runner.epoch + 1 < runner.max_epochs - self.num_last_epochs:
            return
        self._switched = True
        runner.logger.info('from now on without %s, with the L1 loss', ', '.join(self.skip_type_keys))
        runner.loader.dataset.update_skip_type_keys(self.skip_type_keys)
        if getattr(runner.loader, 'persistent_workers', False):
            runner.loader._iterator = None  # workers have copies of the dataset: start new ones
        runner.module.use_extra_losses()
