from __future__ import annotations

import pytest
import torch
from torch import nn

from mmkit.utils.state_dict import cpu_state_dict, load_state_dict


def test_everything_is_accounted_for():
    module = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    state = {'0.weight': torch.ones(3, 2), '0.bias': torch.ones(4), 'fc.weight': torch.ones(1), 'epoch': 3}
    report = load_state_dict(module, state)
    assert report.matched == ['0.weight']
    assert report.mismatched == [('0.bias', (3,), (4,))]
    assert report.missing == ['1.weight', '1.bias', '1.running_mean', '1.running_var']
    assert sorted(report.unexpected) == ['epoch', 'fc.weight']
    assert report.under('0.') == (1, 2)
    assert report.under('') == (1, 6)
    assert '0.bias [3], in the file [4]' in str(report)
    assert module[0].weight.tolist() == [[1, 1]] * 3
    with pytest.raises(RuntimeError, match='do not fit Sequential: 1 tensors loaded'):
        load_state_dict(module, state, strict=True)


def test_a_complete_match_needs_no_batch_counters():
    module = nn.BatchNorm1d(2)
    state = {name: value for name, value in module.state_dict().items() if 'num_batches' not in name}
    report = load_state_dict(module, state, strict=True)
    assert report.complete
    assert str(report) == '4 tensors loaded'


def test_names_that_the_module_itself_translates_fit():
    class Renamed(nn.Linear):
        def _load_from_state_dict(self, state_dict, prefix, *args):
            state_dict[f'{prefix}weight'] = state_dict.pop(f'{prefix}old')
            super()._load_from_state_dict(state_dict, prefix, *args)

    module = Renamed(2, 2, bias=False)
    assert load_state_dict(module, {'old': torch.ones(2, 2)}).complete


def test_long_lists_are_cut():
    report = load_state_dict(nn.Linear(1, 1), {f'x{i}': torch.ones(1) for i in range(25)})
    assert '... and 5 more' in str(report)


def test_a_part_of_a_big_storage_is_saved_alone():
    module = nn.Linear(2, 1, bias=False)
    module.weight.data = torch.arange(1000.0)[:2][None]
    saved = cpu_state_dict(module)['weight']
    assert saved.untyped_storage().nbytes() == 8
    assert saved.tolist() == [[0, 1]]
