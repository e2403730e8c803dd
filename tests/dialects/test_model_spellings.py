"""What types of models mean in 3.x."""

import pytest

from mmkit.dialects import neutral_model
from mmkit.dialects.spellings import MODELS, read_v3, write_v3

V3 = dict(data_preprocessor=dict(type='DetDataPreprocessor'))
TEST = dict(nms_pre=1000, min_bbox_size=0, score_thr=0.05)


@pytest.mark.parametrize(
    ('cfg', 'neutral'),
    [
        (dict(type='FCOS', test_cfg=TEST), dict(type='FCOS', test_cfg=dict(TEST, strict_min_size=True))),
        (dict(type='FCOS', test_cfg=dict(nms_pre=9)), dict(type='FCOS', test_cfg=dict(nms_pre=9))),
        (dict(type='FCOS', test_cfg=None), dict(type='FCOS', test_cfg=None)),
        (
            dict(type='YOLOV3', test_cfg=TEST),
            dict(type='YOLOV3', test_cfg=dict(TEST, strict_min_size=True, limit_candidates=True)),
        ),
        (dict(type='RPN'), dict(type='RPN', head_name='bbox_head')),
        (dict(type='FusedSemanticHead'), dict(type='FusedSemanticHead', seg_scale_factor=0.125)),
        (dict(type='HybridTaskCascadeRoIHead'), dict(type='HybridTaskCascadeRoIHead', averages_masks=False)),
    ],
)
def test_a_model_of_3x_is_read_and_written(cfg, neutral):
    assert read_v3(cfg, MODELS) == neutral
    assert write_v3(neutral, MODELS) == cfg


def test_what_2x_means_is_written_for_3x_and_read_back():
    cfg = dict(type='YOLOV3', test_cfg=TEST)
    written = write_v3(cfg, MODELS)
    assert written['test_cfg'] == dict(TEST, strict_min_size=False, limit_candidates=False)
    assert read_v3(written, MODELS) == cfg
    assert write_v3(dict(type='RPN'), MODELS) == dict(type='RPN', head_name='rpn_head')


def test_only_a_model_with_a_preprocessor_of_3x_is_rewritten():
    cfg = dict(type='FCOS', test_cfg=TEST)
    assert neutral_model(cfg) is cfg
    assert neutral_model({**cfg, **V3})['test_cfg'] == dict(TEST, strict_min_size=True)
    own = dict(cfg, data_preprocessor=dict(type='DataPreprocessor'))
    assert neutral_model(own) is own


def test_a_detector_that_is_not_there_is_named_before_its_parts_are_read():
    cost = {'type': 'HungarianAssigner', 'match_costs': [{'type': 'DiceCost'}]}
    model = {'type': 'Mask2Former', **V3, 'train_cfg': {'assigner': cost}}
    assert neutral_model(model) is model
