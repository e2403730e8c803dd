"""Every family's `decode` exports: preprocessing, features and decoded predictions in one program of static shapes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from mmkit.models.detectors import Detector
from mmkit.models.preprocessor import DataPreprocessor
from mmkit.structures import Batch
from tests.models.test_empty_gt import HEIGHT, NUM_CLASSES, REGIONS, SCENES, WIDTH, batch_of, built

QUICK = [
    'retinanet/retinanet_r50_fpn_1x_coco',
    'yolox/yolox_nano_8x8_300e_coco',
    'detr/detr_r50_8x2_150e_coco',
    'faster_rcnn/faster_rcnn_r50_fpn_1x_coco',
    'mask_rcnn/mask_rcnn_r50_fpn_1x_coco',
]
SLOW = [
    'fcos/fcos_r50_caffe_fpn_gn-head_1x_coco',
    'atss/atss_r50_fpn_1x_coco',
    'gfl/gfl_r50_fpn_1x_coco',
    'centernet/centernet-update_r18_fpn_8xb8-amp-lsj-200e_coco',
    'condinst/condinst_r50_fpn_ms-poly-90k_coco_instance',
    'ssd/ssd300_coco',
    'yolo/yolov3_mobilenetv2_mstrain-416_300e_coco',
    'rtmdet/rtmdet_tiny_8xb32-300e_coco',
    'deformable_detr/deformable_detr_r50_16x2_50e_coco',
    'conditional_detr/conditional-detr_r50_8xb2-50e_coco',
    'dab_detr/dab-detr_r50_8xb2-50e_coco',
    'dino/dino-4scale_r50_8xb2-12e_coco',
    'ddq/ddq-detr-4scale_r50_8xb2-12e_coco',
    'rpn/rpn_r50_fpn_1x_coco',
    'fast_rcnn/fast_rcnn_r50_fpn_1x_coco',
    'cascade_rcnn/cascade_mask_rcnn_r50_fpn_1x_coco',
    'htc/htc_r50_fpn_1x_coco',
]


class Decoder(nn.Module):
    """A detector whose `forward` is its `decode`."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, batch: Batch) -> tuple[Tensor, ...]:
        return self.detector.decode(batch)


def pixels(seed: int) -> Batch:
    """A batch of uint8 images, as the workers hand them over."""
    batch = batch_of(*SCENES['full'])
    imgs = torch.randint(0, 256, batch.imgs.shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    metas = [replace(meta, img_norm_cfg=None) for meta in batch.metas]
    return Batch(imgs=imgs, metas=metas, proposals=[REGIONS] * len(metas))


@torch.no_grad()
@pytest.mark.filterwarnings('ignore:`create_unbacked_symint` is deprecated:FutureWarning')  # of torchvision's NMS
@pytest.mark.parametrize('name', [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_an_exported_decode_gives_what_the_model_gives(name: str) -> None:
    model = built(name).eval()
    assert isinstance(model, Detector)
    model.data_preprocessor = DataPreprocessor(mean=[120.0, 110, 100], std=[60.0, 55, 50], bgr_to_rgb=True)
    program = torch.export.export(Decoder(model), (pixels(0),)).module()
    other = pixels(1)
    expected, exported = model.decode(other), program(other)
    assert len(expected) == (3 if model.with_mask else 2)
    boxes, scores, *masks = expected
    num = boxes.shape[1]
    assert boxes.shape == (2, num, 4) and scores.shape == (2, num, 1 if name.startswith('rpn') else NUM_CLASSES)
    assert all(each.shape[:2] == (2, num) for each in masks) and HEIGHT != WIDTH
    for ours, theirs in zip(exported, expected, strict=True):
        torch.testing.assert_close(ours, theirs)
