"""The linear head of classifiers."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from mmkit.errors import InvalidValueError
from mmkit.layers import BaseModule
from mmkit.layers.init import InitCfg
from mmkit.models.losses import accuracy
from mmkit.registry import HEADS, LOSSES, Cfg
from mmkit.structures import Batch, ClassScores, ImageMeta

CROSS_ENTROPY = dict(type='CrossEntropyLoss', loss_weight=1.0)
NORMAL = dict(type='Normal', layer='Linear', std=0.01)


@HEADS.register_module()
class LinearClsHead(BaseModule):
    """A linear layer on the features of the last level.

    Args:
        num_classes: C.
        in_channels: of the features.
        init_cfg: how the weights start.
        loss: config of a loss of logits (B, C) and labels (B,), or (B, C) where images are mixed.
        topk: the k of the accuracies that `cal_acc` logs.
        cal_acc: log `top-k` of every batch: images with their class among the k best, in percent.

    Raises:
        InvalidValueError: if there is no class, or fewer classes than a k.
    """

    compares_classes = True  # num_classes must be the number of classes in the dataset

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        init_cfg: InitCfg = NORMAL,
        loss: Cfg = CROSS_ENTROPY,
        topk: int | Sequence[int] = (1,),
        cal_acc: bool = False,
    ) -> None:
        super().__init__(init_cfg)
        if num_classes < 1:
            raise InvalidValueError(f'LinearClsHead: num_classes is {num_classes}, expected at least 1', 'num_classes')
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.topk = (topk,) if isinstance(topk, int) else tuple(topk)
        if cal_acc and not 1 <= min(self.topk) <= max(self.topk) <= num_classes:
            raise InvalidValueError(f'LinearClsHead: topk={self.topk} of {num_classes} classes', 'topk')
        self.cal_acc = cal_acc
        self.compute_loss = LOSSES.build(loss)
        self.fc = nn.Linear(in_channels, num_classes)

    def forward(self, feats: tuple[Tensor, ...]) -> Tensor:
        """(B, in_channels) of every level -> logits (B, C) from the last.

        Raises:
            InvalidValueError: if the last level has another shape.
        """
        last = feats[-1]
        if last.ndim != 2 or last.shape[1] != self.in_channels:
            hint = " Is neck=dict(type='GlobalAveragePooling') missing?" if last.ndim > 2 else ''
            raise InvalidValueError(
                f'LinearClsHead takes (B, in_channels={self.in_channels}), got {tuple(last.shape)}.{hint}',
                'in_channels',
            )
        logits: Tensor = self.fc(last)
        return logits

    def loss(self, outs: Tensor, batch: Batch) -> dict[str, Tensor]:
        """`loss`, and `top-1`, ... with `cal_acc`.

        Raises:
            InvalidValueError: if the batch has no labels.
        """
        if batch.gt_labels is None:
            raise InvalidValueError("the batch has no labels: Collect needs keys=['img', 'gt_label']")
        losses = {'loss': self.compute_loss(outs.float(), batch.gt_labels, avg_factor=len(outs))}
        if self.cal_acc:
            labels = batch.gt_labels.argmax(1) if batch.gt_labels.ndim == 2 else batch.gt_labels  # of mixed images
            shares = accuracy(outs, labels, self.topk)
            losses |= {f'top-{k}': share for k, share in zip(self.topk, shares, strict=True)}
        return losses

    def predict(self, outs: Tensor, metas: Sequence[ImageMeta]) -> list[ClassScores]:
        """Logits (B, C) -> the probabilities of each image."""
        scores = outs.float().softmax(dim=1)  # (B, C)
        return [ClassScores(row.clone()) for row in scores]  # a view would take the whole batch along into a pickle
