"""Surroundings: `env_cfg`, `randomness`, `log_level`, `work_dir`."""

from __future__ import annotations

from mmkit.config import ConfigDict
from mmkit.dialects.recipe import Environment
from mmkit.dialects.sections import check_keys, check_numbers, read_log_level, read_section, read_seed, wrong

LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')


def read_environment(cfg: ConfigDict) -> Environment:
    """Processes, random numbers and the places of files.

    Raises:
        UserError: for an unknown key, or a value that makes no sense.
    """
    env = check_numbers(read_section(cfg, 'env_cfg')) or ConfigDict()
    check_keys(cfg, 'env_cfg', env, ('cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit'))
    processes, network = (read_section(env, key) or ConfigDict() for key in ('mp_cfg', 'dist_cfg'))
    check_keys(cfg, 'env_cfg.mp_cfg', processes, ('mp_start_method', 'opencv_num_threads'))
    check_keys(cfg, 'env_cfg.dist_cfg', network, ('backend',))
    random = check_numbers(read_section(cfg, 'randomness')) or ConfigDict()
    check_keys(cfg, 'randomness', random, ('seed', 'deterministic', 'diff_rank_seed'))
    return Environment(
        work_dir=cfg.get('work_dir') or 'work_dirs',
        seed=read_seed(cfg, 'randomness.seed', random.get('seed')),
        deterministic=bool(random.get('deterministic', False)),
        diff_rank_seed=bool(random.get('diff_rank_seed', False)),
        cudnn_benchmark=bool(env.get('cudnn_benchmark', False)),
        opencv_num_threads=processes.get('opencv_num_threads'),
        mp_start_method=processes.get('mp_start_method'),
        resource_limit=env.get('resource_limit'),
        backend=network.get('backend'),
        launcher=_launcher(cfg),
        device=cfg.get('device'),
        log_level=read_log_level(cfg),
    )


def _launcher(cfg: ConfigDict) -> str:
    launcher = cfg.get('launcher') or 'none'
    if launcher not in LAUNCHERS:
        raise wrong(cfg, 'launcher', f'launcher is {launcher!r}, expected one of {", ".join(LAUNCHERS)}')
    return str(launcher)
