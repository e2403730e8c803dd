"""Hooks of mmcv and mmdetection that mmkit lacks: an error names the replacement."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from mmkit.errors import UserError
from mmkit.registry import HOOKS


class RefusedHookError(UserError, NotImplementedError):
    """A hook of mmcv or mmdetection that mmkit does not have."""


_TRACKER = (
    'Use TensorboardLoggerHook, or read the .log.json of TextLoggerHook; '
    'a hook of your own derives from mmkit.engine.hooks.LoggerHook and has a method write(runner, record)'
)
_BACKEND = "Write dict(type='LoggerHook', backends=[dict(type='{}VisBackend')]) into log_config.hooks"
_REFUSED = {
    'WandbLoggerHook': _BACKEND.format('Wandb'),
    'MMDetWandbHook': _BACKEND.format('Wandb'),
    'MlflowLoggerHook': _BACKEND.format('MLflow'),
    'NeptuneLoggerHook': _TRACKER,
    'DvcliveLoggerHook': _TRACKER,
    'ClearMLLoggerHook': _TRACKER,
    'SegmindLoggerHook': _TRACKER,
    'PaviLoggerHook': _TRACKER,
    'SyncRandomSizeHook': 'The model draws the sizes of batches: YOLOX(random_size_range, random_size_interval)',
    'RFSearchHook': 'Searching for receptive fields is not part of mmkit',
    'NPUProfilerHook': "Use ProfilerHook, which profiles the CPU and Nvidia's GPUs",
    'ClosureHook': 'Derive a class from mmkit.engine.hooks.Hook and give it the method',
    'OptimizerHook': 'The step is part of the runner: write its arguments into optimizer_config',
    'Fp16OptimizerHook': 'Write fp16=dict(loss_scale=512.) or another loss_scale at the top level of the config',
    'GradientCumulativeOptimizerHook': (
        "Write optimizer_config=dict(type='GradientCumulativeOptimizerHook', cumulative_iters=...)"
    ),
    'GradientCumulativeFp16OptimizerHook': (
        "Write optimizer_config=dict(type='GradientCumulativeFp16OptimizerHook', cumulative_iters=..., loss_scale=...)"
    ),
}


def _refusal(name: str, advice: str) -> Callable[..., NoReturn]:
    def refuse(**arguments: object) -> NoReturn:
        raise RefusedHookError(f'{name} is not available as a hook. {advice}', key='type')

    return refuse


for _name, _advice in _REFUSED.items():
    HOOKS.register_module(name=_name, module=_refusal(_name, _advice))
