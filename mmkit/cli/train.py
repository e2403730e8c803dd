"""`train`: a detector or classifier as its config says."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mmkit.cli.errors import errors_in_one_line
from mmkit.cli.options import add_config_options, add_device_options, make_parser, read_config
from mmkit.config import Config
from mmkit.dialects import Overrides, override, read_recipe
from mmkit.utils.logging import warn_once

EXAMPLES = """examples:
  train on a GPU if there is one; logs and checkpoints go to work_dirs/faster_rcnn_r50_fpn_1x_coco:
    train configs/faster_rcnn/faster_rcnn_r50_fpn_1x_coco.py
  change the config from the command line, and scale the learning rate to the batch:
    train CONFIG --cfg-options data.samples_per_gpu=4 runner.max_epochs=24 --auto-scale-lr
  resume after a crash from the newest intact checkpoint, with the same result as an uninterrupted training:
    train CONFIG --resume
  resume from a given checkpoint, or start a new training from its weights:
    train CONFIG --resume work_dirs/x/epoch_3.pth
    train CONFIG --load-from checkpoints/coco.pth
  reproducible numbers:
    train CONFIG --seed 0 --deterministic
  eight GPUs:
    torchrun --nproc_per_node 8 tools/train.py CONFIG --launcher pytorch
"""

NEWEST = 'auto'  # the value of --resume without a checkpoint, as in 3.x


def build_parser() -> argparse.ArgumentParser:
    parser = make_parser('Train a detector or an image classifier.', EXAMPLES)
    parser.add_argument('config', help='a .py, .yaml or .json config')
    parser.add_argument('--work-dir', metavar='DIR', help='for logs and checkpoints; work_dirs/<name of the config>')
    start = parser.add_argument_group('starting point')
    start.add_argument(
        '--resume',
        nargs='?',
        const=NEWEST,
        metavar='CKPT',
        help='resume the training of a checkpoint; without one, of the newest intact one in the work dir',
    )
    start.add_argument('--resume-from', metavar='CKPT', help='--resume CKPT, as 2.x calls it')
    start.add_argument('--auto-resume', action='store_true', help='--resume without a checkpoint, as 2.x calls it')
    start.add_argument('--load-from', metavar='CKPT', help='start from the weights of a file, URL or scheme')
    training = parser.add_argument_group('training')
    add_config_options(training)
    training.add_argument('--no-validate', action='store_true', help='do not evaluate during the training')
    training.add_argument('--amp', action='store_true', help='mixed precision, with a dynamic scale of the losses')
    training.add_argument('--auto-scale-lr', action='store_true', help='scale the learning rate with the batch size')
    training.add_argument('--seed', type=int, help='seed of all random numbers; by default drawn and logged')
    training.add_argument('--diff-seed', action='store_true', help='a different seed in each process (seed + rank)')
    training.add_argument('--deterministic', action='store_true', help='use deterministic algorithms only; slower')
    devices = parser.add_argument_group('devices and processes')
    add_device_options(devices)
    devices.add_argument('--gpu-ids', type=int, nargs='+', metavar='N', help='older spelling of --gpu-id; one number')
    devices.add_argument('--gpus', type=int, metavar='N', help='older spelling; only 1: more need --launcher')
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status: 0, 2 for a wrong config or option, 130 or 143 when interrupted."""
    parser = build_parser()
    args = parser.parse_args(argv)
    _check(parser, args)
    if args.local_rank is not None:
        os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    with errors_in_one_line(parser):
        recipe = read_recipe(overridden_config(args))
        if args.launcher == 'none':
            args.launcher = recipe.environment.launcher
        if args.no_validate:
            recipe = replace(recipe, evaluation=None)
        from mmkit.cli.run_train import run  # imports torch, which wrong arguments need not wait for

        return run(args, recipe)


def overridden_config(args: argparse.Namespace) -> Config:
    """The config with what the command line says about it.

    Raises:
        UserError: if it cannot be read, or lacks what an option needs.
    """
    cfg = read_config(args)
    work_dir = None if cfg.get('work_dir') else str(Path('work_dirs') / Path(args.config).stem)
    gpu_ids = args.gpu_ids if args.gpu_id is None else [args.gpu_id]
    overrides = Overrides(
        work_dir=args.work_dir or work_dir,
        load_from=args.load_from,
        resume_from=args.resume_from if args.resume in (None, NEWEST) else args.resume,
        auto_resume=args.auto_resume or args.resume == NEWEST,
        amp=args.amp,
        auto_scale_lr=args.auto_scale_lr,
        seed=args.seed,
        deterministic=args.deterministic,
        device=f'cuda:{gpu_ids[0]}' if gpu_ids else args.device,
    )
    override(cfg, overrides)
    return cfg


def _check(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Refuse contradicting options before anything is loaded."""
    if sum((args.resume is not None, args.resume_from is not None, args.auto_resume)) > 1:
        parser.error('--resume, --resume-from and --auto-resume exclude each other')
    if sum(value is not None for value in (args.device, args.gpu_id, args.gpu_ids, args.gpus)) > 1:
        parser.error('--device, --gpu-id, --gpu-ids and --gpus exclude each other')
    if args.launcher != 'none' and (args.gpu_id is not None or args.gpu_ids):
        parser.error('--gpu-id is for a single process: with a launcher, each process takes the GPU of its local rank')
    if (args.gpus or 1) > 1 or len(args.gpu_ids or []) > 1:
        parser.error('several GPUs: torchrun --nproc_per_node N tools/train.py CONFIG --launcher pytorch')
    if args.gpus is not None or args.gpu_ids is not None:
        warn_once('--gpus and --gpu-ids are older spellings of --gpu-id')


if __name__ == '__main__':
    sys.exit(main())
