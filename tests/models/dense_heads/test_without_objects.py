"""Images without objects: losses stay finite and every parameter gets a gradient; and what predictions look like."""

from __future__ import annotations

import copy

import pytest
import torch

from mmkit.models import build_head
from tests.models.scenes import batch_of, truth

FOCAL = dict(type='FocalLoss', use_sigmoid=True)
GIOU = dict(type='GIoULoss')
GN = dict(type='GN', num_groups=2)
BN = dict(type='BN')
STRIDES = [8, 16]
ANCHORS = dict(type='AnchorGenerator', scales=[2], ratios=[0.5, 1.0], strides=STRIDES)
SQUARES = dict(type='AnchorGenerator', ratios=[1.0], octave_base_scale=2, scales_per_octave=1, strides=STRIDES)
POINTS = dict(type='MlvlPointGenerator', offset=0, strides=STRIDES)
MAX_IOU = dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0)
BY_IOU = dict(assigner=MAX_IOU, allowed_border=-1, pos_weight=-1, debug=False)
ATSS = dict(assigner=dict(type='ATSSAssigner', topk=2), allowed_border=-1, pos_weight=-1, debug=False)
SOFT = dict(assigner=dict(type='DynamicSoftLabelAssigner'), allowed_border=-1, pos_weight=-1, debug=False)
SAMPLER = dict(type='RandomSampler', num=16, pos_fraction=0.5, neg_pos_ub=-1, add_gt_as_proposals=False)
TEST = dict(nms_pre=20, score_thr=0.0, nms=dict(type='nms', iou_threshold=0.6), max_per_img=10)
NARROW = dict(in_channels=8, feat_channels=8, test_cfg=TEST)
DENSE = dict(NARROW, num_classes=3, stacked_convs=1)
GUIDED = dict(
    approx_anchor_generator=dict(ANCHORS, ratios=[0.5, 1.0, 2.0]),
    square_anchor_generator=SQUARES,
    deform_groups=2,
    loc_filter_thr=0.001,
)
BY_SHAPE = dict(BY_IOU, ga_assigner=dict(MAX_IOU, type='ApproxMaxIoUAssigner'), center_ratio=0.2, ignore_ratio=0.5)
TOOD = dict(
    DENSE,
    type='TOODHead',
    norm_cfg=GN,
    anchor_generator=SQUARES,
    loss_cls=dict(type='QualityFocalLoss', use_sigmoid=True, activated=True, beta=2.0),
    loss_bbox=GIOU,
)
ALIGNED = dict(
    ATSS,
    initial_epoch=0,
    initial_assigner=ATSS['assigner'],
    assigner=dict(type='TaskAlignedAssigner', topk=13),
    alpha=1,
    beta=6,
)
PRIME = dict(isr=dict(k=2, bias=0), carl=dict(k=1, bias=0.2))
BASE_SIZES = [[[16, 16], [8, 24]], [[32, 32], [20, 40]]]

