"""Hooks: `default_hooks`, `custom_hooks`, and the loggers with `visualizer` and `log_processor`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmkit.config import ConfigDict
from mmkit.dialects.recipe import HookRecipe
from mmkit.dialects.sections import check_keys, check_numbers, read_section, without_keys, wrong
from mmkit.dialects.spellings import HOOKS, TRANSFORMS, read_v3
from mmkit.dialects.spellings.hooks import ABSORBED
from mmkit.errors import InvalidTypeError
from mmkit.utils.logging import warn_once
from mmkit.utils.names import unscoped

# Hooks that a training has unless `default_hooks` takes them out. Those without a class here are part of the runner.
DEFAULT_HOOKS: Mapping[str, Mapping[str, Any]] = {
    'runtime_info': {'type': 'RuntimeInfoHook'},
    'timer': {'type': 'IterTimerHook'},
    'sampler_seed': {'type': 'DistSamplerSeedHook'},
    'logger': {'type': 'LoggerHook'},
    'param_scheduler': {'type': 'ParamSchedulerHook'},
    'checkpoint': {'type': 'CheckpointHook', 'interval': 1},
}

# Arguments of visualization hooks.
_DRAWING = frozenset('type priority draw enable interval score_thr show wait_time test_out_dir backend_args'.split())
# Their drawings are the same here.
_VISUALIZERS = ('DetLocalVisualizer', 'Visualizer', 'UniversalVisualizer', 'TrackLocalVisualizer')


def read_default_hook(cfg: ConfigDict, name: str) -> ConfigDict | None:
    """One of the default hooks, in 3.x's spelling; None if the config takes it out.

    Raises:
        UserError: it is neither a dict nor None.
    """
    hooks = read_section(cfg, 'default_hooks') or ConfigDict()
    if name not in hooks:
        return ConfigDict(DEFAULT_HOOKS[name]) if name in DEFAULT_HOOKS else None
    hook = check_numbers(read_section(hooks, name))
    if hook is not None and 'type' not in hook:
        raise wrong(cfg, f'default_hooks.{name}', f'default_hooks.{name} has no type', InvalidTypeError)
    return hook


def read_hooks(cfg: ConfigDict) -> tuple[HookRecipe, ...]:
    """Hooks of the config itself, and default hooks that are neither part of the runner nor of evaluation and logs.

    Raises:
        UserError: for a hook that is no dict, or an argument of one that is part of the runner.
    """
    chosen = [hook.copy() for hook in _all_hooks(cfg) if not _is_idle(hook)]
    chosen = [hook for hook in chosen if unscoped(str(hook.get('type'))) not in ABSORBED]
    priorities = [hook.pop('priority', None) for hook in chosen]
    return tuple(
        HookRecipe(read_v3(hook, {**TRANSFORMS, **HOOKS}), priority) for hook, priority in zip(chosen, priorities)
    )


def read_test_drawing(cfg: ConfigDict) -> ConfigDict | None:
    """Arguments of a visualization hook that draws; None if there is none, as by default."""
    for hook in _all_hooks(cfg):
        if unscoped(str(hook.get('type'))) == 'DetVisualizationHook' and not _is_idle(hook):
            return without_keys(hook, ('type', 'priority'))
    return None


def _all_hooks(cfg: ConfigDict) -> list[ConfigDict]:
    defaults = [read_default_hook(cfg, name) for name in _others(cfg)]
    custom = cfg.get('custom_hooks') or []
    if not isinstance(custom, (list, tuple)) or not all(isinstance(hook, ConfigDict) for hook in custom):
        raise wrong(cfg, 'custom_hooks', f'custom_hooks is {custom!r}, expected a list of dicts', InvalidTypeError)
    return [hook for hook in (*defaults, *custom) if hook is not None]


def _check_name(cfg: ConfigDict, name: str, hook: ConfigDict | None) -> None:
    """Raises an error for a default hook under another name, beside which the one of its own name would act, too."""
    if hook is None or name in DEFAULT_HOOKS:
        return
    for usual, default in DEFAULT_HOOKS.items():
        if unscoped(hook['type']) == default['type']:
            message = f'default_hooks.{name} is a {default["type"]}, whose name is {usual!r}'
            raise wrong(cfg, f'default_hooks.{name}', message)


def _others(cfg: ConfigDict) -> list[str]:
    """Names in `default_hooks` of hooks that are hooks of a recipe."""
    others = []
    for name in read_section(cfg, 'default_hooks') or ConfigDict():
        if name in ('logger', 'checkpoint', 'param_scheduler'):
            continue
        hook = read_default_hook(cfg, name)
        _check_name(cfg, name, hook)
        if hook is None:
            if name in ('runtime_info', 'sampler_seed'):
                warn_once(f'default_hooks.{name}=None has no effect: it is part of the runner')
        elif unscoped(hook['type']) in ABSORBED:
            check_keys(cfg, f'default_hooks.{name}', hook, ('type', 'priority'))
        else:
            others.append(name)
    return others


def _is_idle(hook: ConfigDict) -> bool:
    """True for a visualization hook that draws nothing in a training, as it is by default."""
    draws = hook.get('draw', False) or hook.get('enable', False)
    is_known = set(hook) <= _DRAWING  # or else the hook is built, and says so
    return unscoped(str(hook.get('type'))).endswith('VisualizationHook') and is_known and not draws


def read_checkpoint(cfg: ConfigDict, best_keys: tuple[str, ...]) -> ConfigDict | None:
    """Arguments of `CheckpointHook`, without those that are about the best one; None if nothing is saved."""
    hook = read_default_hook(cfg, 'checkpoint')
    if hook is None:
        return None
    neutral: ConfigDict = read_v3(without_keys(hook, best_keys), HOOKS)
    neutral.setdefault('by_epoch', True)
    if neutral['type'] == 'CheckpointHook':
        del neutral['type']
    return neutral


def read_loggers(cfg: ConfigDict, by_epoch: bool) -> tuple[ConfigDict, ...]:
    """The logger of a training, with its `log_processor` and the backends of the visualizer.

    Raises:
        UserError: for an unknown key, or a value that makes no sense.
    """
    hook = read_default_hook(cfg, 'logger')
    if hook is None:
        return ()
    processor = check_numbers(read_section(cfg, 'log_processor')) or ConfigDict()
    kind = unscoped(str(processor.pop('type', 'LogProcessor')))
    if kind != 'LogProcessor':
        raise wrong(cfg, 'log_processor.type', f"log_processor.type is {kind!r}, expected 'LogProcessor'")
    hook._put('by_epoch', processor.pop('by_epoch', by_epoch), processor._origins.get('by_epoch'))
    hook._put('processor', processor, cfg._origins.get('log_processor'))
    hook._put('backends', _backends(cfg), cfg._origins.get('visualizer'))
    return (read_v3(hook, HOOKS),)


def _backends(cfg: ConfigDict) -> list[ConfigDict]:
    visualizer = read_section(cfg, 'visualizer') or ConfigDict()
    kind = unscoped(str(visualizer.get('type', 'Visualizer')))
    if kind not in _VISUALIZERS:
        message = f"visualizer.type is {kind!r}, which is not available: expected 'DetLocalVisualizer'"
        raise wrong(cfg, 'visualizer.type', message)
    check_keys(cfg, 'visualizer', visualizer, ('type', 'vis_backends', 'name'))
    backends = visualizer.get('vis_backends') or []
    key = 'visualizer.vis_backends'
    backends = [backends] if isinstance(backends, ConfigDict) else list(backends)
    if not all(isinstance(backend, ConfigDict) and 'type' in backend for backend in backends):
        raise wrong(cfg, key, f'{key} is {backends!r}, expected a list of dicts with type', InvalidTypeError)
    return [backend.copy() for backend in backends]
