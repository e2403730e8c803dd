from __future__ import annotations

import json
import sys
from types import ModuleType
from unittest.mock import MagicMock, call

import pytest

from mmkit.errors import MissingPackageError
from mmkit.registry import VIS_BACKENDS
from tests.engine.toys import toy_model

CONFIG = "model = dict(type='A', depth=50)\nlr = 0.1\n"


def install(monkeypatch, name):
    """A stand-in for a package that records what is called."""
    package = MagicMock(spec=ModuleType(name))
    package = MagicMock()
    monkeypatch.setitem(sys.modules, name, package)
    return package


def run(backend, directory):
    backend.open(directory, CONFIG, toy_model())
    backend.add_scalars({'loss': 0.5, 'note': 'text'}, 3)
    backend.close()


def test_local_files(tmp_path):
    run(VIS_BACKENDS.build({'type': 'LocalVisBackend'}), tmp_path / 'vis_data')
    assert (tmp_path / 'vis_data' / 'config.py').read_text() == CONFIG
    line = json.loads((tmp_path / 'vis_data' / 'scalars.json').read_text())
    assert line == {'loss': 0.5, 'note': 'text', 'step': 3}
    other = VIS_BACKENDS.build(
        {
            'type': 'mmdet.LocalVisBackend',
            'save_dir': str(tmp_path / 'mine'),
            'config_save_file': 'c.py',
            'scalar_save_file': 's.json',
        }
    )
    run(other, tmp_path / 'unused')
    assert sorted(path.name for path in (tmp_path / 'mine').iterdir()) == ['c.py', 's.json']
    with pytest.raises(ValueError, match='img_save_dir'):
        VIS_BACKENDS.build({'type': 'LocalVisBackend', 'img_save_dir': 'images'})


def test_wandb(tmp_path, monkeypatch):
    wandb = install(monkeypatch, 'wandb')
    backend = VIS_BACKENDS.build(
        {
            'type': 'WandbVisBackend',
            'init_kwargs': {'project': 'p'},
            'define_metric_cfg': {'coco/bbox_mAP': 'max'},
            'commit': False,
            'log_code_name': 'code',
            'watch_kwargs': {'log': 'all'},
        }
    )
    run(backend, tmp_path / 'vis_data')
    wandb.init.assert_called_once_with(dir=str(tmp_path / 'vis_data'), project='p')
    opened = wandb.init.return_value
    opened.define_metric.assert_called_once_with(name='coco/bbox_mAP', summary='max')
    opened.log_code.assert_called_once_with(name='code')
    assert opened.watch.call_args.kwargs == {'log': 'all'}
    opened.log.assert_called_once_with({'loss': 0.5, 'note': 'text', 'step': 3}, commit=False)
    opened.finish.assert_called_once_with()


def test_mlflow(tmp_path, monkeypatch):
    mlflow = install(monkeypatch, 'mlflow')
    backend = VIS_BACKENDS.build(
        {
            'type': 'MLflowVisBackend',
            'exp_name': 'e',
            'run_name': 'r',
            'tags': {'a': 1},
            'params': {'b': 2},
            'tracking_uri': 'file:mlruns',
            'tracked_config_keys': ['model'],
        }
    )
    (tmp_path / 'config.py').write_text(CONFIG)
    (tmp_path / 'image.png').touch()
    run(backend, tmp_path)
    assert mlflow.mock_calls == [
        call.set_tracking_uri('file:mlruns'),
        call.set_experiment('e'),
        call.start_run(run_name='r'),
        call.set_tags({'a': 1}),
        call.log_params({'model.type': 'A', 'model.depth': 50, 'b': 2}),
        call.log_metrics({'loss': 0.5}, 3),
        call.log_artifact(str(tmp_path / 'config.py')),
        call.end_run(),
    ]


def test_tensorboard(tmp_path, monkeypatch):
    install(monkeypatch, 'tensorboard')
    tensorboard = install(monkeypatch, 'torch.utils.tensorboard')
    run(VIS_BACKENDS.build({'type': 'TensorboardVisBackend'}), tmp_path)
    tensorboard.SummaryWriter.assert_called_once_with(str(tmp_path))
    writer = tensorboard.SummaryWriter.return_value
    writer.add_scalar.assert_called_once_with('loss', 0.5, 3)
    assert writer.add_text.mock_calls == [call('config', CONFIG), call('note', 'text', 3)]
    writer.close.assert_called_once_with()


@pytest.mark.parametrize(
    ('kind', 'package'),
    [('TensorboardVisBackend', 'tensorboard'), ('WandbVisBackend', 'wandb'), ('MLflowVisBackend', 'mlflow')],
)
def test_a_missing_package_is_named(monkeypatch, kind, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackageError, match=f'{kind} needs {package}: pip install {package}'):
        VIS_BACKENDS.build({'type': kind})
