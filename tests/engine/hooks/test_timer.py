from __future__ import annotations

import logging
import sys
from types import SimpleNamespace

import pytest

from mmkit.errors import MissingPackageError
from mmkit.registry import HOOKS
from tests.engine.toys import run_with

MB = 2**20


def test_memory_is_logged_at_intervals(monkeypatch, caplog):
    psutil = SimpleNamespace(
        virtual_memory=lambda: SimpleNamespace(available=5 * MB, used=3 * MB, percent=37.5),
        swap_memory=lambda: SimpleNamespace(used=0),
        Process=lambda: SimpleNamespace(memory_info=lambda: SimpleNamespace(rss=2 * MB)),
    )
    monkeypatch.setitem(sys.modules, 'psutil', psutil)
    with caplog.at_level(logging.INFO, 'mmkit'):
        run_with(HOOKS.build({'type': 'MemoryProfilerHook', 'interval': 2}))
    lines = [record.getMessage() for record in caplog.records if 'memory' in record.getMessage()]
    assert lines == ['memory: available 5 MB, used 3 MB, swap used 0 MB, this process 2 MB (37.5 % used)'] * 2


def test_memory_needs_a_package(monkeypatch):
    monkeypatch.setitem(sys.modules, 'psutil', None)
    with pytest.raises(MissingPackageError, match='pip install psutil'):
        HOOKS.build({'type': 'MemoryProfilerHook'})
    with pytest.raises(ValueError, match='interval'):
        HOOKS.build({'type': 'MemoryProfilerHook', 'interval': 0})
