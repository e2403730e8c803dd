"""Every family trains on images without objects and finds nothing where there is nothing to find.

Under DistributedDataParallel a parameter that gets no gradient in one process stops them all: so whatever a batch
holds, the same parameters must take part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmkit import Config
from mmkit.models import build_detector
from mmkit.structures import Batch, BitmapMasks, EncodedMasks, Instances, PolygonMasks
from tests.models.scenes import meta

CONFIGS = Path(__file__).parents[2] / 'configs'
HEIGHT, WIDTH = 64, 96
NUM_CLASSES = 3

WIDTHS = set(
    'in_channels out_channels feat_channels conv_out_channels fc_out_channels embed_dims feedforward_channels '
    'num_feats'.split()
)
SMALL = dict(
    num_classes=NUM_CLASSES,
    num_groups=4,
    stacked_convs=1,
    num_convs=1,
    num_layers=2,
    num_heads=2,
    num_query=12,
    num_queries=12,
    num_dn_queries=4,
    num=32,
    nms_pre=50,
)
MOBILE = {'divisor': 1}
# RTMDet-tiny's factor is 0.375; SyncBN in several processes needs GPUs.
NARROW = {'divisor': 8, 'backbone.widen_factor': 0.375 / 8} | {
    f'{part}.norm_cfg.type': 'BN' for part in ('backbone', 'neck', 'bbox_head')
}
GROUPS = {'bbox_head.norm_cfg': {'type': 'GN', 'num_groups': 4}}  # the default of the head has 32
POOL = {
    'roi_head.bbox_roi_extractor.roi_layer.output_channels': 16,
    'roi_head.bbox_roi_extractor.roi_layer.deform_fc_channels': 8,
}
# A C4 model: the shared stage has the width of a ResNet, of which the smallest has 18 layers.
C4 = {
    'divisor': 1,
    'backbone.depth': 18,
    'rpn_head.in_channels': 256,
    'rpn_head.feat_channels': 16,
    'roi_head.shared_head.depth': 18,
    'roi_head.bbox_roi_extractor.out_channels': 256,
    'roi_head.bbox_head.in_channels': 512,
    'roi_head.mask_head.in_channels': 512,
}
# The convolutions of a mask have 8 features besides the two of positions.
CONDITIONAL = {
    'bbox_head.num_params': 169,
    'mask_head.num_layers': 3,
    'mask_head.feat_channels': 8,
    'mask_head.mask_feature_head.out_channels': 8,
}
SEPARATE_NORMS = {'bbox_head.type': 'RetinaSepBNHead', 'bbox_head.num_ins': 5, 'bbox_head.norm_cfg': {'type': 'BN'}}
HARMONISED = {
    'bbox_head.loss_cls': {'_delete_': True, 'type': 'GHMC', 'momentum': 0.75, 'use_sigmoid': True},
    'bbox_head.loss_bbox': {'_delete_': True, 'type': 'GHMR', 'momentum': 0.7},
}
HARD_EXAMPLES = {f'train_cfg.rcnn.{stage}.sampler.type': 'OHEMSampler' for stage in range(3)}
# By name of a config and, behind '#', of a variant of it.
FAMILIES: dict[str, dict[str, Any]] = {
    'rpn/rpn_r50_fpn_1x_coco': {},
    'fast_rcnn/fast_rcnn_r50_fpn_1x_coco': {},
    'faster_rcnn/faster_rcnn_r50_fpn_1x_coco': {},
    'faster_rcnn/faster_rcnn_r50_fpn_ohem_1x_coco': {},
    'faster_rcnn/faster_rcnn_r50_fpn_giou_1x_coco': {},
    'dcn/faster_rcnn_r50_fpn_dpool_1x_coco': POOL,
    'dcnv2/faster_rcnn_r50_fpn_mdpool_1x_coco': POOL,
    'libra_rcnn/libra_faster_rcnn_r50_fpn_1x_coco': {},
    'mask_rcnn/mask_rcnn_r50_fpn_1x_coco': {},
    'mask_rcnn/mask_rcnn_r50_fpn_1x_coco#carafe': {
        'roi_head.mask_head.upsample_cfg': {'type': 'carafe', 'scale_factor': 2, 'compressed_channels': 4}
    },
    'groie/mask_rcnn_r50_fpn_groie_1x_coco': {},
    'mask_rcnn/mask_rcnn_r50_caffe_c4_1x_coco': C4,
    'gn+ws/mask_rcnn_r50_fpn_gn_ws-all_2x_coco': {},
    'dcnv2/mask_rcnn_r50_fpn_mdconv_c3-c5_1x_coco': {},
    'cascade_rcnn/cascade_rcnn_r50_fpn_1x_coco': {},
    'cascade_rcnn/cascade_mask_rcnn_r50_fpn_1x_coco': {},
    'htc/htc_r50_fpn_1x_coco': {},
    'htc/htc_without_semantic_r50_fpn_1x_coco': {},
    'htc/htc_without_semantic_r50_fpn_1x_coco#ohem': HARD_EXAMPLES,
    'retinanet/retinanet_r50_fpn_1x_coco': {},
    'repvgg/retinanet_repvgg-a0_fpn_1x_coco': {'backbone.base_channels': 4},
    'repvgg/faster_rcnn_repvgg-b0_fpn_1x_coco': {'backbone.base_channels': 4},
    'retinanet/retinanet_r50_fpn_1x_coco#sepbn': SEPARATE_NORMS,
    'retinanet/retinanet_r50_fpn_1x_coco#ghm': HARMONISED,
    'libra_rcnn/libra_retinanet_r50_fpn_1x_coco': {},
    'atss/atss_r50_fpn_1x_coco': GROUPS,
    'gfl/gfl_r50_fpn_1x_coco': GROUPS,
    'fcos/fcos_r50_caffe_fpn_gn-head_1x_coco': GROUPS,
    'fcos/fcos_center-normbbox-centeronreg-giou_r50_caffe_fpn_gn-head_1x_coco': GROUPS,
    'crowddet/crowddet-rcnn_refine_r50_fpn_8xb2-30e_crowdhuman': {},
    'centernet/centernet-update_r18_fpn_8xb8-amp-lsj-200e_coco': GROUPS,
    'condinst/condinst_r50_fpn_ms-poly-90k_coco_instance': GROUPS | CONDITIONAL,
    'boxinst/boxinst_r50_fpn_ms-90k_coco': GROUPS | CONDITIONAL,
    # The last two levels of SSD300 need images of that size.
    'ssd/ssd300_coco': {
        'divisor': 1,
        'neck.out_channels': [512, 1024, 32, 16],
        'neck.level_strides': (2, 2),
        'neck.level_paddings': (1, 1),
        'bbox_head.in_channels': [512, 1024, 32, 16],
        'bbox_head.anchor_generator.strides': [8, 16, 32, 64],
        'bbox_head.anchor_generator.ratios': [[2], [2, 3], [2, 3], [2]],
    },
    'ssd/ssdlite_mobilenetv2_scratch_600e_coco': MOBILE,
    'yolo/yolov3_mobilenetv2_mstrain-416_300e_coco': MOBILE,
    'yolox/yolox_nano_8x8_300e_coco': MOBILE,
    'rtmdet/rtmdet_tiny_8xb32-300e_coco': NARROW,
    'rtmdet/rtmdet-ins_tiny_8xb32-300e_coco': NARROW,
    'detr/detr_r50_8x2_150e_coco': {},
    'deformable_detr/deformable_detr_r50_16x2_50e_coco': {},
    'deformable_detr/deformable_detr_refine_r50_16x2_50e_coco': {},
    'deformable_detr/deformable_detr_twostage_refine_r50_16x2_50e_coco': {
        'bbox_head.transformer.two_stage_num_proposals': 12,
    },
    'detr/detr_r50_8xb2-150e_coco': {},
    'conditional_detr/conditional-detr_r50_8xb2-50e_coco': {},
    'dab_detr/dab-detr_r50_8xb2-50e_coco': {},
    'dab_detr/dab-detr_r50_8xb2-50e_coco#patterns': {'num_patterns': 2, 'with_random_refpoints': True},
    'deformable_detr/deformable-detr-refine_r50_16xb2-50e_coco': {},
    'deformable_detr/deformable-detr-refine-twostage_r50_16xb2-50e_coco': {},
    'dino/dino-4scale_r50_8xb2-12e_coco': {},
    'ddq/ddq-detr-4scale_r50_8xb2-12e_coco': {},
}

WITHOUT_THRESHOLD = [name for name in FAMILIES if any(word in name for word in ('detr', 'dino', 'rpn'))]
TWO_STAGES = [name for name in FAMILIES if 'rcnn' in Path(name).name or 'htc' in name]
# Nothing reads MobileNetV2's last convolution in this one, whose config says so with find_unused_parameters.
UNUSED = {
    'yolo/yolov3_mobilenetv2_mstrain-416_300e_coco': {
        f'backbone.conv2.{name}' for name in ('conv.weight', 'bn.weight', 'bn.bias')
    }
}


def narrowed(value: Any, divisor: int, key: str = '') -> Any:
    """A config with channels divided by `divisor`, and few of whatever else is many."""
    if isinstance(value, Mapping):
        return {name: narrowed(item, divisor, name) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [narrowed(item, divisor, key) for item in value]
    if key in WIDTHS and isinstance(value, int):
        return value // divisor
    return SMALL.get(key, value)


def shrink(model: Mapping[str, Any], divisor: int = 16, **overrides: Any) -> dict[str, Any]:
    """The `model` of a shipped config with the same parts, but fast; `overrides` by dotted keys."""
    small = narrowed(model, divisor)
    small['backbone']['init_cfg'] = None
    if 'ResNet' in small['backbone']['type']:
        small['backbone'].update(base_channels=64 // divisor, stem_channels=64 // divisor)
    cfg = Config({'model': small})
    cfg.merge_from_dict({f'model.{key}': value for key, value in overrides.items()})
    return cfg.model


@cache
def built(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    cfg = Config.fromfile(str(CONFIGS / f'{name.partition("#")[0]}.py'))
    model = build_detector(shrink(cfg.model, **FAMILIES[name]))
    model.init_weights()
    return model


def image(*objects: tuple[list[float], int]) -> Instances:
    masks = np.zeros((len(objects), HEIGHT, WIDTH), np.uint8)
    for mask, (box, _) in zip(masks, objects, strict=True):
        x1, y1, x2, y2 = map(int, box)
        mask[y1:y2, x1:x2] = 1
    return Instances(
        bboxes=torch.tensor([box for box, _ in objects]).reshape(-1, 4),
        labels=torch.tensor([label for _, label in objects], dtype=torch.long),
        masks=BitmapMasks(masks, HEIGHT, WIDTH),
    )


TWO = image(([8.0, 8.0, 40.0, 40.0], 0), ([50.0, 20.0, 80.0, 60.0], 2))
ONE = image(([20.0, 10.0, 36.0, 44.0], 1))
SCENES = {'full': (TWO, ONE), 'second image empty': (TWO, image()), 'all empty': (image(), image())}
REGIONS = Instances(bboxes=torch.tensor([[6.0, 9, 41, 38], [48, 18, 82, 58], [0, 0, 30, 30], [60, 5, 90, 25]]))


def batch_of(*gts: Instances, regions: Instances = REGIONS) -> Batch:
    torch.manual_seed(1)
    return Batch(
        imgs=torch.randn(len(gts), 3, HEIGHT, WIDTH),
        metas=[meta(HEIGHT, WIDTH) for _ in gts],
        gts=list(gts),
        ignored=[torch.zeros(0, 4) for _ in gts],
        proposals=[regions] * len(gts),
        gt_semantic_seg=torch.randint(0, NUM_CLASSES, (len(gts), 1, HEIGHT // 8, WIDTH // 8)),
    )


def trained_names(model: torch.nn.Module, batch: Batch) -> set[str]:
    """The parameters that get a finite gradient from a batch, whose losses must be finite too."""
    model.train().zero_grad(set_to_none=True)
    losses = {name: value for name, value in model(batch).items() if 'loss' in name}
    for name, value in losses.items():
        assert torch.as_tensor(value).isfinite().all(), f'{name} is {value}'
    torch.stack([value.mean() for value in losses.values()]).sum().backward()
    grads = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert all(grad.isfinite().all() for grad in grads.values())
    return set(grads)


@pytest.mark.parametrize('scene', SCENES)
@pytest.mark.parametrize('name', FAMILIES)
def test_every_parameter_takes_part(name: str, scene: str) -> None:
    model = built(name)
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained_names(model, batch_of(*SCENES[scene])) == trainable - UNUSED.get(name, set())


def outlined(gts: Instances) -> Instances:
    """The same objects with polygons for masks."""
    corners = [[np.array([x1, y1, x2, y1, x2, y2, x1, y2])] for x1, y1, x2, y2 in gts.bboxes.tolist()]
    return replace(gts, masks=PolygonMasks(corners, HEIGHT, WIDTH))


@pytest.mark.parametrize('scene', SCENES)
@pytest.mark.parametrize('name', ['mask_rcnn/mask_rcnn_r50_fpn_1x_coco', 'htc/htc_r50_fpn_1x_coco'])
def test_every_parameter_takes_part_with_polygons_too(name: str, scene: str) -> None:
    model = built(name)
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained_names(model, batch_of(*map(outlined, SCENES[scene]))) == trainable


# On a CPU torchvision has no deformable convolution in half precision.
@pytest.mark.parametrize('scene', ['full', 'all empty'])
@pytest.mark.parametrize('name', [name for name in FAMILIES if 'mdconv' not in name])
def test_losses_keep_full_precision_under_autocast(name: str, scene: str) -> None:
    with torch.autocast('cpu', dtype=torch.bfloat16), torch.no_grad():
        losses = built(name).train()(batch_of(*SCENES[scene]))
    for key, value in losses.items():
        if 'loss' in key:
            assert value.dtype == torch.float32 and value.isfinite().all(), key


@pytest.mark.parametrize('name', TWO_STAGES)
def test_every_parameter_takes_part_without_regions(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No objects, and no proposal either: nothing at all reaches the second stage."""
    model = built(name)
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    batch = batch_of(*SCENES['all empty'], regions=Instances(bboxes=torch.zeros(0, 4)))
    if model.rpn_head is not None:
        monkeypatch.setattr(model, 'train_proposals', replace(model.train_proposals, min_bbox_size=1000))
    assert trained_names(model, batch) == trainable


