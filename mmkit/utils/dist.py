"""Processes that train or test together. With a single process everything here is the identity."""

from __future__ import annotations

import os
import re
import socket
from typing import Any

import torch
from torch import Tensor
from torch import distributed as torch_dist

from mmkit.errors import InvalidValueError, UserError
from mmkit.utils.logging import get_logger, warn_once

LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')


class LauncherError(UserError, RuntimeError):
    """A launcher that did not start this process."""


def is_distributed() -> bool:
    return torch_dist.is_available() and torch_dist.is_initialized()


def get_rank() -> int:
    """Number of this process, 0 for the first or only one."""
    return torch_dist.get_rank() if is_distributed() else 0


def get_world_size() -> int:
    """How many processes work together."""
    return torch_dist.get_world_size() if is_distributed() else 1


def is_main() -> bool:
    """Whether this process is the one that writes files."""
    return get_rank() == 0


def barrier() -> None:
    """Wait for all processes."""
    if is_distributed():
        torch_dist.barrier()


def leave() -> None:
    """Wait for all processes and part; the opposite of `init_dist`."""
    if is_distributed():
        torch_dist.barrier()
        torch_dist.destroy_process_group()


def reduce_mean(tensor: Tensor) -> Tensor:
    """The mean of the tensor over all processes, without gradient; the argument stays as it is."""
    if get_world_size() == 1:
        return tensor
    mean = tensor.detach().clone().div_(get_world_size())
    torch_dist.all_reduce(mean)
    return mean


def broadcast_object(value: Any, src: int = 0) -> Any:
    """What process `src` passed, in every process. The value must pickle."""
    if get_world_size() == 1:
        return value
    box = [value]
    torch_dist.broadcast_object_list(box, src=src)
    return box[0]


def all_gather_object(value: Any) -> list[Any]:
    """The values of all processes in the order of their ranks, in every process. The values must pickle."""
    if get_world_size() == 1:
        return [value]
    gathered: list[Any] = [None] * get_world_size()
    torch_dist.all_gather_object(gathered, value)
    return gathered


def init_dist(launcher: str, backend: str | None = None, port: int | None = None) -> None:
    """Join the processes that a launcher started and choose this process's GPU.

    Args:
        launcher: 'none' does nothing; 'pytorch' reads what torchrun sets (RANK, WORLD_SIZE, LOCAL_RANK); 'slurm' what
            srun sets; 'mpi' what Open MPI's mpirun sets.
        backend: nccl, gloo or another of torch.distributed; by default nccl with a GPU and gloo without. nccl without a
            GPU becomes gloo with a warning.
        port: of the first process, with slurm and mpi, unless MASTER_PORT says it; 29500.

    Raises:
        InvalidValueError: for an unknown launcher.
        LauncherError: if the launcher's environment variables aren't there.
    """
    if launcher not in LAUNCHERS:
        raise InvalidValueError(f'launcher {launcher!r} is unknown, expected one of {", ".join(LAUNCHERS)}')
    if launcher == 'none':
        return
    if launcher == 'slurm':
        nodes = os.environ.get('SLURM_STEP_NODELIST') or _variable('SLURM_NODELIST', launcher)
        _set_environment(
            _variable('SLURM_PROCID', launcher),
            _variable('SLURM_NTASKS', launcher),
            _variable('SLURM_LOCALID', launcher),
            _first_host(nodes),
            port,
        )
    elif launcher == 'mpi':
        names = ('RANK', 'SIZE', 'LOCAL_RANK')
        own_rank, size, on_host = (_variable(f'OMPI_COMM_WORLD_{name}', launcher) for name in names)
        _set_environment(own_rank, size, on_host, 'localhost', port)

    local_rank, rank, world_size = (int(_variable(name, launcher)) for name in ('LOCAL_RANK', 'RANK', 'WORLD_SIZE'))
    if torch.cuda.is_available():
        torch.cuda.set_device(local_rank % torch.cuda.device_count())
    elif backend == 'nccl':
        warn_once('nccl needs a GPU and there is none: the processes talk through gloo')
        backend = 'gloo'
    backend = backend or ('nccl' if torch.cuda.is_available() else 'gloo')
    torch_dist.init_process_group(backend=backend, rank=rank, world_size=world_size)
    get_logger().info('process 0 of %d on %s, backend %s', world_size, socket.gethostname(), backend)


def _variable(name: str, launcher: str) -> str:
    value = os.environ.get(name)
    if value is None:
        starter = {'pytorch': 'torchrun', 'slurm': 'srun', 'mpi': 'mpirun'}[launcher]
        raise LauncherError(f'--launcher {launcher} needs the environment variable {name}: start with {starter}')
    return value


def _set_environment(rank: str, world_size: str, local_rank: str, host: str, port: int | None) -> None:
    os.environ.update(RANK=rank, WORLD_SIZE=world_size, LOCAL_RANK=local_rank)
    os.environ.setdefault('MASTER_ADDR', host)
    os.environ.setdefault('MASTER_PORT', str(port or 29500))


def _first_host(nodes: str) -> str:
    """The first name of slurm's compressed list: 'gpu[03-07,9],x1' -> 'gpu03'."""
    match = re.match(r'([^\[,]+)(?:\[(\w+))?', nodes)
    if match is None:
        raise LauncherError(f'cannot read the list of nodes {nodes!r} that slurm gave')
    return match[1] + (match[2] or '')
