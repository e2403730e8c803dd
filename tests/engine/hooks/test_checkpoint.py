from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import torch

from mmkit.apis import train_detector
from mmkit.engine import base_runner
from mmkit.engine.hooks.checkpoint import CheckpointHook
from tests.engine.toys import ToyDataset, toy_config, toy_model


def names(directory):
    return sorted(path.name for path in directory.iterdir() if path.suffix == '.pth')


def train(work_dir, checkpoint, **changes):
    return train_detector(toy_model(), ToyDataset(), toy_config(work_dir, checkpoint_config=checkpoint, **changes))


@pytest.mark.parametrize(
    ('checkpoint', 'expected'),
    [
        ({'interval': 2}, ['epoch_2.pth', 'epoch_4.pth', 'latest.pth']),
        ({'interval': 3}, ['epoch_3.pth', 'epoch_4.pth', 'latest.pth']),
        ({'interval': 3, 'save_last': False}, ['epoch_3.pth', 'latest.pth']),
        ({'interval': -1}, ['epoch_4.pth', 'latest.pth']),
        ({'interval': 1, 'max_keep_ckpts': 2, 'create_symlink': False}, ['epoch_3.pth', 'epoch_4.pth']),
        ({'interval': 10, 'by_epoch': False, 'max_keep_ckpts': 2}, ['iter_20.pth', 'iter_24.pth', 'latest.pth']),
    ],
)
def test_which_checkpoints_are_there(tmp_path, checkpoint, expected):
    train(tmp_path, checkpoint)
    assert names(tmp_path) == expected


def test_latest_points_at_the_last_one(tmp_path):
    train(tmp_path, {'interval': 2, 'meta': {'note': 'mine'}})
    latest = tmp_path / 'latest.pth'
    assert os.readlink(latest) == 'epoch_4.pth'
    content = torch.load(latest, weights_only=True)
    assert content['meta']['epoch'] == 4 and content['meta']['iter'] == 24 and content['meta']['note'] == 'mine'
    assert content['meta']['CLASSES'] == ('cat', 'dog')
    assert set(content) == {'meta', 'state_dict', 'optimizer', 'runner'}


def test_latest_is_a_copy_where_there_are_no_links(tmp_path, monkeypatch):
    def refuse(self, target):
        raise OSError('no links here')

    monkeypatch.setattr(Path, 'symlink_to', refuse)
    train(tmp_path, {'interval': 4})
    latest = tmp_path / 'latest.pth'
    assert not latest.is_symlink() and latest.read_bytes() == (tmp_path / 'epoch_4.pth').read_bytes()


def test_out_dir_gets_a_directory_of_the_same_name(tmp_path):
    train(tmp_path / 'run', {'interval': 4, 'out_dir': str(tmp_path / 'big'), 'save_optimizer': False})
    assert names(tmp_path / 'big' / 'run') == ['epoch_4.pth', 'latest.pth']
    assert 'optimizer' not in torch.load(tmp_path / 'big' / 'run' / 'epoch_4.pth', weights_only=True)


@pytest.mark.parametrize('wrapped', [False, True])
def test_a_full_disk_leaves_the_earlier_checkpoint(tmp_path, monkeypatch, caplog, wrapped):
    save = base_runner.save_checkpoint

    def full_in_epoch_2(path, *args):
        if '_2.' not in str(path):
            return save(path, *args)
        try:
            raise OSError(errno.ENOSPC, 'No space left on device')
        except OSError:
            if wrapped:  # as torch.save does
                raise RuntimeError('unexpected pos') from None
            raise

    monkeypatch.setattr(base_runner, 'save_checkpoint', full_in_epoch_2)
    train(tmp_path, {'interval': 2, 'max_keep_ckpts': 1}, runner={'type': 'EpochBasedRunner', 'max_epochs': 3})
    (error,) = [record.getMessage() for record in caplog.records if record.levelname == 'ERROR']
    assert 'epoch_2.pth could not be written' in error and 'No space left' in error
    assert names(tmp_path) == ['epoch_3.pth', 'latest.pth']


def test_other_errors_are_not_swallowed(tmp_path, monkeypatch):
    def broken(*args):
        raise RuntimeError('a mistake')

    monkeypatch.setattr(base_runner, 'save_checkpoint', broken)
    with pytest.raises(RuntimeError, match='a mistake'):
        train(tmp_path, {'interval': 1})


def test_later_checkpoints_of_an_abandoned_run_stay(tmp_path):
    (tmp_path / 'epoch_9.pth').write_bytes(b'x')
    train(tmp_path, {'interval': 1, 'max_keep_ckpts': 1, 'create_symlink': False})
    assert names(tmp_path) == ['epoch_4.pth', 'epoch_9.pth']


def test_only_the_disk():
    CheckpointHook(file_client_args={'backend': 'disk'})
    with pytest.raises(ValueError, match='petrel'):
        CheckpointHook(file_client_args={'backend': 'petrel'})
