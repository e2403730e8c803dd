from __future__ import annotations

import multiprocessing
import os
import socket

import pytest
import torch

from mmkit.utils import dist


def test_a_single_process_needs_no_communication():
    tensor = torch.tensor([1.0, 2.0])
    assert (dist.get_rank(), dist.get_world_size(), dist.is_main()) == (0, 1, True)
    assert dist.reduce_mean(tensor) is tensor
    assert dist.broadcast_object('x') == 'x'
    assert dist.all_gather_object('x') == ['x']
    dist.barrier()
    dist.leave()
    dist.init_dist('none')
    assert not dist.is_distributed()


def test_unknown_launcher():
    with pytest.raises(ValueError, match="'torchrun' is unknown, expected one of none, pytorch"):
        dist.init_dist('torchrun')


@pytest.mark.parametrize(
    ('launcher', 'variable', 'starter'),
    [('pytorch', 'LOCAL_RANK', 'torchrun'), ('slurm', 'SLURM_NODELIST', 'srun'), ('mpi', 'COMM_WORLD', 'mpirun')],
)
def test_a_missing_launcher_is_named(launcher, variable, starter, monkeypatch):
    for name in list(os.environ):
        if 'SLURM' in name or 'OMPI' in name or name in ('RANK', 'LOCAL_RANK', 'WORLD_SIZE'):
            monkeypatch.delenv(name)
    with pytest.raises(RuntimeError, match=f'{variable}.*start with {starter}'):
        dist.init_dist(launcher)


@pytest.mark.parametrize(
    ('nodes', 'first'), [('gpu[03-07,9],x1', 'gpu03'), ('n1,n2', 'n1'), ('host-a', 'host-a'), ('a[1,3]', 'a1')]
)
def test_first_host_of_slurm(nodes, first):
    assert dist._first_host(nodes) == first


def _worker(rank, port, answers):
    variables = {'SLURM_PROCID': rank, 'SLURM_NTASKS': 2, 'SLURM_LOCALID': rank, 'MASTER_ADDR': 'localhost'}
    os.environ.update({name: str(value) for name, value in variables.items()})
    os.environ['SLURM_STEP_NODELIST'] = 'node[1-2]'
    dist.init_dist('slurm', port=port)
    mean = dist.reduce_mean(torch.tensor([float(rank)]))
    gathered = dist.all_gather_object({'rank': rank})
    chosen = dist.broadcast_object(f'from {rank}')
    dist.barrier()
    answers.put((rank, mean.item(), gathered, chosen, dist.is_main()))
    dist.leave()
    assert not dist.is_distributed()


@pytest.mark.slow
def test_two_processes():
    with socket.socket() as probe:
        probe.bind(('localhost', 0))
        port = probe.getsockname()[1]
    context = multiprocessing.get_context('spawn')
    answers = context.Queue()
    processes = [context.Process(target=_worker, args=(rank, port, answers)) for rank in range(2)]
    for process in processes:
        process.start()
    collected = sorted(answers.get(timeout=60) for _ in processes)
    for process in processes:
        process.join()
    both = [{'rank': 0}, {'rank': 1}]
    assert collected == [(0, 0.5, both, 'from 0', True), (1, 0.5, both, 'from 0', False)]
