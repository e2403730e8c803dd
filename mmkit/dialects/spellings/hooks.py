"""Spellings of hooks and of the backends that log a training."""

from __future__ import annotations

from collections.abc import Mapping

from mmkit.dialects.spellings.spelling import Spelling

HOOKS: Mapping[str, Spelling] = {
    'TensorboardVisBackend': Spelling(name='TensorboardLoggerHook'),
}
