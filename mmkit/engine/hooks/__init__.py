"""Hooks: callbacks at the stages of a training."""

from mmkit.engine.hook import Hook, Record, Trainer
from mmkit.engine.hooks import (
    averaged_model,
    checkpoint,
    checks,
    early_stopping,
    ema,
    eval_hook,
    logger,
    pipeline_switch,
    profiler,
    refused,
    sync,
    timer,
    updaters,
    vis_logger,
    visualization,
    yolox,
)
from mmkit.engine.hooks.logger import LoggerHook

__all__ = ['Hook', 'LoggerHook', 'Record']
