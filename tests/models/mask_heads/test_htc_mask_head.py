from __future__ import annotations

import torch

from mmkit.models.mask_heads import HTCMaskHead

SMALL = dict(num_convs=1, in_channels=4, conv_out_channels=4, num_classes=3)


def test_hidden_features_flow_between_stages():
    torch.manual_seed(0)
    first, second = HTCMaskHead(with_conv_res=False, **SMALL), HTCMaskHead(**SMALL)
    assert first.conv_res is None
    feats = torch.rand(2, 4, 14, 14)
    hidden = first.hidden(feats)
    alone, joined = second.hidden(feats), second.hidden(feats, hidden)
    torch.testing.assert_close(joined, second.hidden(feats + second.conv_res(hidden)))
    assert not torch.equal(alone, joined)
