from __future__ import annotations

import pytest
import torch

from mmkit.utils import env, logging


def test_versions_are_listed():
    collected = env.collect_env()
    assert {'mmkit', 'git revision', 'Python', 'PyTorch', 'TorchVision'} <= set(collected)
    assert f'PyTorch: {torch.__version__}' in env.format_env(collected).splitlines()


def test_no_revision_outside_a_checkout(tmp_path):
    assert env.git_revision(tmp_path) == 'unknown'


def test_without_a_gpu_the_cpu_is_taken_and_that_is_said_once(monkeypatch, caplog):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    logging.warn_once.cache_clear()
    assert [env.resolve_device(name).type for name in (None, 'cuda:0', 'cuda', 'cpu')] == ['cpu'] * 4
    assert [record.message for record in caplog.records] == ['there is no GPU: running on the CPU']


def test_a_gpu_that_is_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    assert env.resolve_device('cuda:1') == torch.device('cuda:1')
    with pytest.raises(ValueError, match='cuda:2 was asked for, but there are 2 GPUs'):
        env.resolve_device('cuda:2')


def test_the_limit_of_open_files_is_raised_as_far_as_the_system_allows(monkeypatch):
    resource = pytest.importorskip('resource')
    limits = {'now': (1024, 4096)}
    monkeypatch.setattr(resource, 'getrlimit', lambda kind: limits['now'])
    monkeypatch.setattr(resource, 'setrlimit', lambda kind, pair: limits.update(now=pair))
    for wanted, soft in ((2048, 2048), (100, 2048), (10**6, 4096)):
        env.raise_file_limit(wanted)
        assert limits['now'] == (soft, 4096)
