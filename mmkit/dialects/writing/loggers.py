"""Loggers of a recipe as 3.x spells them: a hook, its processor, and backends of the visualizer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmkit.config import ConfigDict
from mmkit.dialects.spellings import HOOKS, write_v3
from mmkit.dialects.writing.notes import Notes

# Backends that write what a logger of 2.x writes.
_BACKENDS = {
    'TensorboardLoggerHook': 'TensorboardVisBackend',
    'WandbLoggerHook': 'WandbVisBackend',
    'MlflowLoggerHook': 'MLflowVisBackend',
}


def write_loggers(loggers: Sequence[ConfigDict], notes: Notes) -> dict[str, Any]:
    """`log_processor`, `visualizer`, and the logger for `default_hooks`, under the key 'logger'."""
    if not loggers:
        return {'logger': None}
    first = loggers[0].copy()
    if first['type'] == 'LoggerHook':
        processor, backends = first.pop('processor', ConfigDict()), first.pop('backends', [])
    else:
        processor, backends = ConfigDict(), _backends(loggers, notes)
        first = ConfigDict(interval=first.get('interval', 10), by_epoch=first.get('by_epoch', True))
    by_epoch = first.pop('by_epoch', True)
    first['type'] = 'LoggerHook'
    return {
        'logger': write_v3(first, HOOKS),
        'log_processor': ConfigDict(type='LogProcessor', by_epoch=by_epoch) | processor,
        'visualizer': ConfigDict(type='DetLocalVisualizer', vis_backends=backends, name='visualizer'),
    }


def _backends(loggers: Sequence[ConfigDict], notes: Notes) -> list[ConfigDict]:
    backends = [ConfigDict(type='LocalVisBackend')]
    for logger in loggers:
        if logger['type'] in _BACKENDS:
            backends.append(ConfigDict(type=_BACKENDS[logger['type']]))
        elif logger['type'] != 'TextLoggerHook':
            notes.drop('visualizer', 3, logger=logger)
    return backends
