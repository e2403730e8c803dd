"""Checkpoints of one dialect for configs of the other."""

from __future__ import annotations

import pytest
import torch

from mmkit.cli.convert import main
from mmkit.config import Config
from mmkit.engine.checkpoint import load_with_report, save_checkpoint
from mmkit.models import build_detector
from tests.models.detectors.test_two_stage import CFG
from tests.models.scenes import batch_of, truth

PREPROCESSOR = dict(type='DetDataPreprocessor', mean=[0.0] * 3, std=[1.0] * 3)
BACKBONE = dict(type='ResNet', depth=18, base_channels=4, stem_channels=4, out_indices=(3,))
RPN = {
    2: dict({key: CFG[key] for key in ('backbone', 'neck', 'rpn_head', 'train_cfg', 'test_cfg')}, type='RPN'),
}
RPN[3] = dict(RPN[2], data_preprocessor=PREPROCESSOR)

ATTENTION = dict(embed_dims=8, num_heads=2, dropout=0.0)
FFN = dict(embed_dims=8, feedforward_channels=16, num_fcs=2, ffn_drop=0.0, act_cfg=dict(type='ReLU', inplace=True))
LAYER = dict(feedforward_channels=16, ffn_dropout=0.0)


def detr_layers(kind, layer, cross=()):
    attention = dict(type='MultiheadAttention', **ATTENTION)
    order = ('self_attn', 'norm', *cross, 'ffn', 'norm')
    transformer_layer = dict(type=layer, attn_cfgs=attention, operation_order=order, **LAYER)
    return dict(type=kind, num_layers=2, transformerlayers=transformer_layer)


DETR = {
    2: dict(
        type='DETR',
        backbone=BACKBONE,
        bbox_head=dict(
            type='DETRHead',
            num_classes=3,
            in_channels=32,
            num_query=5,
            positional_encoding=dict(type='SinePositionalEncoding', normalize=True, num_feats=4),
            transformer=dict(
                type='Transformer',
                encoder=detr_layers('DetrTransformerEncoder', 'BaseTransformerLayer'),
                decoder=dict(
                    detr_layers('DetrTransformerDecoder', 'DetrTransformerDecoderLayer', ('cross_attn', 'norm')),
                    return_intermediate=True,
                ),
            ),
        ),
        test_cfg=dict(max_per_img=5),
    ),
    3: dict(
        type='DETR',
        data_preprocessor=PREPROCESSOR,
        num_queries=5,
        backbone=BACKBONE,
        neck=dict(
            type='ChannelMapper',
            in_channels=[32],
            kernel_size=1,
            out_channels=8,
            act_cfg=None,
            norm_cfg=None,
            num_outs=1,
        ),
        encoder=dict(num_layers=2, layer_cfg=dict(self_attn_cfg=dict(ATTENTION, batch_first=True), ffn_cfg=FFN)),
        decoder=dict(
            num_layers=2,
            layer_cfg=dict(
                self_attn_cfg=dict(ATTENTION, batch_first=True),
                cross_attn_cfg=dict(ATTENTION, batch_first=True),
                ffn_cfg=FFN,
            ),
            return_intermediate=True,
        ),
        positional_encoding=dict(num_feats=4, normalize=True),
        bbox_head=dict(type='DETRHead', num_classes=3, embed_dims=8),
        test_cfg=dict(max_per_img=5),
    ),
}


def build(cfg):
    torch.manual_seed(0)
    return build_detector(cfg)


@pytest.mark.parametrize('cfgs', [RPN, DETR], ids=['RPN', 'DETR'])
@pytest.mark.parametrize('source', [2, 3])
def test_a_model_of_the_other_dialect_detects_the_same(cfgs, source, tmp_path, capsys):
    model = build(cfgs[source]).eval()
    save_checkpoint(tmp_path / 'a.pth', model, meta={'CLASSES': ('cat',)})
    config = tmp_path / 'other.py'
    Config({'model': cfgs[5 - source]}).dump(config)
    command = [str(tmp_path / 'a.pth'), str(tmp_path / 'b.pth'), '--from', f'mmdet{source}', '--config', str(config)]
    assert main(command) == 0
    assert f'{len(model.state_dict())} tensors' in capsys.readouterr().out

    other = build_detector(cfgs[5 - source]).eval()
    content, report = load_with_report(other, tmp_path / 'b.pth')
    assert report.complete and content['meta']['CLASSES'] == ('cat',)
    torch.manual_seed(1)
    batch = batch_of(truth(), height=64, width=64)
    batch.imgs.normal_()
    with torch.no_grad():
        (ours,), (theirs,) = model(batch), other(batch)
    assert len(ours)
    torch.testing.assert_close((ours.bboxes, ours.scores), (theirs.bboxes, theirs.scores))

    assert main([str(tmp_path / 'b.pth'), str(tmp_path / 'c.pth'), '--from', f'mmdet{5 - source}']) == 0
    assert load_with_report(build_detector(cfgs[source]), tmp_path / 'c.pth')[1].complete


def test_the_target_may_be_said(tmp_path, capsys):
    save_checkpoint(tmp_path / 'a.pth', build(RPN[2]))
    paths = [str(tmp_path / 'a.pth'), str(tmp_path / 'b.pth')]
    assert main([*paths, '--from', 'mmdet2', '--to', '2']) == 0
    assert load_with_report(build_detector(RPN[2]), tmp_path / 'b.pth')[1].complete
    assert main([*paths, '--from', 'mmdet2', '--to', '3']) == 0
    assert load_with_report(build_detector(RPN[3]), tmp_path / 'b.pth')[1].complete
    with pytest.raises(SystemExit) as stop:
        main([*paths, '--from', 'torchvision', '--to', '3'])
    assert stop.value.code == 2
    assert '--to is for --from mmdet2 and mmdet3' in capsys.readouterr().err
