"""Two processes do what one process does with the double batch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.tiny import make_dataset

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = Path(__file__).with_name('distributed_training.py')
TORCHRUN = ['-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', '2']

pytestmark = pytest.mark.slow


def train(work_dir, processes, images, *options):
    launcher = ['pytorch'] if processes == 2 else ['none']
    command = [sys.executable, *(TORCHRUN if processes == 2 else []), str(SCRIPT), str(work_dir), str(images)]
    env = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': ''}
    done = subprocess.run([*command, *launcher, *options], env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert 'FutureWarning' not in done.stderr
    lines = []
    for path in sorted(work_dir.glob('*.log.json'), key=lambda path: path.stat().st_mtime_ns):
        lines += [json.loads(line) for line in path.read_text().splitlines()[1:]]
    return lines


def test_losses_of_two_processes_are_those_of_the_double_batch(tmp_path):
    two, one = train(tmp_path / 'two', 2, 2), train(tmp_path / 'one', 1, 4)
    assert len(two) == len(one) == 4 * 4 + 4
    for here, there in zip(two, one):
        own = {'time', 'data_time', *(['iter'] if here['mode'] == 'val' else [])}  # its own batches of validation
        for name in set(here) - own:
            assert here[name] == pytest.approx(there[name], abs=2e-5), name
    weights = [torch.load(tmp_path / run / 'epoch_4.pth', weights_only=True)['state_dict'] for run in ('two', 'one')]
    for name, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][name])


def test_a_detector_too(tmp_path):
    make_dataset(tmp_path / 'data', num_images=8)
    two, one = train(tmp_path / 'two', 2, 2, 'detector'), train(tmp_path / 'one', 1, 4, 'detector')
    assert len(two) == len(one) == 2 * 2
    for here, there in zip(two, one):
        for name in ('loss', 'loss_cls', 'loss_bbox', 'loss_centerness'):
            assert here[name] == pytest.approx(there[name], rel=1e-4), name


def test_all_processes_stop_at_the_loss_of_one(tmp_path):
    assert [line['iter'] for line in train(tmp_path, 2, 2, 'breaks')] == [1, 2]


def test_two_processes_resume_with_their_own_random_numbers(tmp_path):
    whole = train(tmp_path / 'whole', 2, 2, 'dropout')
    train(tmp_path / 'stopped', 2, 2, 'dropout', 'short')
    resumed = train(tmp_path / 'stopped', 2, 2, 'dropout', 'auto_resume')
    assert len(resumed) == len(whole)
    for here, there in zip(resumed, whole):
        assert {**here, 'time': 0, 'data_time': 0} == {**there, 'time': 0, 'data_time': 0}
