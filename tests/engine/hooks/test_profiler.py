from __future__ import annotations

import pytest

from mmkit.registry import HOOKS
from tests.engine.toys import run_with


def test_profiler_writes_a_trace(tmp_path):
    trace = tmp_path / 'trace.json'
    hook = HOOKS.build({'type': 'ProfilerHook', 'activities': ['cpu'], 'json_trace_path': str(trace)})
    run_with(hook, epochs=2, length=2)
    assert 'aten::' in trace.read_text()
    with pytest.raises(ValueError, match='tpu'):
        HOOKS.build({'type': 'ProfilerHook', 'activities': ['tpu']})
