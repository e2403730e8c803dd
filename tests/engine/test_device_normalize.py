"""The normalisation of a whole run moves from its pipelines to its model, and nothing else changes."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from mmkit.apis import inference_detector, init_detector
from mmkit.config import Config
from mmkit.datasets import collate
from mmkit.dialects import read_recipe
from mmkit.engine.assemble import assemble, build_eval_dataset
from mmkit.engine.device_normalize import normalize_on_device
from mmkit.engine.hook import Hook
from mmkit.engine.predict import predict_views
from mmkit.registry import DETECTORS
from tests.tiny import make_dataset, tiny_config

CONFIGS = Path(__file__).parents[2] / 'configs'


@pytest.fixture
def cfg(tmp_path):
    cfg = tiny_config(make_dataset(tmp_path / 'data', num_images=4))
    cfg.merge_from_dict(dict(work_dir=str(tmp_path / 'work'), device='cpu', seed=3, **{'data.workers_per_gpu': 0}))
    return cfg


class Records(Hook):
    def __init__(self, records):
        self.records = records

    def on_record(self, runner, record):
        self.records.append(record)


def losses_and_batch(cfg):
    torch.manual_seed(0)
    runner, (loader,) = assemble(read_recipe(cfg))
    loader.sampler.set_epoch(0)
    batch = next(iter(loader))
    torch.manual_seed(1)  # of the samplers of boxes
    losses = runner.module.train()(batch)
    return {name: sum(loss).item() if isinstance(loss, list) else loss.item() for name, loss in losses.items()}, batch


def test_a_training_has_the_same_losses_from_a_quarter_of_the_bytes(cfg):
    before = cfg.pretty_text
    losses, batch = losses_and_batch(cfg)
    assert batch.imgs.dtype == torch.uint8 and batch.metas[0].img_norm_cfg is None
    assert cfg.pretty_text == before
    cfg.device_normalize = False
    expected, usual = losses_and_batch(cfg)
    assert usual.imgs.dtype == torch.float32 and usual.metas[0].img_norm_cfg is not None
    assert usual.imgs.nbytes == 4 * batch.imgs.nbytes
    assert losses == pytest.approx(expected, abs=1e-5)


def test_validation_losses_and_evaluation_are_deferred_too(cfg):
    cfg.merge_from_dict(dict(workflow=[('train', 1), ('val', 1)], runner=dict(max_epochs=1), checkpoint_config=None))
    runner, loaders = assemble(read_recipe(cfg))
    assert [next(iter(loader)).imgs.dtype for loader in loaders] == [torch.uint8] * 2
    records = []
    runner.register_hook(Records(records))
    runner.run(loaders, [('train', 1), ('val', 1)])
    assert any(record.mode == 'val' and 'loss' in record.values for record in records)
    assert any('bbox_mAP' in record.values for record in records)


def test_a_test_defers_its_own_data_alone(cfg):
    recipe = read_recipe(cfg, training=False)
    changed = normalize_on_device(recipe)
    assert changed.model['data_preprocessor']['mean'] == pytest.approx(cfg.img_norm_cfg.mean)
    assert (changed.train, changed.val) == (recipe.train, recipe.val) and changed.test != recipe.test


def test_what_a_caller_has_built_is_not_changed(cfg):
    from mmkit.datasets import build_dataset
    from mmkit.models import build_detector

    dataset = build_dataset(cfg.data.train)
    _, (loader,) = assemble(read_recipe(cfg), build_detector(cfg.model), [dataset])
    assert next(iter(loader)).imgs.dtype == torch.float32


class OwnForward(torch.nn.Module):
    """A detector without `preprocess`."""


@pytest.mark.parametrize(
    ('changes', 'reason'),
    [
        ({'data.val.pipeline.1.transforms.2.std': [1.0, 1.0, 1.0]}, 'same values'),
        ({'model.type': 'OwnForward'}, 'no subclass of Detector'),
        ({'device_normalize': False}, None),
        ({'model.data_preprocessor': dict(type='DetDataPreprocessor')}, None),
    ],
)
def test_runs_that_stay_as_they_are(cfg, caplog, changes, reason):
    DETECTORS.register_module(module=OwnForward, force=True)
    cfg.merge_from_dict(changes)
    recipe = read_recipe(cfg)
    with caplog.at_level(logging.INFO, logger='mmkit'):
        assert normalize_on_device(recipe) is recipe
    assert len(caplog.messages) == (reason is not None) and all(reason in message for message in caplog.messages)


@pytest.mark.parametrize(
    'name',
    [
        'faster_rcnn/faster_rcnn_r50_fpn_1x_coco.py',
        'htc/htc_r50_fpn_1x_coco.py',
        'yolox/yolox_s_8x8_300e_coco.py',
        'detr/detr_r50_8x2_150e_coco.py',
        'ssd/ssd300_coco.py',
        'faster_rcnn/faster_rcnn_r50_caffe_fpn_mstrain_1x_coco.py',
    ],
)
def test_shipped_configs_can_be_deferred(name):
    recipe = read_recipe(Config.fromfile(CONFIGS / name))
    changed = normalize_on_device(recipe)
    assert changed is not recipe
    assert ('data_preprocessor' in changed.model) == ('yolox' not in name)
    assert 'data_preprocessor' not in recipe.model


def test_a_model_that_was_trained_so_predicts_from_usual_pipelines(cfg):
    """Images of `inference_detector` have been normalised already."""
    runner, (loader,) = assemble(read_recipe(cfg))
    raw = next(iter(loader))
    model = runner.module.eval()
    usual = model.preprocess(raw)
    for ours, theirs in zip(predict_views(model, raw), predict_views(model, usual), strict=True):
        assert torch.equal(ours.bboxes, theirs.bboxes)


def test_a_checkpoint_carries_the_config_as_it_was_written(cfg, tmp_path):
    cfg.merge_from_dict(dict(runner=dict(max_epochs=1)))
    runner, loaders = assemble(read_recipe(cfg))
    runner.run(loaders, [('train', 1)])
    path = tmp_path / 'work' / 'epoch_1.pth'
    written = Config.fromstring(torch.load(path, weights_only=True)['meta']['config'], '.py')
    assert written.data.train.pipeline == cfg.data.train.pipeline and 'data_preprocessor' not in written.model
    model = init_detector(written, path, device='cpu')
    recipe = normalize_on_device(read_recipe(cfg, training=False))
    dataset = build_eval_dataset(recipe.test, recipe.source('test'))
    (ours,) = predict_views(runner.module.eval(), collate([dataset[0]]))
    theirs = inference_detector(model, str(tmp_path / 'data' / 'images' / '0.png'))
    assert len(ours) and torch.allclose(ours.bboxes, theirs.bboxes, atol=1e-3)
    assert torch.allclose(ours.scores, theirs.scores, atol=1e-5)
