"""The training command, once its arguments and its config have been read."""

from __future__ import annotations

import argparse
import signal
import time
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

from mmkit.dialects import Recipe
from mmkit.engine.assemble import assemble, require_training
from mmkit.utils import dist
from mmkit.utils.env import collect_env, format_env
from mmkit.utils.logging import get_logger, log_to_file
from mmkit.utils.seed import init_seed, set_random_seed


def run(args: argparse.Namespace, recipe: Recipe) -> int:
    """Train; returns the exit status."""
    training = require_training(recipe)
    dist.init_dist(args.launcher, recipe.environment.backend)
    timestamp = dist.broadcast_object(time.strftime('%Y%m%d_%H%M%S'))
    meta = _open_log(recipe, timestamp)
    recipe = _seeded(recipe, args.diff_seed)
    runner, loaders = assemble(recipe, distributed=args.launcher != 'none', timestamp=timestamp, meta=meta)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        runner.run(loaders, training.turns)
    except KeyboardInterrupt:
        get_logger().error('interrupted; --auto-resume goes on from the last checkpoint in %s', runner.work_dir)
        return 130
    dist.leave()  # gloo's threads abort a process that ends without
    return 0


def _open_log(recipe: Recipe, timestamp: str) -> dict[str, Any]:
    """Open the log and write the config; returns the entries of logs and checkpoints about the environment."""
    work_dir, log = Path(recipe.environment.work_dir), get_logger()
    env = format_env(collect_env())
    if dist.is_main():
        work_dir.mkdir(parents=True, exist_ok=True)
        folder = work_dir / timestamp if recipe.dialect == 3 else work_dir  # where each dialect's users look for it
        log_to_file(folder / f'{timestamp}.log')
        (work_dir / Path(recipe.name).with_suffix('.py')).write_text(recipe.text)
    log.setLevel(recipe.environment.log_level)
    log.info('environment:\n%s', env)
    log.info('config:\n%s', recipe.text)
    return {'env_info': env}


def _seeded(recipe: Recipe, differs: bool) -> Recipe:
    """Seed all random numbers; with `differs` each process has a seed of its own.

    Returns:
        The recipe with the seed, which was drawn if it had none.
    """
    environment = recipe.environment
    seed = init_seed(environment.seed)
    differs = differs or environment.diff_rank_seed
    set_random_seed(seed + (dist.get_rank() if differs else 0), environment.deterministic)
    flag = ', deterministic' * environment.deterministic
    get_logger().info('seed %d%s; everything is written to %s', seed, flag, environment.work_dir)
    return replace(recipe, environment=replace(environment, seed=seed))


def _terminate(signum: int, frame: FrameType | None) -> None:
    """Leave the training by an exception, so that its hooks close log files and curves."""
    get_logger().error('terminated; --auto-resume goes on from the last checkpoint')
    raise SystemExit(128 + signum)
