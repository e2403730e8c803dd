from __future__ import annotations

import warnings

import pytest

from mmkit.config import Config
from mmkit.models import build_detector
from mmkit.models.dense_heads.detections import PostProcessing
from mmkit.models.roi_heads.roi_settings import RoITestSettings
from mmkit.models.settings import warn_unknown_settings
from tests.models.detectors.test_two_stage import CFG


def test_unread_keys_are_named_beside_those_that_are():
    unread = r"train_cfg.rcnn keys \['mask_sise'\], did you mean 'mask_size'\?; known are \['assigner', 'mask_size'\]"
    with pytest.warns(UserWarning, match=unread):
        warn_unknown_settings(dict(mask_sise=28, debug=False), ['mask_size', 'assigner'], 'train_cfg.rcnn')


def test_unread_keys_are_located():
    cfg = Config.fromstring('model = dict(test_cfg=dict(rcnn=dict(\n    score_th=0.1)))').model.test_cfg.rcnn
    with pytest.warns(UserWarning, match=r'\[model.test_cfg.rcnn.score_th at <string>.py:2\]'):
        warn_unknown_settings(cfg, ['score_thr'], 'test_cfg.rcnn')
    with pytest.warns(UserWarning, match=r'\[model.test_cfg.rcnn.score_th at <string>.py:2\]'):
        PostProcessing.from_cfg(cfg)


def test_a_text_is_no_number():
    cfg = Config.fromstring("x = dict(score_thr=0.1, nms=None, max_per_img=5,\n    mask_thr_binary='0.5')").x
    message = r"mask_thr_binary is the text '0.5', .* write 0.5 \[x.mask_thr_binary at <string>.py:2\]"
    with pytest.raises(TypeError, match=message):
        RoITestSettings.from_cfg(cfg)


@pytest.mark.parametrize(
    ('path', 'name'),
    [
        ('train_cfg', 'train_cfg'),
        ('train_cfg.rpn', 'train_cfg'),
        ('train_cfg.rpn_proposal', 'test_cfg'),
        ('train_cfg.rcnn', 'train_cfg.rcnn'),
        ('test_cfg', 'test_cfg'),
        ('test_cfg.rpn', 'test_cfg'),
        ('test_cfg.rcnn', 'test_cfg.rcnn'),
    ],
)
def test_every_setting_of_a_two_stage_detector_is_read(path, name):
    def misspelt(cfg, keys):
        return {**cfg, keys[0]: misspelt(cfg[keys[0]], keys[1:])} if keys else {**cfg, 'scale': 1}

    with pytest.warns(UserWarning, match=rf"nothing reads the {name} keys \['scale'\]"):
        build_detector(dict(misspelt(CFG, path.split('.')), type='FasterRCNN'))


def test_what_mmdetection_carries_along_is_no_mistake():
    cfg = dict(CFG, type='FasterRCNN')
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        build_detector({**cfg, 'train_cfg': {key: {**value, 'debug': False} if key != 'rpn_proposal' else value
                                             for key, value in cfg['train_cfg'].items()}})  # fmt: skip
