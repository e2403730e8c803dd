import pytest
import torch

from mmkit.models import build_neck


@pytest.mark.parametrize('dim', [1, 2, 3])
def test_spatial_mean_of_every_level(dim):
    neck = build_neck(dict(type='GlobalAveragePooling', dim=dim))
    feats = [torch.arange(2.0 * 3 * size**dim).reshape(2, 3, *[size] * dim) for size in (4, 2)]
    for feat, out in zip(feats, neck(feats)):
        assert torch.allclose(out, feat.reshape(2, 3, -1).mean(2))
    assert not neck.state_dict()
    with pytest.raises(ValueError, match=rf'dim={dim}'):
        neck([torch.zeros(2, 3)])
