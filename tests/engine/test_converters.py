import pickle
from collections import OrderedDict

import numpy as np
import pytest
import torch
import torchvision

from mmkit.cli.convert import main
from mmkit.engine.converters import CONVERTERS, convert_file, detectron2, megvii_yolox, repvgg
from mmkit.engine.converters import torchvision as from_torchvision
from mmkit.models import build_backbone, build_detector
from mmkit.utils.state_dict import load_state_dict


def names(conversion):
    return {old: new for new, old in conversion.renamed.items()}


def test_mobilenet_of_torchvision_gives_the_same_features():
    torch.manual_seed(0)
    theirs = torchvision.models.mobilenet_v2(weights=None).eval()
    ours = build_backbone(dict(type='MobileNetV2', out_indices=(7,))).eval()
    converted = from_torchvision.convert(theirs.state_dict())
    assert load_state_dict(ours, converted.state_dict, strict=True).complete
    assert converted.dropped == ['classifier.1.weight', 'classifier.1.bias']
    imgs = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(ours(imgs)[0], theirs.features(imgs))


def detector_cfg(depth=50, num_classes=2):
    anchors = dict(type='AnchorGenerator', scales=[8], ratios=[0.5, 1.0, 2.0], strides=[4, 8, 16, 32, 64])
    return dict(
        type='FasterRCNN',
        backbone=dict(type='ResNet', depth=depth),
        neck=dict(type='FPN', in_channels=[256, 512, 1024, 2048], out_channels=256, num_outs=5),
        rpn_head=dict(type='RPNHead', in_channels=256, anchor_generator=anchors),
        roi_head=dict(
            type='StandardRoIHead',
            bbox_roi_extractor=dict(
                type='SingleRoIExtractor',
                roi_layer=dict(type='RoIAlign', output_size=7),
                out_channels=256,
                featmap_strides=[4, 8, 16, 32],
            ),
            bbox_head=dict(type='Shared2FCBBoxHead', num_classes=num_classes),
        ),
    )


def test_faster_rcnn_of_torchvision_gives_the_same_features():
    torch.manual_seed(0)
    theirs = torchvision.models.detection.fasterrcnn_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=3
    ).eval()
    ours = build_detector(detector_cfg()).eval()
    converted = from_torchvision.convert(theirs.state_dict())
    report = load_state_dict(ours, converted.state_dict)
    assert not converted.unknown and not report.unexpected and not report.mismatched
    assert all(name.endswith('num_batches_tracked') for name in report.missing)
    imgs = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        for feat, expected in zip(ours.extract_feat(imgs), theirs.backbone(imgs).values(), strict=True):
            torch.testing.assert_close(feat, expected, rtol=1e-4, atol=1e-4)
    weight = theirs.roi_heads.box_predictor.cls_score.weight
    torch.testing.assert_close(ours.roi_head.bbox_head.fc_cls.weight[-1], weight[0])  # background goes last
    torch.testing.assert_close(
        ours.roi_head.bbox_head.fc_reg.weight, theirs.roi_heads.box_predictor.bbox_pred.weight[4:]
    )


def test_a_strange_model_is_refused():
    with pytest.raises(ValueError, match='no torchvision model'):
        from_torchvision.convert({'encoder.weight': torch.zeros(1)})


def test_yolox_names():
    expected = {
        'backbone.backbone.stem.conv.conv.weight': 'backbone.stem.conv.conv.weight',
        'backbone.backbone.dark2.0.dconv.bn.bias': 'backbone.stage1.0.depthwise_conv.bn.bias',
        'backbone.backbone.dark3.1.conv2.conv.weight': 'backbone.stage2.1.short_conv.conv.weight',
        'backbone.backbone.dark3.1.m.2.conv1.conv.weight': 'backbone.stage2.1.blocks.2.conv1.conv.weight',
        'backbone.backbone.dark5.1.conv2.conv.weight': 'backbone.stage4.1.conv2.conv.weight',
        'backbone.backbone.dark5.2.conv3.bn.weight': 'backbone.stage4.2.final_conv.bn.weight',
        'backbone.C3_p3.m.0.conv2.pconv.conv.weight': (
            'neck.top_down_blocks.1.blocks.0.conv2.pointwise_conv.conv.weight'
        ),
        'backbone.C3_n4.conv1.conv.weight': 'neck.bottom_up_blocks.1.main_conv.conv.weight',
        'backbone.bu_conv2.conv.weight': 'neck.downsamples.0.conv.weight',
        'head.stems.1.bn.bias': 'neck.out_convs.1.bn.bias',
        'head.cls_convs.0.1.conv.weight': 'bbox_head.multi_level_cls_convs.0.1.conv.weight',
        'head.obj_preds.2.bias': 'bbox_head.multi_level_conv_obj.2.bias',
    }
    assert names(megvii_yolox.convert({name: torch.zeros(1) for name in expected})) == expected


