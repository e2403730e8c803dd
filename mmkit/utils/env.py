"""Versions and devices of the machine, and the device that a command runs on."""

from __future__ import annotations

import importlib
import platform
import subprocess
import sys
from pathlib import Path

import torch

from mmkit.errors import InvalidValueError
from mmkit.utils.logging import warn_once
from mmkit.version import __version__


def collect_env() -> dict[str, str]:
    """Versions and devices, for logs and checkpoints."""
    env = {
        'mmkit': __version__,
        'git revision': git_revision(),
        'Python': sys.version.replace('\n', ' '),
        'Platform': platform.platform(),
        'CPU threads': str(torch.get_num_threads()),
        'CUDA available': str(torch.cuda.is_available()),
    }
    for index in range(torch.cuda.device_count()):
        env[f'GPU {index}'] = torch.cuda.get_device_name(index)
    if torch.cuda.is_available():
        env['CUDA'] = str(torch.version.cuda)
        env['cuDNN'] = str(torch.backends.cudnn.version())
    for title, module in [('PyTorch', 'torch'), ('TorchVision', 'torchvision'), ('NumPy', 'numpy'), ('OpenCV', 'cv2')]:
        try:
            env[title] = str(importlib.import_module(module).__version__)
        except ImportError:
            env[title] = 'not installed'
    return env


def format_env(env: dict[str, str]) -> str:
    """One line per entry."""
    return '\n'.join(f'{name}: {value}' for name, value in env.items())


def git_revision(path: Path | None = None) -> str:
    """The commit of the checkout at `path` (by default this package), with '+' if files have changed; or 'unknown'."""
    directory = path or Path(__file__).resolve().parent

    def git(*arguments: str) -> str:
        command = ['git', '-C', str(directory), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        revision = git('rev-parse', '--short=10', 'HEAD')
        return revision + ('+' if git('status', '--porcelain', '--untracked-files=no') else '')
    except (OSError, subprocess.SubprocessError):
        return 'unknown'


def resolve_device(device: str | torch.device | None = None) -> torch.device:
    """The given device, by default a GPU; on a machine without GPUs the CPU, with a warning.

    Raises:
        InvalidValueError: torch has no such device, or there are GPUs, but not the one with this index.
    """
    try:
        wanted = torch.device('cuda' if device is None else device)
    except RuntimeError as error:
        raise InvalidValueError(f'device is {device!r}, expected cpu, cuda or cuda:N', key='device') from error
    if wanted.type != 'cuda':
        return wanted
    if not torch.cuda.is_available():
        warn_once('there is no GPU: running on the CPU')
        return torch.device('cpu')
    if wanted.index is not None and wanted.index >= torch.cuda.device_count():
        raise InvalidValueError(
            f'device {wanted} was asked for, but there are {torch.cuda.device_count()} GPUs', key='device'
        )
    return wanted


def raise_file_limit(number: int) -> None:
    """Let this process have at least so many files open at a time, as far as the system allows it; not on Windows."""
    if sys.platform == 'win32':
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = number if hard == resource.RLIM_INFINITY else min(number, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
