"""The training command after its arguments and its config have been read."""

from __future__ import annotations

import argparse
import signal
import time
from pathlib import Path
from typing import Any

from mmkit.apis.train import build_train_datasets, prepare_training
from mmkit.cli.mistakes import stop
from mmkit.config import Config, ConfigError
from mmkit.models import build_detector
from mmkit.utils import dist
from mmkit.utils.env import collect_env, format_env
from mmkit.utils.logging import get_logger, log_to_file
from mmkit.utils.seed import init_seed, set_random_seed


def run(parser: argparse.ArgumentParser, args: argparse.Namespace, cfg: Config) -> int:
    """Train; returns the exit status."""
    try:
        dist.init_dist(args.launcher, (cfg.get('dist_params') or {}).get('backend'))
        timestamp = dist.broadcast_object(time.strftime('%Y%m%d_%H%M%S'))
        meta = _prepare(cfg, args, timestamp)
        datasets = build_train_datasets(cfg)
        model: Any = build_detector(cfg.model, train_cfg=cfg.get('train_cfg'), test_cfg=cfg.get('test_cfg'))
        model.init_weights()
        model.CLASSES = datasets[0].CLASSES
        runner, train = prepare_training(
            model, datasets, cfg, args.launcher != 'none', not args.no_validate, timestamp, meta
        )
    except Exception as error:
        stop(parser, error)
    signal.signal(signal.SIGTERM, _terminate)
    start = runner.iter
    try:
        train()
    except Exception as error:  # what only a sample shows
        if runner.iter > start and not isinstance(error, (ConfigError, FloatingPointError)):
            raise
        stop(parser, error)
    except KeyboardInterrupt:
        get_logger().error('interrupted; --auto-resume goes on from the last checkpoint in %s', cfg.work_dir)
        return 130
    dist.leave()  # gloo's threads abort a process that ends without
    return 0


def _prepare(cfg: Config, args: argparse.Namespace, timestamp: str) -> dict[str, Any]:
    """Open the log, save the config, seed; returns what logs and checkpoints shall say."""
    work_dir, log = Path(cfg.work_dir), get_logger()
    env = format_env(collect_env())
    if dist.is_main():
        work_dir.mkdir(parents=True, exist_ok=True)
        log_to_file(work_dir / f'{timestamp}.log')
        cfg.dump(str(work_dir / Path(args.config).with_suffix('.py').name))
    log.setLevel(cfg.get('log_level', 'INFO'))
    log.info('environment:\n%s', env)
    log.info('config:\n%s', cfg.pretty_text)
    cfg.seed = init_seed(cfg.get('seed'))
    own_seed = cfg.seed + (dist.get_rank() if args.diff_seed else 0)
    set_random_seed(own_seed, bool(cfg.get('deterministic', False)))
    log.info('seed %d%s; everything is written to %s', cfg.seed, ', deterministic' * args.deterministic, work_dir)
    return {'env_info': env, 'seed': cfg.seed, 'exp_name': Path(args.config).name, 'config': cfg.pretty_text}


def _terminate(signum: int, frame: Any) -> None:
    """A polite end leaves the training through its hooks: log files and curves are closed."""
    get_logger().error('terminated; --auto-resume goes on from the last checkpoint')
    raise SystemExit(128 + signum)