HEADS = {
    'anchor': dict(NARROW, type='AnchorHead', num_classes=3, anchor_generator=ANCHORS, train_cfg=BY_IOU),
    'rpn': dict(NARROW, type='RPNHead', anchor_generator=ANCHORS, train_cfg=dict(BY_IOU, sampler=SAMPLER)),
    'retina': dict(DENSE, type='RetinaHead', anchor_generator=ANCHORS, loss_cls=FOCAL, train_cfg=BY_IOU),
    'retina, giou': dict(
        DENSE,
        type='RetinaHead',
        anchor_generator=ANCHORS,
        loss_cls=FOCAL,
        loss_bbox=GIOU,
        reg_decoded_bbox=True,
        train_cfg=BY_IOU,
    ),
    'free anchor': dict(DENSE, type='FreeAnchorRetinaHead', anchor_generator=ANCHORS, pre_anchor_topk=4),
    'retina, pisa': dict(
        DENSE, type='PISARetinaHead', anchor_generator=ANCHORS, loss_cls=FOCAL, train_cfg=dict(BY_IOU, **PRIME)
    ),
    'yolof': dict(
        type='YOLOFHead',
        in_channels=8,
        num_classes=3,
        num_cls_convs=1,
        num_reg_convs=1,
        anchor_generator=dict(ANCHORS, strides=STRIDES),
        loss_cls=FOCAL,
        loss_bbox=GIOU,
        train_cfg=dict(assigner=dict(type='UniformAssigner', pos_ignore_thr=0.15, neg_ignore_thr=0.7)),
        test_cfg=TEST,
    ),
    'retina, ghm': dict(
        DENSE,
        type='RetinaHead',
        anchor_generator=ANCHORS,
        loss_cls=dict(type='GHMC'),
        loss_bbox=dict(type='GHMR'),
        train_cfg=BY_IOU,
    ),
    'retina, sepbn': dict(
        DENSE,
        type='RetinaSepBNHead',
        num_ins=2,
        norm_cfg=BN,
        anchor_generator=ANCHORS,
        loss_cls=FOCAL,
        train_cfg=BY_IOU,
    ),
    'atss': dict(
        DENSE,
        type='ATSSHead',
        norm_cfg=GN,
        anchor_generator=SQUARES,
        loss_cls=FOCAL,
        loss_bbox=GIOU,
        train_cfg=ATSS,
    ),
    'gfl': dict(DENSE, type='GFLHead', norm_cfg=GN, reg_max=4, anchor_generator=SQUARES, train_cfg=ATSS),
    'vfnet': dict(
        DENSE,
        type='VFNetHead',
        norm_cfg=GN,
        anchor_generator=dict(SQUARES, center_offset=0.0),
        strides=STRIDES,
        regress_ranges=[[-1, 32], [32, 1e8]],
        train_cfg=ATSS,
    ),
    'vfnet, focal': dict(
        DENSE,
        type='VFNetHead',
        norm_cfg=GN,
        anchor_generator=dict(SQUARES, center_offset=0.0),
        strides=STRIDES,
        bbox_norm_type='stride',
        use_vfl=False,
        dcn_on_last_conv=True,
        train_cfg=ATSS,
    ),
    'fcos': dict(
        DENSE, type='FCOSHead', norm_cfg=GN, strides=STRIDES, regress_ranges=[[-1, 32], [32, 1e8]], train_cfg=BY_IOU
    ),
    'fcos, improved': dict(
        DENSE,
        type='FCOSHead',
        norm_cfg=GN,
        strides=STRIDES,
        regress_ranges=[[-1, 32], [32, 1e8]],
        loss_bbox=GIOU,
        center_sampling=True,
        norm_on_bbox=True,
        centerness_on_reg=True,
        conv_bias=True,
        dcn_on_last_conv=True,
    ),
    'centernet, updated': dict(
        DENSE,
        type='CenterNetUpdateHead',
        norm_cfg=GN,
        strides=STRIDES,
        regress_ranges=[[0, 32], [16, 1e8]],
    ),
    'fovea': dict(
        DENSE, type='FoveaHead', strides=STRIDES, base_edge_list=[16, 32], scale_ranges=[[1, 32], [16, 64]], sigma=1.0
    ),
    'fovea, aligned': dict(
        DENSE,
        type='FoveaHead',
        strides=STRIDES,
        base_edge_list=[16, 32],
        scale_ranges=[[1, 32], [16, 64]],
        norm_cfg=GN,
        with_deform=True,
        deform_groups=2,
    ),
    'reppoints': dict(
        DENSE,
        type='RepPointsHead',
        point_feat_channels=8,
        point_strides=STRIDES,
        norm_cfg=GN,
        train_cfg=dict(init=dict(assigner=dict(type='PointAssigner', scale=4, pos_num=1)), refine=BY_IOU),
    ),
    'reppoints, grid': dict(
        DENSE,
        type='RepPointsHead',
        point_feat_channels=8,
        point_strides=STRIDES,
        transform_method='minmax',
        use_grid_points=True,
        train_cfg=dict(init=BY_IOU, refine=BY_IOU),
    ),
    'paa': dict(
        DENSE,
        type='PAAHead',
        norm_cfg=GN,
        anchor_generator=SQUARES,
        loss_cls=FOCAL,
        loss_bbox=GIOU,
        train_cfg=dict(BY_IOU, assigner=dict(MAX_IOU, pos_iou_thr=0.1, neg_iou_thr=0.1)),
    ),
    'guided': dict(NARROW, type='GuidedAnchorHead', num_classes=3, **GUIDED, train_cfg=BY_SHAPE),
    'guided, rpn': dict(NARROW, type='GARPNHead', **GUIDED, train_cfg=dict(BY_SHAPE, sampler=SAMPLER)),
    'guided, retina': dict(
        DENSE, type='GARetinaHead', **GUIDED, loss_cls=FOCAL, train_cfg=dict(BY_SHAPE, ga_sampler=SAMPLER)
    ),
    'tood': dict(TOOD, num_dcn=1, train_cfg=ALIGNED),
    'tood, anchors': dict(TOOD, anchor_type='anchor_based', train_cfg=dict(ALIGNED, initial_epoch=1)),
    'sabl': dict(
        DENSE,
        type='SABLRetinaHead',
        approx_anchor_generator=GUIDED['approx_anchor_generator'],
        square_anchor_generator=SQUARES,
        loss_cls=FOCAL,
        train_cfg=dict(BY_IOU, assigner=dict(MAX_IOU, type='ApproxMaxIoUAssigner')),
    ),
    'fsaf': dict(
        DENSE,
        type='FSAFHead',
        anchor_generator=SQUARES,
        bbox_coder=dict(type='TBLRBBoxCoder', normalizer=1.0),
        loss_cls=dict(FOCAL, reduction='none'),
        loss_bbox=dict(type='IoULoss', reduction='none'),
        reg_decoded_bbox=True,
        train_cfg=dict(BY_IOU, assigner=dict(type='CenterRegionAssigner', pos_scale=0.5, neg_scale=0.8)),
    ),
    'ssd': dict(
        type='SSDHead',
        num_classes=3,
        in_channels=[8, 8],
        anchor_generator=ANCHORS,
        train_cfg=dict(BY_IOU, smoothl1_beta=1.0, neg_pos_ratio=3),
        test_cfg=TEST,
    ),
    'ssd, pisa': dict(
        type='PISASSDHead',
        num_classes=3,
        in_channels=[8, 8],
        anchor_generator=ANCHORS,
        train_cfg=dict(BY_IOU, neg_pos_ratio=3, **PRIME),
        test_cfg=TEST,
    ),
    'ssdlite': dict(
        type='SSDHead',
        num_classes=3,
        in_channels=[8, 8],
        use_depthwise=True,
        norm_cfg=BN,
        act_cfg=dict(type='ReLU6'),
        anchor_generator=ANCHORS,
        train_cfg=dict(BY_IOU, smoothl1_beta=1.0, neg_pos_ratio=3),
        test_cfg=TEST,
    ),
    'yolov3': dict(
        type='YOLOV3Head',
        num_classes=3,
        in_channels=[8, 8],
        out_channels=[8, 8],
        featmap_strides=STRIDES,
        anchor_generator=dict(type='YOLOAnchorGenerator', base_sizes=BASE_SIZES, strides=STRIDES),
        train_cfg=dict(assigner=dict(type='GridAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0)),
        test_cfg=dict(TEST, conf_thr=0.005),
    ),
    'yolox': dict(
        NARROW,
        type='YOLOXHead',
        num_classes=3,
        strides=STRIDES,
        train_cfg=dict(assigner=dict(type='SimOTAAssigner', center_radius=2.5)),
    ),
    'rtmdet': dict(DENSE, type='RTMDetHead', norm_cfg=GN, anchor_generator=POINTS, train_cfg=SOFT),
    'rtmdet, sepbn': dict(DENSE, type='RTMDetSepBNHead', pred_kernel_size=3, anchor_generator=POINTS, train_cfg=SOFT),
}
OBJECTS = truth(([4, 4, 36, 40], 0), ([20, 10, 36, 30], 2), ([3, 5, 5, 7], 1))
SCENES = {
    'all': [OBJECTS, truth(([8, 8, 24, 24], 1))],
    'one image': [truth(), OBJECTS],
    'none': [truth(), truth()],
}


def made(name):
    torch.manual_seed(0)
    cfg = copy.deepcopy(HEADS[name])
    head = build_head(cfg)
    assert cfg == HEADS[name]
    head.init_weights()
    return head, [torch.rand(2, 8, 6, 6), torch.rand(2, 8, 3, 3)]


@pytest.mark.parametrize('scene', SCENES)
@pytest.mark.parametrize('name', HEADS)
def test_losses_and_gradients(name, scene):
    head, feats = made(name)
    if name == 'yolox':
        head.use_l1 = True
    losses = head.loss(head(feats), batch_of(*SCENES[scene], height=48, width=48))
    assert all(loss.ndim == 0 and loss.isfinite() for loss in losses.values())
    sum(losses.values()).backward()
    without = [name for name, p in head.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert not without
    if scene == 'all':
        assert all(loss > 0 for loss in losses.values())
        assert sum(float(p.grad.abs().sum()) for p in head.parameters()) > 0


@pytest.mark.parametrize('name', HEADS)
def test_predictions(name):
    head, feats = made(name)
    head.eval()
    batch = batch_of(truth(), truth(), height=48, width=48)
    with torch.no_grad():
        detections = head.predict(head(feats), batch.metas)
    assert len(detections) == 2
    for each in detections:
        assert len(each) <= 10 and each.bboxes.isfinite().all()
        assert (each.scores.diff() <= 0).all()
        assert each.labels.dtype == torch.long and set(each.labels.tolist()) <= {0, 1, 2}
        assert name == 'yolox' or len(each) > 0


@pytest.mark.parametrize('name', HEADS)
def test_losses_in_mixed_precision(name):
    head, feats = made(name)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        losses = head.loss(head(feats), batch_of(*SCENES['one image'], height=48, width=48))
    assert all(loss.isfinite() and loss.dtype == torch.float32 for loss in losses.values())
