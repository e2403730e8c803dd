"""Communication of the processes of one training or test; for a single process all of it is the identity."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterable
from typing import TypeVar

import torch
from torch import Tensor
from torch import distributed as torch_dist

from mmkit.errors import InvalidValueError, UserError
from mmkit.utils.logging import get_logger, warn_once

T = TypeVar('T')
LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')


class LauncherError(UserError, RuntimeError):
    """The processes were not started by the launcher that was named."""


def is_distributed() -> bool:
    """True if there are several processes."""
    return torch_dist.is_available() and torch_dist.is_initialized()


def get_rank() -> int:
    """Rank of this process, 0 for the first or only one."""
    return torch_dist.get_rank() if is_distributed() else 0


def get_world_size() -> int:
    """Number of processes."""
    return torch_dist.get_world_size() if is_distributed() else 1


def is_main() -> bool:
    """True in the process that writes files, rank 0."""
    return get_rank() == 0


def barrier() -> None:
    """Wait for all processes."""
    if is_distributed():
        torch_dist.barrier()


def leave() -> None:
    """Wait for all processes and leave the group; the opposite of `init_dist`."""
    if is_distributed():
        torch_dist.barrier()
        torch_dist.destroy_process_group()


def reduce_mean(tensor: Tensor) -> Tensor:
    """Mean of a tensor over all processes, without gradient; the argument is not modified."""
    if get_world_size() == 1:
        return tensor
    mean = tensor.detach().clone().div_(get_world_size())
    torch_dist.all_reduce(mean)
    return mean


@torch.no_grad()
def average_in_place(tensors: Iterable[Tensor]) -> None:
    """Make floating-point tensors of all processes equal: the mean over them. Others stay as they are."""
    if get_world_size() == 1:
        return
    for tensor in tensors:
        if tensor.is_floating_point():
            torch_dist.all_reduce(tensor)
            tensor.div_(get_world_size())


def broadcast_object(value: T, src: int = 0) -> T:
    """The value of process `src`, in every process; it must pickle."""
    if get_world_size() == 1:
        return value
    box = [value]
    torch_dist.broadcast_object_list(box, src=src)
    return box[0]


def all_gather_object(value: T) -> list[T]:
    """The values of all processes by rank, in every process; they must pickle."""
    if get_world_size() == 1:
        return [value]
    gathered = [value] * get_world_size()
    torch_dist.all_gather_object(gathered, value)
    return gathered


def init_dist(launcher: str, backend: str | None = None, port: int | None = None) -> None:
    """Join the processes that a launcher started, and choose this process's GPU.

    Args:
        launcher: 'none' does nothing; the others read environment variables: 'pytorch' those of torchrun (RANK,
            WORLD_SIZE, LOCAL_RANK), 'slurm' those of srun, 'mpi' those of Open MPI's mpirun.
        backend: nccl, gloo or another of torch.distributed; by default nccl with a GPU and gloo without. nccl without a
            GPU becomes gloo with a warning.
        port: of the first process, for slurm and mpi; by default MASTER_PORT or 29500.

    Raises:
        InvalidValueError: the launcher is unknown.
        LauncherError: the launcher's environment variables are missing.
    """
    if launcher not in LAUNCHERS:
        raise InvalidValueError(
            f'launcher {launcher!r} is unknown, expected one of {", ".join(LAUNCHERS)}', key='launcher'
        )
    if launcher == 'none':
        return
    if launcher == 'slurm':
        nodes = os.environ.get('SLURM_STEP_NODELIST') or _variable('SLURM_NODELIST', launcher)
        _set_environment(launcher, ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'), _first_host(nodes), port)
    elif launcher == 'mpi':
        names = ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK')
        _set_environment(launcher, names, 'localhost', port)

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


def _set_environment(launcher: str, names: tuple[str, str, str], host: str, port: int | None) -> None:
    """Set torchrun's variables from those of another launcher: `names` of rank, world size and local rank."""
    rank, world_size, local_rank = (_variable(name, launcher) for name in names)
    os.environ.update(RANK=rank, WORLD_SIZE=world_size, LOCAL_RANK=local_rank)
    os.environ.setdefault('MASTER_ADDR', host)
    os.environ.setdefault('MASTER_PORT', str(port or 29500))


def _first_host(nodes: str) -> str:
    """The first name of slurm's compressed list: 'gpu[03-07,9],x1' -> 'gpu03'."""
    match = re.match(r'([^\[,]+)(?:\[(\w+))?', nodes)
    if match is None:
        raise LauncherError(f'cannot read the list of nodes {nodes!r} of slurm')
    return match[1] + (match[2] or '')
