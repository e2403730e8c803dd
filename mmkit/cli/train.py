"""`train`: a detector or classifier as its config says."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmkit.apis.train import build_train_datasets, prepare_training
from mmkit.cli.mistakes import stop
from mmkit.config import Config, ConfigError
from mmkit.config.legacy import upgrade
from mmkit.config.options import DictAction
from mmkit.models import build_detector
from mmkit.utils import dist
from mmkit.utils.env import collect_env, format_env
from mmkit.utils.logging import get_logger, log_to_file, warn_once
from mmkit.utils.seed import init_seed, set_random_seed

EXAMPLES = """examples:
  train on a GPU if there is one; logs and checkpoints go to work_dirs/faster_rcnn_r50_fpn_1x_coco:
    train configs/faster_rcnn/faster_rcnn_r50_fpn_1x_coco.py
  change the config from the command line, and scale the learning rate to the batch:
    train CONFIG --cfg-options data.samples_per_gpu=4 runner.max_epochs=24 --auto-scale-lr
  go on after a crash, from the newest intact checkpoint, as if nothing had happened:
    train CONFIG --auto-resume
  go on from a certain checkpoint, or begin a new training with its weights:
    train CONFIG --resume-from work_dirs/x/epoch_3.pth
    train CONFIG --load-from checkpoints/coco.pth
  the same numbers at every run:
    train CONFIG --seed 0 --deterministic
  eight GPUs:
    torchrun --nproc_per_node 8 tools/train.py CONFIG --launcher pytorch
"""


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description='Train a detector or an image classifier.',
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('config', help='a .py, .yaml or .json config')
    parser.add_argument('--work-dir', metavar='DIR', help='for logs and checkpoints; work_dirs/<name of the config>')
    start = parser.add_argument_group('where to begin')
    start.add_argument('--resume-from', metavar='CKPT', help='go on with the training of a checkpoint')
    start.add_argument('--auto-resume', action='store_true', help='go on from the newest intact one in the work dir')
    start.add_argument('--load-from', metavar='CKPT', help='begin with the weights of a file, URL or scheme')
    how = parser.add_argument_group('how')
    how.add_argument(
        '--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='set values of CONFIG by dotted keys'
    )
    how.add_argument('--no-validate', action='store_true', help='do not evaluate during the training')
    how.add_argument('--auto-scale-lr', action='store_true', help='learning rate in proportion to the batch size')
    how.add_argument('--seed', type=int, help='of all random numbers; by default drawn and logged')
    how.add_argument('--diff-seed', action='store_true', help='another seed in each process (seed + rank)')
    how.add_argument('--deterministic', action='store_true', help='only algorithms that repeat their numbers; slower')
    how.add_argument(
        '--trust-config', action='store_true', help='run configs as Python where plain expressions are not enough'
    )
    where = parser.add_argument_group('where')
    where.add_argument('--device', metavar='DEVICE', help='cpu, cuda, cuda:1, ...; a GPU if there is one')
    where.add_argument('--gpu-id', type=int, metavar='N', help='the same as --device cuda:N')
    where.add_argument('--gpu-ids', type=int, nargs='+', metavar='N', help='older spelling of --gpu-id; one number')
    where.add_argument('--gpus', type=int, metavar='N', help='older spelling; only 1: more need --launcher')
    where.add_argument('--launcher', choices=dist.LAUNCHERS, default='none', help='who started the processes')
    where.add_argument('--local_rank', '--local-rank', type=int, help=argparse.SUPPRESS)  # of torch.distributed.launch
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status: 0, 2 for a wrong config or option, 130 or 143 when interrupted."""
    parser = build_parser()
    args = parser.parse_args(argv)
    _check(parser, args)
    if args.local_rank is not None:
        os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    try:
        cfg = read_config(args)
        dist.init_dist(args.launcher, (cfg.get('dist_params') or {}).get('backend'))
        timestamp = dist.broadcast_object(time.strftime('%Y%m%d_%H%M%S'))
        meta = _prepare(cfg, args, timestamp)
        datasets = build_train_datasets(cfg)
        model: Any = build_detector(cfg.model, train_cfg=cfg.get('train_cfg'), test_cfg=cfg.get('test_cfg'))
        model.init_weights()
        model.CLASSES = datasets[0].CLASSES
        runner, run = prepare_training(
            model, datasets, cfg, args.launcher != 'none', not args.no_validate, timestamp, meta
        )
    except Exception as error:
        stop(parser, error)
    signal.signal(signal.SIGTERM, _terminate)
    start = runner.iter
    try:
        run()
    except Exception as error:  # what only a sample shows
        if runner.iter > start and not isinstance(error, (ConfigError, FloatingPointError)):
            raise
        stop(parser, error)
    except KeyboardInterrupt:
        get_logger().error('interrupted; --auto-resume goes on from the last checkpoint in %s', cfg.work_dir)
        return 130
    dist.leave()  # gloo's threads abort a process that ends without
    return 0


def read_config(args: argparse.Namespace) -> Config:
    """The config with what the command line says about it.

    Raises:
        ConfigError: if it cannot be read.
        KeyError: with --auto-scale-lr, if it doesn't say for which batch size its learning rate is.
    """
    cfg = Config.fromfile(args.config, trust=args.trust_config)
    cfg.merge_from_dict(args.cfg_options or {}, source='--cfg-options')
    cfg = upgrade(cfg)
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / Path(args.config).stem)
    for key in ('resume_from', 'load_from', 'seed', 'device'):
        if getattr(args, key) is not None:
            cfg[key] = getattr(args, key)
    for key in ('auto_resume', 'deterministic'):
        if getattr(args, key):
            cfg[key] = True
    gpu_ids = [args.gpu_id] if args.gpu_id is not None else args.gpu_ids
    if gpu_ids:
        cfg.device = f'cuda:{gpu_ids[0]}'
    if args.auto_scale_lr:
        if 'base_batch_size' not in (cfg.get('auto_scale_lr') or {}):
            raise KeyError(
                f'--auto-scale-lr: {args.config} does not say for which batch size its learning rate is, '
                'add auto_scale_lr=dict(enable=False, base_batch_size=16)'
            )
        cfg.auto_scale_lr.enable = True
    return cfg


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


def _check(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Refuse what makes no sense before anything is loaded."""
    if args.resume_from and args.auto_resume:
        parser.error('--resume-from and --auto-resume exclude each other')
    if sum(value is not None for value in (args.device, args.gpu_id, args.gpu_ids, args.gpus)) > 1:
        parser.error('--device, --gpu-id, --gpu-ids and --gpus exclude each other')
    if args.launcher != 'none' and (args.gpu_id is not None or args.gpu_ids):
        parser.error('--gpu-id is for a single process: with a launcher, each process takes the GPU of its local rank')
    if (args.gpus or 1) > 1 or len(args.gpu_ids or []) > 1:
        parser.error('several GPUs: torchrun --nproc_per_node N tools/train.py CONFIG --launcher pytorch')
    if args.gpus is not None or args.gpu_ids is not None:
        warn_once('--gpus and --gpu-ids are older spellings of --gpu-id')


def _terminate(signum: int, frame: Any) -> None:
    """A polite end leaves the training through its hooks: log files and curves are closed."""
    get_logger().error('terminated; --auto-resume goes on from the last checkpoint')
    raise SystemExit(128 + signum)


if __name__ == '__main__':
    sys.exit(main())
