"""Names, shapes, features, detections, losses and gradients of whole models."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from mmkit.models import build_detector
from tests.parity.recorded import (
    FIGURES,
    as_rows,
    fill,
    flatten,
    samples_of,
    share_without_twin,
    test_batch,
    training_batch,
)

NAMES = sorted(str(path.relative_to(FIGURES / 'models'))[:-4] for path in (FIGURES / 'models').rglob('*.npz'))
# The cheapest model of each family. By default its names, features, detections and losses are compared, and the
# gradients of most; everything of every model with -m slow.
QUICK = (
    'atss/atss_r50_fpn_1x_coco',
    'boxinst/boxinst_r50_fpn_ms-90k_coco',
    'cascade_rcnn/cascade_rcnn_r50_fpn_1x_coco',
    'centernet/centernet-update_r18_fpn_8xb8-amp-lsj-200e_coco',
    'condinst/condinst_r50_fpn_ms-poly-90k_coco_instance',
    'crowddet/crowddet-rcnn_r50_fpn_8xb2-30e_crowdhuman',
    'conditional_detr/conditional-detr_r50_8xb2-50e_coco',
    'dab_detr/dab-detr_r50_8xb2-50e_coco',
    'dcn/faster_rcnn_r50_fpn_dconv_c3-c5_1x_coco',
    'dcnv2/faster_rcnn_r50_fpn_mdconv_c3-c5_1x_coco',
    'ddq/ddq-detr-4scale_r50_8xb2-12e_coco',
    'deformable_detr/deformable_detr_twostage_refine_r50_16x2_50e_coco',
    'detr/detr_r50_8x2_150e_coco',
    'dino/dino-4scale_r50_8xb2-12e_coco',
    'fast_rcnn/fast_rcnn_r50_fpn_1x_coco',
    'faster_rcnn/faster_rcnn_r50_fpn_1x_coco',
    'fcos/fcos_r50_caffe_fpn_gn-head_1x_coco',
    'fcos/fcos_r18_fpn_gn-head-center-normbbox-centeronreg-giou_8xb8-amp-lsj-200e_coco',
    'gcnet/mask_rcnn_r50_fpn_syncbn-backbone_r4_gcb_c3-c5_1x_coco',
    'gfl/gfl_r50_fpn_1x_coco',
    'gn/mask_rcnn_r50_fpn_gn-all_2x_coco',
    'gn+ws/faster_rcnn_r50_fpn_gn_ws-all_1x_coco',
    'hrnet/faster_rcnn_hrnetv2p_w18_1x_coco',
    'htc/htc_r50_fpn_1x_coco',  # slow: three stages of masks and a semantic branch
    'libra_rcnn/libra_faster_rcnn_r50_fpn_1x_coco',
    'mask_rcnn/mask_rcnn_r50_fpn_1x_coco',
    'pafpn/faster_rcnn_r50_pafpn_1x_coco',
    'pvt/retinanet_pvt-t_fpn_1x_coco',
    'regnet/retinanet_regnetx-800MF_fpn_1x_coco',
    'res2net/faster_rcnn_r2_101_fpn_2x_coco',
    'resnest/faster_rcnn_s50_fpn_syncbn-backbone+head_mstrain-range_1x_coco',
    'retinanet/retinanet_r50_fpn_1x_coco',
    'rpn/rpn_r50_fpn_1x_coco',
    'rtmdet/rtmdet_tiny_8xb32-300e_coco',
    'rtmdet/rtmdet-ins_s_8xb32-300e_coco',
    'ssd/ssd300_coco',
    'swin/retinanet_swin-t-p4-w7_fpn_1x_coco',
    'yolo/yolov3_mobilenetv2_mstrain-416_300e_coco',
    'yolox/yolox_nano_8x8_300e_coco',
)
# Their backbones and heads have gradients compared in another family.
WITHOUT_GRADIENTS = (
    'dcnv2/faster_rcnn_r50_fpn_mdconv_c3-c5_1x_coco',
    'ddq/ddq-detr-4scale_r50_8xb2-12e_coco',
    'dino/dino-4scale_r50_8xb2-12e_coco',
    'fcos/fcos_r18_fpn_gn-head-center-normbbox-centeronreg-giou_8xb8-amp-lsj-200e_coco',
    'gcnet/mask_rcnn_r50_fpn_syncbn-backbone_r4_gcb_c3-c5_1x_coco',
    'gn/mask_rcnn_r50_fpn_gn-all_2x_coco',
    'pafpn/faster_rcnn_r50_pafpn_1x_coco',
    'res2net/faster_rcnn_r2_101_fpn_2x_coco',
)


def check_names(model: torch.nn.Module, record: Any) -> None:
    ours = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    assert ours == dict(json.loads(str(record['state_dict'])))


def check_features(model: Any, record: Any) -> tuple[Tensor, ...]:
    feats = model.extract_feat(training_batch(record).imgs)
    expected = [record[f'feat{index}'] for index in range(sum(key.startswith('feat') for key in record.files))]
    assert [feat.numel() for feat in flatten(feats)] == [int(figures[3]) for figures in expected]
    for index, (feat, figures) in enumerate(zip(flatten(feats), expected)):
        off = np.abs(samples_of(feat) - figures[4:]).max() / max(figures[2], 1e-6)
        assert off < 2e-4, f'feature {index} differs by {off:.3g} of its range'
    return feats


def check_detections(model: Any, record: Any) -> None:
    detections = model(test_batch(record))[0]
    ours, theirs = as_rows(detections), record['dets'].astype(np.float64)
    assert abs(len(ours) - len(theirs)) <= max(1, 0.03 * len(theirs))
    assert max(share_without_twin(ours, theirs), share_without_twin(theirs, ours)) <= 0.03
    if 'mask_areas' in record.files and len(theirs):
        expected = float(record['mask_areas'].sum())
        assert float(np.asarray(detections.masks.areas, np.float64).sum()) == pytest.approx(expected, rel=0.02, abs=2)


def check_losses(model: Any, record: Any) -> Tensor:
    """Compare the losses; returns their sum, the mean where one has several parts."""
    torch.manual_seed(0)
    np.random.seed(0)
    losses = {key: flatten([value]) for key, value in model(training_batch(record)).items() if 'loss' in key}
    assert losses.keys() == {key[5:] for key in record.files if key.startswith('loss/') and 'loss' in key[5:]}
    for key, parts in losses.items():
        expected = float(record['loss/' + key].sum())
        ours = sum(float(part.detach().mean()) for part in parts)
        assert ours == pytest.approx(expected, rel=1e-3, abs=1e-5), key
    return torch.stack([part.mean() for parts in losses.values() for part in parts]).sum()


def check_gradients(model: Any, record: Any) -> None:
    norms = {name: float(p.grad.norm()) if p.grad is not None else 0.0 for name, p in model.named_parameters()}
    expected_norms = {name: max(norm, 0.0) for name, norm in zip(record['grad_names'].tolist(), record['grad_norms'])}
    small = 1e-4 * max(expected_norms.values())
    off = [
        f'{name}: {norms[name]:.4g}, expected {norm:.4g}'
        for name, norm in expected_norms.items()
        if abs(norms[name] - norm) > max(0.02 * max(norm, norms[name]), small)
    ]
    assert len(off) <= 0.02 * len(expected_norms), off[:3]


def check_model(name: str, gradients: bool) -> None:
    record = np.load(FIGURES / 'models' / f'{name}.npz')
    model = build_detector(json.loads(str(record['model_json'])), **json.loads(str(record['cfg_json'])))
    check_names(model, record)
    fill(model)
    model.eval()
    with torch.no_grad():
        feats = check_features(model, record)
        if not gradients:  # they have been compared: what follows is about the heads
            model.extract_feat = lambda imgs: tuple(feat[: len(imgs)] for feat in feats)
        if 'dets' in record.files:
            check_detections(model, record)
    if 'total' in record.files:
        model.train()
        if any(isinstance(module, _BatchNorm) and module.training for module in model.modules()):
            vars(model).pop('extract_feat', None)
        with torch.set_grad_enabled(gradients):
            total = check_losses(model, record)
        if gradients:
            total.backward()
            check_gradients(model, record)


def test_every_family_has_a_quick_model() -> None:
    families = {name.partition('/')[0] for name in NAMES}
    assert {name.partition('/')[0] for name in QUICK} == families
    assert set(WITHOUT_GRADIENTS) < set(QUICK) <= set(NAMES)


@pytest.mark.parametrize('name', QUICK)
def test_quick_models_give_the_recorded_figures(name: str) -> None:
    check_model(name, gradients=name not in WITHOUT_GRADIENTS)


@pytest.mark.slow
@pytest.mark.parametrize('name', [name for name in NAMES if name not in QUICK or name in WITHOUT_GRADIENTS])
def test_all_models_give_the_recorded_figures(name: str) -> None:
    check_model(name, gradients=True)
