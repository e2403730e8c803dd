from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import torch

from mmkit.apis import train_detector
from mmkit.engine import base_runner
from mmkit.engine.checkpoint import find_latest
from mmkit.engine.hooks.checkpoint import CheckpointHook, publish
from mmkit.utils.files import sha256
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
        ({'interval': 2, 'save_begin': 1, 'save_last': False}, ['epoch_1.pth', 'epoch_3.pth', 'latest.pth']),
        (
            {'interval': 1, 'filename_tmpl': 'e{}-of-4.pth', 'max_keep_ckpts': 2, 'create_symlink': False},
            ['e3-of-4.pth', 'e4-of-4.pth'],
        ),
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


def test_checkpoints_of_any_name_are_found_again(tmp_path):
    train(tmp_path, {'interval': 3, 'filename_tmpl': 'mine_{}.pth', 'last_checkpoint': True})
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'mine_4.pth')
    assert find_latest(tmp_path) == tmp_path / 'mine_4.pth'
    (tmp_path / 'mine_4.pth').write_bytes(b'broken')
    assert find_latest(tmp_path) is None


def test_published_checkpoints_have_the_chosen_keys(tmp_path):
    train(tmp_path, {'interval': 4, 'published_keys': ['meta', 'state_dict', 'message_hub']})
    (published,) = tmp_path.glob('epoch_4-*.pth')
    content = torch.load(published, weights_only=True)
    assert set(content) == {'meta', 'state_dict'} and content['meta']['epoch'] == 4
    assert published.stem.removeprefix('epoch_4-') == sha256(published)[:8]
    assert publish(tmp_path / 'epoch_4.pth', ['state_dict']).stat().st_size < published.stat().st_size


@pytest.mark.parametrize('template', ['epoch.pth', '{}_{}.pth', 'a/{}.pth'])
def test_wrong_names(template):
    with pytest.raises(ValueError, match='filename_tmpl'):
        CheckpointHook(filename_tmpl=template)


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
