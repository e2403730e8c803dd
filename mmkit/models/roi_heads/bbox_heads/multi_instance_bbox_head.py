"""The box head of CrowdDet, arXiv:2003.09163."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise, permutations
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mmkit.layers import BaseModule
from mmkit.layers.init import InitCfg
from mmkit.ops import pair
from mmkit.registry import BBOX_CODERS, HEADS, LOSSES, Cfg


class MultiInstanceOuts(NamedTuple):
    """Predictions of K objects for each of R regions."""

    cls_score: Tensor  # (R, K, C + 1) logits, background first
    bbox_pred: Tensor  # (R, K, 4 or 4C) deltas


@HEADS.register_module()
class MultiInstanceBBoxHead(BaseModule):
    """Scores and boxes of the several objects that a region may show.

    Args:
        num_instance: K, objects of a region.
        with_refine: predict them once more, from the first predictions, too.
        num_shared_fcs, fc_out_channels: the hidden linear layers.
        roi_feat_size: cells of a region, int or (h, w).
        in_channels: of a region.
        num_classes: C, without background.
        bbox_coder: config or built object.
        reg_class_agnostic: one box for all classes.
        loss_cls, loss_bbox: of one prediction with one object.
    """

    compares_classes = True  # num_classes must be the number of classes in the dataset

    def __init__(
        self,
        num_instance: int = 2,
        with_refine: bool = False,
        num_shared_fcs: int = 2,
        fc_out_channels: int = 1024,
        roi_feat_size: int | Sequence[int] = 7,
        in_channels: int = 256,
        num_classes: int = 80,
        bbox_coder: Cfg = dict(
            type='DeltaXYWHBBoxCoder', clip_border=True, target_means=[0.0] * 4, target_stds=[0.1, 0.1, 0.2, 0.2]
        ),
        reg_class_agnostic: bool = False,
        loss_cls: Cfg = dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
        loss_bbox: Cfg = dict(type='SmoothL1Loss', beta=1.0, loss_weight=1.0),
        init_cfg: InitCfg = None,
    ) -> None:
        super().__init__(init_cfg)
        self.num_instance = num_instance
        self.num_classes = num_classes
        self.box_classes = 1 if reg_class_agnostic else num_classes
        self.bbox_coder = BBOX_CODERS.build(bbox_coder)
        self.loss_cls = LOSSES.build(loss_cls)
        self.loss_bbox = LOSSES.build(loss_bbox)
        height, width = pair(roi_feat_size, 'roi_feat_size')
        widths = [in_channels * height * width, *[fc_out_channels] * num_shared_fcs]
        self.shared_fcs = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

        def predictors(outputs: int) -> nn.ModuleList:
            return nn.ModuleList(nn.Linear(widths[-1], outputs) for _ in range(num_instance))

        self.fc_cls, self.fc_reg = predictors(num_classes + 1), predictors(4 * self.box_classes)
        self.with_refine = with_refine
        if with_refine:
            # A first prediction, 4 deltas and a score, is repeated four times beside the features.
            self.shared_fcs_ref = nn.Linear(widths[-1] + 4 * (4 * self.box_classes + num_classes), widths[-1])
            self.fc_cls_ref, self.fc_reg_ref = predictors(num_classes + 1), predictors(4 * self.box_classes)
        if init_cfg is None:

            def named(layer: str) -> list[dict[str, str]]:
                return [dict(name=name) for name in ((layer, f'{layer}_ref') if with_refine else (layer,))]

            self.init_cfg = [
                dict(type='Normal', std=0.01, override=named('fc_cls')),
                dict(type='Normal', std=0.001, override=named('fc_reg')),
                dict(type='Xavier', distribution='uniform', override=named('shared_fcs')),
            ]

    def forward(self, feats: Tensor) -> list[MultiInstanceOuts]:
        """(R, in_channels, h, w) -> the predictions, and with `with_refine` the refined ones after them."""
        hidden = feats.flatten(1)
        for fc in self.shared_fcs:
            hidden = fc(hidden).relu()
        first = self._predict([hidden] * self.num_instance, self.fc_cls, self.fc_reg)
        if not self.with_refine:
            return [first]
        seen = torch.cat([first.bbox_pred, first.cls_score.softmax(dim=-1)[..., 1:]], dim=-1)  # (R, K, 5)
        refined = [
            self.shared_fcs_ref(torch.cat([hidden, prediction.repeat(1, 4)], dim=1)).relu()
            for prediction in seen.unbind(1)
        ]
        return [first, self._predict(refined, self.fc_cls_ref, self.fc_reg_ref)]

    def _predict(self, hidden: Sequence[Tensor], fc_cls: nn.ModuleList, fc_reg: nn.ModuleList) -> MultiInstanceOuts:
        cls_score = torch.stack([fc(each) for fc, each in zip(fc_cls, hidden, strict=True)], dim=1)
        bbox_pred = torch.stack([fc(each) for fc, each in zip(fc_reg, hidden, strict=True)], dim=1)
        return MultiInstanceOuts(cls_score, bbox_pred)

    # ------------------------------------------------------------------ training

    def loss(self, outs: Sequence[MultiInstanceOuts], labels: Tensor, bbox_targets: Tensor) -> dict[str, Tensor]:
        """`loss_rcnn_emd`, and `loss_rcnn_emd_ref` of the refined predictions.

        Args:
            labels: (R, K) of the objects to predict, C for the background.
            bbox_targets: (R, K, 4) deltas.
        """
        names = ('loss_rcnn_emd', 'loss_rcnn_emd_ref')
        return {name: self.emd_loss(each, labels, bbox_targets) for name, each in zip(names, outs)}

    def emd_loss(self, outs: MultiInstanceOuts, labels: Tensor, bbox_targets: Tensor) -> Tensor:
        """Mean over the regions of the loss under the best matching of its predictions with its objects."""
        cls_score, bbox_pred = outs.cls_score.float(), outs.bbox_pred.float()
        if not len(labels):
            return cls_score.sum() + bbox_pred.sum()
        matchings = [
            torch.stack(
                [
                    self._pair_loss(cls_score[:, i], bbox_pred[:, i], labels[:, j], bbox_targets[:, j])
                    for i, j in enumerate(order)
                ]
            ).sum(dim=0)
            for order in permutations(range(self.num_instance))
        ]
        return torch.stack(matchings).amin(dim=0).mean()

    def _pair_loss(self, cls_score: Tensor, bbox_pred: Tensor, labels: Tensor, bbox_targets: Tensor) -> Tensor:
        """(R,) loss of one prediction of each region with one object."""
        background = labels == self.num_classes
        loss: Tensor = self.loss_cls(cls_score, torch.where(background, 0, labels + 1), reduction_override='none')
        classes = torch.where(background, 0, labels) if self.box_classes > 1 else torch.zeros_like(labels)
        deltas = bbox_pred.reshape(len(labels), -1, 4)[torch.arange(len(labels), device=labels.device), classes]
        of_boxes: Tensor = self.loss_bbox(deltas, bbox_targets, reduction_override='none').sum(dim=-1)  # (R,)
        return loss + of_boxes * ~background

    # ------------------------------------------------------------------ prediction

    def decode(self, rois: Tensor, outs: MultiInstanceOuts, img_shape: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Boxes (R * K, 4 or 4C) in pixels of the network's input and scores (R * K, C), from regions (R, 5)."""
        regions = rois[:, 1:].repeat_interleave(self.num_instance, dim=0)
        boxes: Tensor = self.bbox_coder.decode(regions, outs.bbox_pred.flatten(0, 1).float(), max_shape=img_shape)
        return boxes, outs.cls_score.flatten(0, 1).float().softmax(dim=-1)[:, 1:]
