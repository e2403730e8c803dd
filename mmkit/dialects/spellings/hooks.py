"""Spellings of hooks."""

from __future__ import annotations

from collections.abc import Mapping

from mmkit.config import ConfigDict
from mmkit.dialects.spellings.spelling import Spelling
from mmkit.dialects.spellings.transforms import without

# Hooks of 3.x whose work the runner does itself.
ABSORBED = ('DistSamplerSeedHook', 'IterTimerHook', 'ParamSchedulerHook', 'RuntimeInfoHook')

_DISK = (None, {'backend': 'local'}, {'backend': 'disk'})
_STORAGE = {'backend_args': _DISK, 'file_client_args': _DISK}


def _read_activities(cfg: ConfigDict) -> ConfigDict:
    used = {'cpu': cfg.pop('activity_with_cpu', True), 'cuda': cfg.pop('activity_with_cuda', False)}
    cfg['activities'] = [name for name, is_used in used.items() if is_used]
    return cfg


def _write_activities(cfg: ConfigDict) -> ConfigDict:
    used = cfg.pop('activities', ['cpu', 'cuda'])
    cfg['activity_with_cpu'], cfg['activity_with_cuda'] = 'cpu' in used, 'cuda' in used
    return cfg


HOOKS: Mapping[str, Spelling] = {
    'CheckpointHook': Spelling(
        defaults={'last_checkpoint': (True, False)},
        unused={**_STORAGE, 'save_param_scheduler': (True, False)},
        restore=without('last_checkpoint'),  # 3.x always writes one
    ),
    'EMAHook': Spelling(name='AveragedModelHook', unused={'strict_load': (True, False), 'device': (None,)}),
    'ParameterEMAHook': Spelling(name='EMAHook'),  # that of 2.x, whose name is taken
    'ProfilerHook': Spelling(
        renamed={'profile_times': 'profile_iters'}, refine=_read_activities, restore=_write_activities
    ),
}
