"""Options that several commands share. Imports no torch, so that `--help` and wrong options answer at once."""

from __future__ import annotations

import argparse

from mmkit.config import Config
from mmkit.config.options import DictAction

LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')  # as in mmkit.utils.dist, whose import takes seconds


def make_parser(description: str, examples: str) -> argparse.ArgumentParser:
    """A parser whose `--help` ends with examples, printed as they are."""
    return argparse.ArgumentParser(
        description=description, epilog=examples, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def add_config_options(parser: argparse._ActionsContainer) -> None:
    """`--cfg-options` and `--trust-config`."""
    add_key_values(parser, '--cfg-options', 'set values of CONFIG by dotted keys')
    parser.add_argument(
        '--trust-config', action='store_true', help='run configs as Python where plain expressions are not enough'
    )


def read_config(args: argparse.Namespace) -> Config:
    """The config that `args.config` names, with `--cfg-options`.

    Raises:
        UserError, FileNotFoundError: if it cannot be read, or an option leads nowhere.
    """
    cfg = Config.fromfile(args.config, trust=args.trust_config)
    cfg.merge_from_dict(args.cfg_options or {}, source='--cfg-options')
    return cfg


def add_key_values(parser: argparse._ActionsContainer, flag: str, text: str) -> None:
    """An option that takes `KEY=VALUE` words and gives a dict."""
    parser.add_argument(flag, nargs='+', action=DictAction, metavar='KEY=VALUE', help=text)


def add_device_options(parser: argparse._ActionsContainer) -> None:
    """`--device`, `--gpu-id`, `--launcher`, and `--local_rank` as torch.distributed.launch gives it."""
    parser.add_argument('--device', metavar='DEVICE', help='cpu, cuda, cuda:1, ...; a GPU if there is one')
    parser.add_argument('--gpu-id', type=int, metavar='N', help='the same as --device cuda:N')
    parser.add_argument('--launcher', choices=LAUNCHERS, default='none', help='program that started the processes')
    parser.add_argument('--local_rank', '--local-rank', type=int, help=argparse.SUPPRESS)
