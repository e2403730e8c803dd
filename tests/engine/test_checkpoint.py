from __future__ import annotations

import os
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from mmkit.engine.checkpoint import find_latest, is_intact, load_checkpoint, load_with_report, save_checkpoint


def make_model(width=3):
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Conv2d(3, width, 1), nn.BatchNorm2d(width))
    return nn.Sequential(OrderedDict(backbone=backbone, head=nn.Linear(width, 2)))


class TestSave:
    def test_what_a_checkpoint_holds(self, tmp_path):
        model = make_model()
        optimizer = torch.optim.SGD(model.parameters(), lr=np.float64(0.1), momentum=0.9)
        model.head(torch.ones(1, 3)).sum().backward()
        optimizer.step()
        meta = {'epoch': 2, 'iter': np.int64(7), 'CLASSES': ('a', 'b'), 'config': 'x = 1\n', 'best': np.float32(0.5)}
        save_checkpoint(tmp_path / 'new' / 'a.pth', model, optimizer, meta, extra={'scaler': {'scale': 2.0}})

        loaded = torch.load(tmp_path / 'new' / 'a.pth', weights_only=True)
        assert {name: loaded['meta'][name] for name in meta} == meta
        assert {'mmkit_version', 'env', 'time'} <= set(loaded['meta'])
        assert loaded['scaler'] == {'scale': 2.0}
        optimizer.load_state_dict(loaded['optimizer'])
        model.load_state_dict(loaded['state_dict'])

    def test_a_parallel_model_is_saved_without_its_wrapper(self, tmp_path):
        save_checkpoint(tmp_path / 'a.pth', nn.DataParallel(nn.Linear(1, 1)))
        assert list(torch.load(tmp_path / 'a.pth', weights_only=True)['state_dict']) == ['weight', 'bias']

    def test_a_full_disk_leaves_the_old_file(self, tmp_path, monkeypatch):
        save_checkpoint(tmp_path / 'a.pth', nn.Linear(1, 1))
        before = (tmp_path / 'a.pth').read_bytes()

        def full(content, file):
            file.write(b'half')
            raise OSError(28, 'No space left on device')

        monkeypatch.setattr(torch, 'save', full)
        with pytest.raises(OSError, match='No space left'):
            save_checkpoint(tmp_path / 'a.pth', nn.Linear(1, 1))
        assert os.listdir(tmp_path) == ['a.pth']
        assert (tmp_path / 'a.pth').read_bytes() == before

    def test_meta_that_could_not_be_read_back(self, tmp_path):
        with pytest.raises(TypeError, match=r'meta\.hooks\.one of a checkpoint is a object'):
            save_checkpoint(tmp_path / 'a.pth', nn.Linear(1, 1), meta={'hooks': {'one': object()}})
        assert os.listdir(tmp_path) == []


class TestLoad:
    def test_there_and_back(self, tmp_path, caplog):
        caplog.set_level('INFO')
        model, other = make_model(), make_model()
        nn.init.constant_(other.head.weight, 5)
        save_checkpoint(tmp_path / 'a.pth', other, meta={'epoch': 1})
        assert load_checkpoint(nn.DataParallel(model), tmp_path / 'a.pth', strict=True)['meta']['epoch'] == 1
        assert model.head.weight.tolist() == other.head.weight.tolist()
        assert 'tensors loaded' in caplog.text

    @pytest.mark.parametrize('layout', ['{}', '{"state_dict": }', '{"model": }', 'module.'])
    def test_layouts_of_other_projects(self, tmp_path, layout):
        model = make_model()
        state = dict(model.state_dict())
        if layout == 'module.':
            state = {f'module.{name}': value for name, value in state.items()}
        key = layout.strip('{}": ')
        torch.save({key: state, 'epoch': 3} if key in ('model', 'state_dict') else state, tmp_path / 'a.pth')
        load_checkpoint(model, tmp_path / 'a.pth', strict=True)

    def test_names_can_be_revised(self, tmp_path):
        torch.save({f'net.{name}': value for name, value in make_model().state_dict().items()}, tmp_path / 'a.pth')
        load_checkpoint(make_model(), tmp_path / 'a.pth', strict=True, revise_keys=[(r'^net\.', '')])

    def test_another_number_of_classes_is_reported(self, tmp_path, caplog):
        model = make_model()
        model.head = nn.Linear(3, 7)
        save_checkpoint(tmp_path / 'a.pth', make_model())
        load_checkpoint(model, tmp_path / 'a.pth')
        assert 'head.weight [7, 3], in the file [2, 3]' in caplog.text
        assert caplog.records[-1].levelname == 'WARNING'
        with pytest.raises(RuntimeError, match='do not fit'):
            load_checkpoint(model, tmp_path / 'a.pth', strict=True)

    def test_weights_of_another_backbone(self, tmp_path):
        save_checkpoint(tmp_path / 'a.pth', make_model(width=4))
        with pytest.raises(ValueError, match=r'not a checkpoint of this model: 0 of 6 tensors of the backbone match'):
            load_checkpoint(make_model(), tmp_path / 'a.pth')

    def test_weights_of_something_else(self, tmp_path):
        torch.save({'a': torch.ones(1), 'b': torch.ones(1)}, tmp_path / 'a.pth')
        with pytest.raises(ValueError, match='0 of 2 tensors of the Linear match.*weight, bias, .*file with a, b'):
            load_checkpoint(nn.Linear(1, 1), tmp_path / 'a.pth')

    def test_no_weights(self, tmp_path):
        torch.save({'epoch': 3}, tmp_path / 'a.pth')
        with pytest.raises(ValueError, match='holds no weights, only epoch'):
            load_checkpoint(nn.Linear(1, 1), tmp_path / 'a.pth')