def check_instances(detections: list[Instances], with_masks: bool) -> None:
    assert len(detections) == 2
    for each in detections:
        assert each.bboxes.shape == (len(each), 4) and each.bboxes.isfinite().all()
        assert each.scores.shape == each.labels.shape == (len(each),)
        assert each.labels.dtype == torch.long and set(each.labels.tolist()) <= set(range(NUM_CLASSES))
        assert ((each.scores >= 0) & (each.scores <= 1)).all()
        assert isinstance(each.masks, EncodedMasks) == with_masks
        if with_masks:
            assert (each.masks.height, each.masks.width) == (HEIGHT, WIDTH) and len(each.masks) == len(each)


@torch.no_grad()
@pytest.mark.parametrize('name', FAMILIES)
def test_predictions_are_well_formed(name: str) -> None:
    model = built(name).eval()
    check_instances(model(batch_of(*SCENES['full'])), model.with_mask)


@torch.no_grad()
@pytest.mark.parametrize('name', [name for name in FAMILIES if name not in WITHOUT_THRESHOLD])
def test_nothing_above_the_threshold(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = built(name).eval()
    head = getattr(model, 'roi_head', getattr(model, 'bbox_head', None))
    over = dict(score_thr=1.0)
    cfg = {**head.test_cfg, **over} if isinstance(head.test_cfg, Mapping) else replace(head.test_cfg, **over)
    monkeypatch.setattr(head, 'test_cfg', cfg)
    detections = model(batch_of(*SCENES['full']))
    check_instances(detections, model.with_mask)
    assert [len(each) for each in detections] == [0, 0]


@torch.no_grad()
@pytest.mark.parametrize('name', TWO_STAGES)
def test_no_regions(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = built(name).eval()
    if model.rpn_head is not None:
        monkeypatch.setattr(model.rpn_head, 'test_cfg', replace(model.rpn_head.test_cfg, min_bbox_size=1000))
    detections = model(batch_of(*SCENES['full'], regions=Instances(bboxes=torch.zeros(0, 4))))
    check_instances(detections, model.with_mask)
    assert [len(each) for each in detections] == [0, 0]
