from __future__ import annotations

import pytest
import torch

from mmkit.models.semantic_heads import FusedSemanticHead


def test_semantic_branch():
    torch.manual_seed(0)
    head = FusedSemanticHead(num_ins=3, fusion_level=1, num_convs=1, in_channels=4, conv_out_channels=6, num_classes=5)
    logits, semantic = head([torch.rand(2, 4, size, size) for size in (16, 8, 4)])
    assert logits.shape == (2, 5, 8, 8) and semantic.shape == (2, 6, 8, 8)
    labels = torch.full((2, 1, 8, 8), 255)
    labels[:, :, 0, 0] = 3
    # The mean is over all cells, those to be ignored included.
    expected = 0.2 * torch.nn.functional.cross_entropy(logits[:, :, 0, 0], labels[:, 0, 0, 0], reduction='sum') / 128
    torch.testing.assert_close(head.loss(logits, labels), expected)
    with pytest.warns(UserWarning, match='ignore_index'):
        FusedSemanticHead(num_ins=1, fusion_level=0, ignore_label=255, loss_weight=0.5)
    with pytest.raises(ValueError, match='num_ins is 3, got 2'):
        head([torch.rand(2, 4, size, size) for size in (16, 8)])


def test_maps_of_the_size_of_the_images_are_reduced():
    torch.manual_seed(0)
    head = FusedSemanticHead(num_ins=1, fusion_level=0, num_classes=5, seg_scale_factor=1 / 8)
    logits, labels = torch.rand(2, 5, 4, 4), torch.randint(0, 5, (2, 1, 32, 32))
    reduced = labels[..., ::8, ::8]
    assert head.loss(logits, labels) == head.loss(logits, reduced)
