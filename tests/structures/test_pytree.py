from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from mmkit.structures import Batch, BitmapMasks, ImageMeta, Instances, register_node


def meta(name='a.jpg', img_shape=(8, 10)):
    return ImageMeta(name, name, 0, (4, 5), img_shape, (8, 12), np.full(4, 2, np.float32))


def batch(name='a.jpg', value=1.0, **changes):
    masks = BitmapMasks(np.zeros((2, 8, 10), np.uint8), 8, 10)
    boxes = [Instances(torch.full((2, 4), value), torch.tensor([0, 1]), masks=masks)]
    whole = Batch(torch.full((1, 3, 8, 12), value), [meta(name)], gts=boxes, ignored=[torch.zeros(0, 4)])
    return replace(whole, **changes)


class Head(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1)

    def forward(self, batch: Batch) -> Tensor:
        height, width = batch.metas[0].img_shape
        return self.conv(batch.imgs)[:, :, :height, :width].mean() + batch.gts[0].bboxes.sum()


def test_leaves_are_the_tensors_and_come_back():
    whole = batch()
    leaves, spec = pytree.tree_flatten(whole)
    assert [tuple(leaf.shape) for leaf in leaves] == [(1, 3, 8, 12), (2, 4), (2,), (0, 4)]
    back = pytree.tree_unflatten(leaves, spec)
    assert back.metas is whole.metas and back.gts[0].masks is whole.gts[0].masks and back.proposals is None
    assert back.gts[0].bboxes is whole.gts[0].bboxes and type(back) is Batch and len(back) == 1
    doubled = pytree.tree_map(lambda leaf: leaf * 2, whole)
    assert doubled.imgs.mean() == 2 and doubled.gts[0].labels.tolist() == [0, 2]


def test_only_what_a_model_computes_with_makes_two_batches_different():
    spec = pytree.tree_structure(batch())
    assert spec == pytree.tree_structure(batch('b.jpg', 3.0))
    assert spec != pytree.tree_structure(batch(metas=[meta(img_shape=(6, 10))]))
    assert spec != pytree.tree_structure(batch(gts=None))


def test_export_takes_a_batch():
    head = Head().requires_grad_(False)
    program = torch.export.export(head, (batch(),)).module()
    for value in (1.0, 3.0):
        assert program(batch('other.jpg', value)) == pytest.approx(float(head(batch(value=value))), rel=1e-6)


def test_compile_takes_a_batch():
    head = Head().requires_grad_(False)
    compiled = torch.compile(head, backend='eager', fullgraph=True)
    assert compiled(batch(value=2.0)) == pytest.approx(float(head(batch(value=2.0))), rel=1e-6)


@dataclass
class Poses(Instances):
    keypoints: Tensor | None = None


def test_a_subclass_is_registered_by_a_call_of_its_own():
    register_node(Poses)
    poses = Poses(torch.zeros(1, 4), keypoints=torch.ones(1, 17, 3))
    assert len(pytree.tree_leaves(poses)) == 2
    assert len(pytree.tree_leaves(batch(gts=[poses]))) == 4
