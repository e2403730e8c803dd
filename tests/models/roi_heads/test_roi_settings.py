from __future__ import annotations

import pytest

from mmkit import Config
from mmkit.errors import UserError
from mmkit.models import build_head
from mmkit.models.roi_heads.roi_settings import RoITestSettings, RoITrainSettings
from tests.models.roi_heads.parts import BBOX, EXTRACTOR, TEST, TRAIN


def test_defaults_are_those_of_mmdetection():
    train = RoITrainSettings.from_cfg({key: TRAIN[key] for key in ('assigner', 'sampler')})
    assert (train.pos_weight, train.mask_size, train.soft_mask_target) == (-1, 28, False)
    test = RoITestSettings.from_cfg({key: TEST[key] for key in ('score_thr', 'nms', 'max_per_img')})
    assert test.mask_thr_binary == 0.5 and test.max_per_img == 6


@pytest.mark.parametrize('key', ['score_thr', 'nms', 'max_per_img'])
def test_missing_settings_are_named(key):
    with pytest.raises(ValueError, match=f"test_cfg.rcnn needs '{key}'"):
        RoITestSettings.from_cfg({name: value for name, value in TEST.items() if name != key})


def test_mistakes_are_blamed_on_their_lines(tmp_path):
    (tmp_path / 'a.py').write_text(
        'rcnn = dict(\n    score_thr=0.05,\n    nms=dict(type="nms", iou_threshold=0.5),\n    max_per_img=100,\n'
        '    mask_thr_binary=-1,\n)\n'
    )
    cfg = Config.fromfile(str(tmp_path / 'a.py'))
    with pytest.raises(UserError, match=r'mask_thr_binary is in 0..1, got -1.*\[rcnn.mask_thr_binary at .*a.py:5\]'):
        RoITestSettings.from_cfg(cfg.rcnn)


@pytest.mark.parametrize(
    'kind', [dict(type='StandardRoIHead'), dict(type='CascadeRoIHead', num_stages=2, stage_loss_weights=[1, 1])]
)
def test_an_assigner_that_needs_more_than_boxes_is_refused_at_the_build(kind):
    """Regions have neither levels nor predictions: training would fail at its first iteration."""
    train_cfg = dict(TRAIN, assigner=dict(type='ATSSAssigner', topk=9))
    message = 'a RoI head cannot train with ATSSAssigner, which needs num_level_bboxes: the head knows boxes'
    with pytest.raises(TypeError, match=message):
        build_head(dict(kind, bbox_roi_extractor=EXTRACTOR, bbox_head=BBOX, train_cfg=train_cfg))