class TestFindLatest:
    def test_the_number_decides(self, tmp_path):
        for name in ('epoch_2', 'epoch_10', 'epoch_9', 'best_bbox_mAP_epoch_11', 'epoch_12_old'):
            save_checkpoint(tmp_path / f'{name}.pth', nn.Linear(1, 1))
        assert find_latest(tmp_path) == tmp_path / 'epoch_10.pth'

    def test_broken_ones_are_passed_over(self, tmp_path, caplog):
        for number in (1, 2, 3):
            save_checkpoint(tmp_path / f'iter_{number}.pth', nn.Linear(100, 100))
        whole = (tmp_path / 'iter_3.pth').read_bytes()
        (tmp_path / 'iter_3.pth').write_bytes(whole[:-1000])
        flipped = bytearray((tmp_path / 'iter_2.pth').read_bytes())
        flipped[len(flipped) // 2] ^= 1
        (tmp_path / 'iter_2.pth').write_bytes(flipped)
        assert find_latest(tmp_path) == tmp_path / 'iter_1.pth'
        assert 'iter_3.pth is broken' in caplog.text

    def test_nothing_there(self, tmp_path):
        assert find_latest(tmp_path) is None
        assert find_latest(tmp_path / 'missing') is None

    def test_the_kind_written_last(self, tmp_path):
        for name, age in (('epoch_50', 100), ('iter_3', 50)):
            save_checkpoint(tmp_path / f'{name}.pth', nn.Linear(1, 1))
            os.utime(tmp_path / f'{name}.pth', (age, 1000 - age))
        assert find_latest(tmp_path) == tmp_path / 'iter_3.pth'


def test_a_file_that_is_no_checkpoint_is_not_intact(tmp_path):
    (tmp_path / 'a.pth').write_bytes(b'no')
    assert not is_intact(tmp_path / 'a.pth')
    assert not is_intact(tmp_path / 'b.pth')


class Wrapped(nn.parallel.DistributedDataParallel):
    """A DistributedDataParallel without processes."""

    def __init__(self, module):
        nn.Module.__init__(self)
        self.module = module


def partly_compiled(model):
    model.neck = torch.compile(model.neck, backend='eager')
    return model


@pytest.mark.parametrize(
    'wrap',
    [
        lambda model: torch.compile(model, backend='eager'),
        partly_compiled,
        lambda model: Wrapped(torch.compile(partly_compiled(model), backend='eager')),
        lambda model: torch.compile(Wrapped(model), backend='eager'),
    ],
    ids=['compiled', 'a part compiled', 'compiled inside of DDP', 'DDP compiled'],
)
def test_compiled_models_have_plain_names(tmp_path, wrap):
    torch.manual_seed(0)
    plain, saved = small_model(), wrap(small_model())
    save_checkpoint(tmp_path / 'a.pth', saved)
    checkpoint = torch.load(tmp_path / 'a.pth', weights_only=True)
    assert checkpoint['state_dict'].keys() == plain.state_dict().keys()
    assert checkpoint['state_dict']._metadata.keys() == plain.state_dict()._metadata.keys()
    load_checkpoint(plain, tmp_path / 'a.pth', strict=True)
    loaded = wrap(small_model())
    load_checkpoint(loaded, tmp_path / 'a.pth', strict=True)
    for model in (plain, loaded):
        for ours, theirs in zip(model.state_dict().values(), saved.state_dict().values(), strict=True):
            assert torch.equal(ours, theirs)


def test_names_of_a_compiled_model_in_a_file_are_read(tmp_path):
    """As a script writes them that saves the state dict itself."""
    saved, loaded = torch.compile(small_model(), backend='eager'), small_model()
    torch.save(saved.state_dict(), tmp_path / 'a.pth')
    load_checkpoint(loaded, tmp_path / 'a.pth', strict=True)
    assert torch.equal(loaded.neck.weight, saved.neck.weight)


def small_model():
    model = nn.Module()
    model.backbone = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    model.neck = nn.Linear(4, 2)
    return model


def test_a_checkpoint_of_the_other_dialect_says_how_to_convert_it(tmp_path):
    class Proposals(nn.Module):
        def __init__(self, name):
            super().__init__()
            self.backbone = nn.Linear(1, 1)
            self.add_module(name, nn.ModuleDict({'rpn_conv': nn.Linear(1, 1)}))

    torch.save(Proposals('bbox_head').state_dict(), tmp_path / 'a.pth')
    hint = f'2 of the missing ones get their names by: mmkit convert {tmp_path}/a.pth NEW.pth --from mmdet3'
    assert str(load_with_report(Proposals('rpn_head'), tmp_path / 'a.pth')[1]).endswith(hint)
    assert not load_with_report(Proposals('bbox_head'), tmp_path / 'a.pth')[1].hint