def test_detectron2_names():
    expected = {
        'backbone.bottom_up.stem.conv1.norm.weight': 'backbone.bn1.weight',
        'backbone.bottom_up.res4.2.conv3.norm.running_var': 'backbone.layer3.2.bn3.running_var',
        'backbone.bottom_up.res2.0.shortcut.weight': 'backbone.layer1.0.downsample.0.weight',
        'backbone.fpn_output5.bias': 'neck.fpn_convs.3.conv.bias',
        'proposal_generator.rpn_head.anchor_deltas.bias': 'rpn_head.rpn_reg.bias',
        'roi_heads.box_predictor.cls_score.weight': 'roi_head.bbox_head.fc_cls.weight',
        'roi_heads.mask_head.mask_fcn4.weight': 'roi_head.mask_head.convs.3.conv.weight',
    }
    assert names(detectron2.convert({name: torch.zeros(1) for name in expected})) == expected


def test_repvgg_names():
    expected = {
        'stage0.rbr_dense.conv.weight': 'stem.branch_3x3.conv.weight',
        'stage0.rbr_1x1.bn.running_var': 'stem.branch_1x1.norm.running_var',
        'stage1.0.rbr_dense.bn.num_batches_tracked': 'stage_1.0.branch_3x3.norm.num_batches_tracked',
        'module.stage3.13.rbr_1x1.conv.weight': 'stage_3.13.branch_1x1.conv.weight',
        'stage2.1.rbr_identity.running_mean': 'stage_2.1.branch_norm.running_mean',
        'stage4.0.se.down.bias': 'stage_4.0.se_layer.conv1.conv.bias',
        'stage4.0.se.up.weight': 'stage_4.0.se_layer.conv2.conv.weight',
        'stage0.rbr_reparam.bias': 'stem.branch_reparam.bias',
        'module.stage4.0.rbr_reparam.weight': 'stage_4.0.branch_reparam.weight',
    }
    converted = repvgg.convert({name: torch.zeros(1) for name in [*expected, 'linear.weight', 'head.weight']})
    assert names(converted) == expected
    assert converted.dropped == ['linear.weight'] and converted.unknown == ['head.weight']


@pytest.mark.parametrize('deploy', [False, True])
def test_repvgg_of_the_authors_fills_a_backbone(deploy, tmp_path):
    arch = dict(num_blocks=[1, 2], width_factor=[1, 1], group_layer_map=None, se_cfg=dict(ratio=2, divisor=1))
    small = dict(arch=arch, base_channels=8, strides=(2, 2), dilations=(1, 1), out_indices=(0, 1), deploy=deploy)
    ours = build_backbone(dict(type='RepVGG', **small))
    theirs = {'linear.weight': torch.zeros(1)}
    for name, tensor in ours.state_dict().items():
        name = name.replace('stem.', 'stage0.').replace('stage_', 'stage').replace('.norm.', '.bn.')
        name = name.replace('branch_3x3', 'rbr_dense').replace('branch_norm', 'rbr_identity')
        name = name.replace('branch_', 'rbr_').replace('se_layer.conv1.conv', 'se.down')
        theirs[name.replace('se_layer.conv2.conv', 'se.up')] = torch.rand_like(tensor.float())
    torch.save(theirs, tmp_path / 'theirs.pth')
    assert main([str(tmp_path / 'theirs.pth'), str(tmp_path / 'ours.pth'), '--from', 'repvgg']) == 0
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'ours.pth'))
    loaded = build_backbone(dict(type='RepVGG', **small, init_cfg=init_cfg))
    loaded.init_weights()
    block = 'stage2.1.rbr_reparam.bias' if deploy else 'stage2.1.rbr_identity.weight'
    place = loaded.stage_2[1].branch_reparam.bias if deploy else loaded.stage_2[1].branch_norm.weight
    torch.testing.assert_close(place.data, theirs[block])
    converted = repvgg.convert(theirs)
    assert load_state_dict(ours, converted.state_dict, strict=True).complete and not converted.unknown


def test_caffe2_backbone_fills_a_resnet(tmp_path):
    ours = build_backbone(dict(type='ResNet', depth=50, style='caffe'))
    arrays = {'conv1_w': ours.conv1.weight, 'res_conv1_bn_s': ours.bn1.weight, 'res_conv1_bn_b': ours.bn1.bias}
    for stage in range(4):
        for index, block in enumerate(getattr(ours, f'layer{stage + 1}')):
            place = f'res{stage + 2}_{index}_branch'
            for number, letter in enumerate('abc', start=1):
                arrays[f'{place}2{letter}_w'] = getattr(block, f'conv{number}').weight
                arrays[f'{place}2{letter}_bn_s'] = getattr(block, f'bn{number}').weight
                arrays[f'{place}2{letter}_bn_b'] = getattr(block, f'bn{number}').bias
            if block.downsample is not None:
                arrays[f'{place}1_w'] = block.downsample[0].weight
                arrays[f'{place}1_bn_s'] = block.downsample[1].weight
                arrays[f'{place}1_bn_b'] = block.downsample[1].bias
    path = tmp_path / 'R-50.pkl'
    path.write_bytes(pickle.dumps({'model': {k: v.detach().numpy() for k, v in arrays.items()}}))
    converted = detectron2.convert(detectron2.read_pickle(path))
    report = load_state_dict(ours, converted.state_dict)
    assert all(name.endswith('num_batches_tracked') for name in report.missing) and not report.unexpected


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), 'w')


