from __future__ import annotations

import pytest
import torch

from mmkit.models.necks import DilatedEncoder


def test_one_map_of_the_size_of_the_last():
    neck = DilatedEncoder(8, 6, 3, 2, [1, 2])
    neck.init_weights()
    (feat,) = neck([torch.rand(2, 4, 10, 10), torch.rand(2, 8, 5, 5)])
    assert feat.shape == (2, 6, 5, 5)
    names = {'lateral_conv.weight', 'lateral_norm.bias', 'fpn_conv.bias', 'fpn_norm.running_mean'}
    assert names | {'dilated_encoder_blocks.1.conv2.bn.weight'} < set(neck.state_dict())
    assert neck.dilated_encoder_blocks[1].conv2.conv.dilation == (2, 2)


def test_blocks_add_to_what_they_get():
    neck = DilatedEncoder(8, 6, 3, 1, [2]).eval()
    neck.dilated_encoder_blocks[0].conv3.bn.weight.data.zero_()
    feat = torch.rand(1, 8, 5, 5)
    projected = neck.fpn_norm(neck.fpn_conv(neck.lateral_norm(neck.lateral_conv(feat))))
    torch.testing.assert_close(neck([feat])[0], projected)


def test_a_dilation_for_each_block():
    with pytest.raises(ValueError, match='2 num_residual_blocks and 1 block_dilations'):
        DilatedEncoder(8, 6, 3, 2, [1])
