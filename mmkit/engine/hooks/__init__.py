"""Hooks: callbacks at the stages of a training."""

from mmkit.engine.hook import Hook, Record, Trainer
from mmkit.engine.hooks import (
    checkpoint,
    checks,
    ema,
    eval_hook,
    logger,
    profiler,
    refused,
    sync,
    timer,
    updaters,
    yolox,
)
from mmkit.engine.hooks.logger import LoggerHook

__all__ = ['Hook', 'LoggerHook', 'Record']
