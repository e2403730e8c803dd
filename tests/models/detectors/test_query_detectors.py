"""Detectors with queries, whose transformer hangs in the head or in the detector."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from mmkit import Config
from mmkit.engine.converters import CONVERTERS
from mmkit.models import build_detector
from tests.models.test_empty_gt import CONFIGS, SCENES, batch_of, shrink


def small(name: str, **changes: Any) -> dict[str, Any]:
    return shrink(Config.fromfile(str(CONFIGS / f'{name}.py')).model, **changes)


TWO_STAGES = {'bbox_head.transformer.two_stage_num_proposals': 12}
PAIRS = {
    'detr': lambda: (
        small('detr/detr_r50_8x2_150e_coco', **{'bbox_head.num_query': 12}),
        small('detr/detr_r50_8xb2-150e_coco'),
    ),
    'deformable': lambda: (
        small('deformable_detr/deformable_detr_r50_16x2_50e_coco'),
        small('deformable_detr/deformable-detr_r50_16xb2-50e_coco'),
    ),
    'deformable, refined, two stages': lambda: (
        small('deformable_detr/deformable_detr_twostage_refine_r50_16x2_50e_coco', **TWO_STAGES),
        small('deformable_detr/deformable-detr-refine-twostage_r50_16xb2-50e_coco'),
    ),
}


@pytest.mark.parametrize('name', PAIRS)
def test_both_arrangements_compute_the_same(name: str) -> None:
    """With the same weights under the names of either dialect: losses in training, detections otherwise."""
    in_head, in_detector = map(build_detector, PAIRS[name]())
    torch.manual_seed(0)
    for parameter in in_head.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    in_detector.load_state_dict(CONVERTERS['mmdet2'](in_head.state_dict()).state_dict)
    for model in (in_head, in_detector):
        for module in model.modules():
            if isinstance(module, (torch.nn.Dropout, torch.nn.MultiheadAttention)):
                vars(module).update(p=0.0, dropout=0.0)
    batch = batch_of(*SCENES['full'])
    torch.testing.assert_close(in_detector.train()(batch), in_head.train()(batch))
    with torch.no_grad():
        for ours, theirs in zip(in_detector.eval()(batch), in_head.eval()(batch), strict=True):
            torch.testing.assert_close(ours.bboxes, theirs.bboxes, atol=1e-3, rtol=1e-4)
            torch.testing.assert_close(ours.scores, theirs.scores)


def test_there_must_be_one_transformer() -> None:
    model = small('detr/detr_r50_8xb2-150e_coco')
    del model['encoder']
    with pytest.raises(ValueError, match='got one of the two'):
        build_detector(model)
    del model['decoder']
    with pytest.raises(ValueError, match='neither has one'):
        build_detector(model)
    both = small(
        'detr/detr_r50_8xb2-150e_coco',
        **{'bbox_head.in_channels': 16, 'bbox_head.positional_encoding': dict(num_feats=8)},
    )
    both['bbox_head']['transformer'] = small('detr/detr_r50_8x2_150e_coco')['bbox_head']['transformer']
    with pytest.raises(ValueError, match='both have one'):
        build_detector(both)
    wrong = {**small('dab_detr/dab-detr_r50_8xb2-50e_coco'), 'bbox_head': dict(type='DETRHead', num_classes=3)}
    with pytest.raises(TypeError, match='must be a DABDETRHead'):
        build_detector(wrong)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'decoder.query_dim': 2}, 'query_dim must be 4'),
        ({'decoder.query_scale_type': 'fix_elewise'}, 'query_scale_type must be one of'),
        ({'decoder.layer_cfg.cross_attn_cfg.cross_attn': False}, 'cross_attn of this attention is True'),
        ({'encoder.layer_cfg.self_attn_cfg.batch_first': False}, 'batch first'),
    ],
)
def test_what_has_no_meaning_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_detector(small('dab_detr/dab-detr_r50_8xb2-50e_coco', **change))


def test_two_stages_are_what_dino_is() -> None:
    for name in ('dino/dino-4scale_r50_8xb2-12e_coco', 'ddq/ddq-detr-4scale_r50_8xb2-12e_coco'):
        with pytest.raises(ValueError, match='two stages and refines boxes'):
            build_detector(small(name, as_two_stage=False))


def test_one_scale_for_all_channels() -> None:
    model = build_detector(small('dab_detr/dab-detr_r50_8xb2-50e_coco', **{'decoder.query_scale_type': 'cond_scalar'}))
    assert model.decoder.query_scale.layers[-1].out_features == 1
    assert len(model.train()(batch_of(*SCENES['full']))) == 6


def test_dense_queries_learn_but_do_not_predict() -> None:
    model = build_detector(small('ddq/ddq-detr-4scale_r50_8xb2-12e_coco'))
    model.init_weights()
    batch = batch_of(*SCENES['full'])
    losses = model.train()(batch)
    assert {name for name in losses if 'aux' in name} == {
        f'{prefix}_aux_loss_{kind}' for prefix in ('0_aux', '1_aux', 'aux_enc') for kind in ('cls', 'bbox')
    }
    boxes, scores = model.eval().decode(batch)
    assert boxes.shape == (2, 12, 4) and scores.shape == (2, 12, 3)
