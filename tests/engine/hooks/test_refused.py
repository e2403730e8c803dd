from __future__ import annotations

import pytest

from mmkit.registry import HOOKS


@pytest.mark.parametrize(
    ('name', 'advice'),
    [
        ('WandbLoggerHook', 'WandbVisBackend'),
        ('NeptuneLoggerHook', 'TensorboardLoggerHook'),
        ('NPUProfilerHook', 'ProfilerHook'),
        ('Fp16OptimizerHook', 'fp16=dict'),
        ('SyncRandomSizeHook', 'random_size_range'),
    ],
)
def test_hooks_that_are_not_there_say_what_to_do(name, advice):
    with pytest.raises(NotImplementedError, match=f'(?s){name}.*{advice}'):
        HOOKS.build({'type': name, 'interval': 5})
