"""A training: `train_cfg`, `optim_wrapper`, `param_scheduler`, `resume`, hooks."""

from __future__ import annotations

from mmkit.config import ConfigDict
from mmkit.dialects.param_scheduler import read_param_scheduler
from mmkit.dialects.recipe import LoaderRecipe, Phase, TrainingRecipe
from mmkit.dialects.sections import check_keys, read_section, wrong
from mmkit.dialects.v3.evaluation import BEST_KEYS
from mmkit.dialects.v3.hooks import read_checkpoint, read_default_hook, read_hooks, read_loggers
from mmkit.dialects.v3.loops import counts_iterations, read_train_loop, runner_of
from mmkit.dialects.v3.optim_wrapper import read_optimizer, read_step
from mmkit.schedules import Schedule
from mmkit.utils.names import unscoped


def read_training(cfg: ConfigDict, train: LoaderRecipe) -> TrainingRecipe:
    """The training of a config that has `train_cfg`, `train_dataloader` and `optim_wrapper`.

    Raises:
        UserError: for an unknown key, or a value that makes no sense.
    """
    loop = read_train_loop(cfg)
    assert loop is not None
    schedules = _schedules(cfg)
    load_from, resume = cfg.get('load_from'), cfg.get('resume') or False
    if not isinstance(resume, bool):
        raise wrong(cfg, 'resume', f'resume is {resume!r}, expected True or False: the checkpoint is load_from')
    unused, buffers = _wrapper(cfg)
    return TrainingRecipe(
        loop=runner_of(loop),
        workflow=(Phase('train', 1, train.dataset),),
        optimizer=read_optimizer(cfg),
        step=read_step(cfg),
        lr=schedules.get('lr'),
        momentum=schedules.get('momentum'),
        checkpoint=read_checkpoint(cfg, BEST_KEYS),
        loggers=read_loggers(cfg, not counts_iterations(loop)),
        hooks=read_hooks(cfg),
        timer=read_default_hook(cfg, 'timer') is not None,
        load_from=None if resume else load_from,
        resume_from=load_from if resume else None,
        auto_resume=resume and load_from is None,
        find_unused_parameters=unused,
        broadcast_buffers=buffers,
    )


def _schedules(cfg: ConfigDict) -> dict[str, Schedule]:
    if cfg.get('param_scheduler') is None or read_default_hook(cfg, 'param_scheduler') is None:
        return {}
    schedules = read_param_scheduler(cfg['param_scheduler'])
    for name in schedules:
        if name not in ('lr', 'momentum'):
            message = f'param_scheduler changes {name!r}: only lr and momentum have schedules'
            raise wrong(cfg, 'param_scheduler', message)
    return schedules


def _wrapper(cfg: ConfigDict) -> tuple[bool, bool]:
    """`find_unused_parameters` and `broadcast_buffers` of the training by several processes."""
    wrapper = read_section(cfg, 'model_wrapper_cfg') or ConfigDict()
    kind = unscoped(str(wrapper.get('type', 'MMDistributedDataParallel')))
    if kind != 'MMDistributedDataParallel':
        message = f"model_wrapper_cfg.type is {kind!r}, expected 'MMDistributedDataParallel'"
        raise wrong(cfg, 'model_wrapper_cfg.type', message)
    check_keys(cfg, 'model_wrapper_cfg', wrapper, ('type', 'find_unused_parameters', 'broadcast_buffers'))
    unused = wrapper.get('find_unused_parameters', cfg.get('find_unused_parameters', False))
    return bool(unused), bool(wrapper.get('broadcast_buffers', False))