def test_a_pickle_that_wants_more_than_arrays_is_not_executed(tmp_path):
    canary = tmp_path / 'canary'
    (tmp_path / 'bomb.pkl').write_bytes(pickle.dumps({'model': Bomb(canary)}))
    with pytest.raises(ValueError, match=r'asks for (_io|io)\.open'):
        detectron2.read_pickle(tmp_path / 'bomb.pkl')
    assert not canary.exists()


@pytest.mark.parametrize('content', [b'', b'no pickle', pickle.dumps([np.zeros(2)])])
def test_a_broken_pickle_names_the_file(tmp_path, content):
    (tmp_path / 'x.pkl').write_bytes(content)
    with pytest.raises(ValueError, match=r'x\.pkl'):
        detectron2.read_pickle(tmp_path / 'x.pkl')


def test_mmdet_keeps_only_weights_and_classes(tmp_path):
    source, destination = tmp_path / 'epoch_1.pth', tmp_path / 'out' / 'weights.pth'
    state = OrderedDict({'module.backbone.conv1.weight': torch.ones(1), 'ema_backbone_conv1_weight': torch.zeros(1)})
    torch.save({'meta': {'CLASSES': ('a',), 'epoch': 1}, 'state_dict': state, 'optimizer': {'x': 1}}, source)
    converted = convert_file(source, destination, 'mmdet')
    assert converted.dropped == ['ema_backbone_conv1_weight']
    written = torch.load(destination, weights_only=True)
    assert set(written) == {'meta', 'state_dict'} and written['meta']['CLASSES'] == ('a',)
    assert list(written['state_dict']) == ['backbone.conv1.weight']


DETR = {
    'backbone.conv1.weight': 'backbone.conv1.weight',
    'bbox_head.input_proj.weight': 'neck.convs.0.conv.weight',
    'bbox_head.query_embedding.weight': 'query_embedding.weight',
    'bbox_head.transformer.encoder.layers.11.attentions.0.attn.out_proj.bias': (
        'encoder.layers.11.self_attn.attn.out_proj.bias'
    ),
    'bbox_head.transformer.decoder.layers.0.attentions.1.attn.in_proj_bias': (
        'decoder.layers.0.cross_attn.attn.in_proj_bias'
    ),
    'bbox_head.transformer.decoder.layers.3.ffns.0.layers.0.0.weight': 'decoder.layers.3.ffn.layers.0.0.weight',
    'bbox_head.transformer.decoder.layers.3.norms.2.bias': 'decoder.layers.3.norms.2.bias',
    'bbox_head.transformer.decoder.post_norm.bias': 'decoder.post_norm.bias',
    'bbox_head.fc_cls.bias': 'bbox_head.fc_cls.bias',
}
DEFORMABLE = {
    'neck.convs.0.conv.weight': 'neck.convs.0.conv.weight',
    'bbox_head.transformer.level_embeds': 'level_embed',
    'bbox_head.transformer.enc_output.weight': 'memory_trans_fc.weight',
    'bbox_head.transformer.pos_trans_norm.bias': 'pos_trans_norm.bias',
    'bbox_head.transformer.reference_points.weight': 'reference_points_fc.weight',
}
ALONE = {'rpn_head.rpn_conv.weight': 'bbox_head.rpn_conv.weight', 'neck.x': 'neck.x'}
TWO_STAGE = {name: name for name in ('rpn_head.rpn_conv.weight', 'roi_head.bbox_head.fc_cls.bias')}


@pytest.mark.parametrize('names', [DETR, DEFORMABLE, ALONE, TWO_STAGE])
def test_names_of_both_dialects(names):
    to_v3 = CONVERTERS['mmdet2']({f'module.{name}': torch.zeros(1) for name in names})
    assert to_v3.renamed == {new: f'module.{old}' for old, new in names.items()}
    v3 = {**{name: torch.zeros(1) for name in names.values()}, 'data_preprocessor.mean': torch.zeros(3)}
    assert CONVERTERS['mmdet3'](v3).renamed == names


def test_detectors_that_only_3x_has_keep_their_names():
    names = {'level_embed', 'dn_query_generator.label_embedding.weight', 'encoder.layers.0.self_attn.value_proj.bias'}
    assert set(CONVERTERS['mmdet3']({name: torch.zeros(1) for name in names}).state_dict) == names


def test_command_reports(tmp_path, capsys):
    torch.save({'encoder.weight': torch.zeros(1)}, tmp_path / 'x.pth')
    arguments = [str(tmp_path / 'x.pth'), str(tmp_path / 'y.pth'), '--from']
    with pytest.raises(SystemExit) as stop:
        main([*arguments, 'megvii-yolox'])
    assert stop.value.code == 2
    assert 'none of its 1 tensors is known' in capsys.readouterr().err
    assert main([*arguments, 'mmdet']) == 0
    assert '1 tensors renamed' in capsys.readouterr().out
