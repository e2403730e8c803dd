"""Hooks that keep processes, samplers and models in step with the epochs."""

from __future__ import annotations

from mmkit.engine.hook import Hook, Trainer
from mmkit.engine.loading import HasEpoch, set_epoch
from mmkit.engine.optim import NORMS
from mmkit.errors import InvalidTypeError
from mmkit.protocols import TracksProgress
from mmkit.registry import HOOKS
from mmkit.utils.dist import average_in_place


@HOOKS.register_module()
class DistSamplerSeedHook(Hook):
    """Tells the epoch to the sampler. The runner does so for its training loader also without this hook."""

    def before_epoch(self, runner: Trainer) -> None:
        set_epoch(runner.loader, runner.epoch)


@HOOKS.register_module()
class SyncBuffersHook(Hook):
    """Averages the buffers of the model over the processes after each epoch.

    Args:
        distributed: whether there are several processes; without them nothing happens.
    """

    def __init__(self, distributed: bool = True) -> None:
        self.distributed = distributed

    def after_epoch(self, runner: Trainer) -> None:
        if self.distributed:
            average_in_place(runner.module.buffers())


@HOOKS.register_module()
class SetEpochInfoHook(Hook):
    """Calls `model.set_epoch(epoch)` before each training epoch, for losses that depend on it.

    Parts of a model that are `TracksProgress` hear the epoch from the runner also without this hook.
    """

    def before_train_epoch(self, runner: Trainer) -> None:
        model = runner.module
        if isinstance(model, HasEpoch):
            model.set_epoch(runner.epoch)
        elif not any(isinstance(part, TracksProgress) for part in model.modules()):
            raise InvalidTypeError(f'SetEpochInfoHook needs a model with set_epoch, a {type(model).__name__} has none')


@HOOKS.register_module()
class SyncNormHook(Hook):
    """Averages the statistics and parameters of norm layers over the processes (YOLOX, arXiv:2107.08430).

    Args:
        num_last_epochs: in the last epochs it is done after every epoch.
        interval: epochs between two times before that.
    """

    def __init__(self, num_last_epochs: int = 15, interval: int = 1) -> None:
        self.num_last_epochs = num_last_epochs
        self.interval = interval

    def after_train_epoch(self, runner: Trainer) -> None:
        in_last = runner.epoch >= runner.max_epochs - self.num_last_epochs
        if in_last or self.every_n_epochs(runner, self.interval):
            norms = [module for module in runner.module.modules() if isinstance(module, NORMS)]
            average_in_place(value for norm in norms for value in norm.state_dict().values())
