"""Under DistributedDataParallel no process may wait for a gradient that another one, without objects, does not have."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.models.test_empty_gt import FAMILIES

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = Path(__file__).with_name('one_rank_empty.py')


@pytest.mark.slow
def test_a_process_without_objects_keeps_up() -> None:
    """Without find_unused_parameters, except where the config itself asks for it."""
    torchrun = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', '2', str(SCRIPT)]
    env = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': ''}
    done = subprocess.run([*torchrun, *FAMILIES], env=env, capture_output=True, text=True, timeout=550)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(' ok') == 2 * len(FAMILIES)
