"""Length of a training: `train_cfg`."""

from __future__ import annotations

from mmkit.config import ConfigDict
from mmkit.dialects.sections import check_keys, check_numbers, read_section, require_whole, wrong
from mmkit.utils.names import unscoped

RUNNERS = {  # of each loop: the class in RUNNERS, and its length
    'EpochBasedTrainLoop': ('EpochBasedRunner', 'max_epochs'),
    'IterBasedTrainLoop': ('IterBasedRunner', 'max_iters'),
}
_VALIDATION = ('val_interval', 'val_begin', 'dynamic_intervals')


def read_train_loop(cfg: ConfigDict) -> ConfigDict | None:
    """`train_cfg` with its type, whole numbers as such; None if the config has none.

    Raises:
        UserError: for another loop, an unknown key, or a value that makes no sense.
    """
    loop = check_numbers(read_section(cfg, 'train_cfg'))
    if loop is None:
        return None
    if 'type' not in loop:
        loop['type'] = 'EpochBasedTrainLoop' if loop.get('by_epoch', True) else 'IterBasedTrainLoop'
    loop['type'] = unscoped(loop['type'])
    if loop['type'] not in RUNNERS:
        message = f'train_cfg.type is {loop["type"]!r}, expected {" or ".join(RUNNERS)}'
        raise wrong(cfg, 'train_cfg.type', message)
    length = RUNNERS[loop['type']][1]
    check_keys(cfg, 'train_cfg', loop, ('type', 'by_epoch', length, *_VALIDATION))
    for key in (length, 'val_interval', 'val_begin'):
        if isinstance(loop.get(key), float) and loop[key].is_integer():
            loop[key] = int(loop[key])
    require_whole(cfg, f'train_cfg.{length}', loop.get(length))
    pairs = loop.get('dynamic_intervals') or ()
    if not isinstance(pairs, (list, tuple)) or not all(_is_pair(pair) for pair in pairs):
        message = f'train_cfg.dynamic_intervals is {pairs!r}, expected a list of pairs (from, interval)'
        raise wrong(cfg, 'train_cfg.dynamic_intervals', message)
    return loop


def _is_pair(value: object) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 2 and all(isinstance(number, int) for number in value)


def counts_iterations(loop: ConfigDict) -> bool:
    """True for a training that is so many iterations long."""
    return bool(loop['type'] == 'IterBasedTrainLoop')


def runner_of(loop: ConfigDict) -> ConfigDict:
    """The runner of a loop, and its length."""
    kind, length = RUNNERS[loop['type']]
    return ConfigDict({'type': kind, length: loop[length]})
