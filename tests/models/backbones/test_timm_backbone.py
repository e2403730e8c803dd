"""Small models of timm, most of them from its own tests. Without timm, its absence is tested and the rest skipped."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from mmkit import Config
from mmkit.layers.fuse import fuse_conv_bn
from mmkit.models import build_backbone, build_detector
from mmkit.models.backbones import TIMMBackbone
from tests.models.test_empty_gt import SCENES, batch_of, shrink, trained_names

CONFIGS = Path(__file__).parents[3] / 'configs' / 'timm_example'
X = torch.rand(2, 3, 64, 96)
SWIN = dict(
    model_name='swin_tiny_patch4_window7_224',
    img_size=(64, 96),
    window_size=2,
    embed_dim=8,
    depths=(1, 1, 1, 1),
    num_heads=(1, 1, 2, 2),
)


@pytest.fixture
def timm():
    return pytest.importorskip('timm')


def shapes(outs):
    return [tuple(out.shape) for out in outs]


def test_a_missing_timm_is_an_error(monkeypatch):
    monkeypatch.setitem(sys.modules, 'timm', None)
    with pytest.raises(ImportError, match='TIMMBackbone needs timm: pip install timm'):
        build_backbone(dict(type='TIMMBackbone', model_name='resnet18'))


def test_a_pyramid(timm):
    model = TIMMBackbone('resnet18', features_only=True, out_indices=(1, 2, 3, 4))
    assert shapes(model(X)) == [(2, 64, 16, 24), (2, 128, 8, 12), (2, 256, 4, 6), (2, 512, 2, 3)]
    names = timm.create_model('resnet18').state_dict()
    assert set(model.state_dict()) == {f'timm_model.{name}' for name in names if not name.startswith('fc.')}


def test_the_last_map(timm):
    theirs = timm.create_model('test_efficientnet', in_chans=4).eval()
    model = TIMMBackbone('test_efficientnet', in_channels=4).eval()
    assert not model.load_state_dict(
        {f'timm_model.{name}': tensor for name, tensor in theirs.state_dict().items()}, strict=False
    ).missing_keys
    imgs = torch.rand(1, 4, 64, 64)
    outs = model(imgs)
    assert len(outs) == 1
    torch.testing.assert_close(outs[0], theirs.forward_features(imgs))


@pytest.mark.parametrize('features_only', [True, False])
def test_channels_come_second(timm, features_only):
    model = TIMMBackbone(**SWIN, features_only=features_only).eval()
    outs = model(X)
    expected = [(2, 8, 16, 24), (2, 16, 8, 12), (2, 32, 4, 6), (2, 64, 2, 3)]
    assert shapes(outs) == (expected if features_only else expected[-1:])
    theirs = model.timm_model(X)
    theirs = theirs[-1] if features_only else theirs  # (B, H, W, C)
    assert torch.equal(outs[-1][0, :, 1, 2], theirs[0, 1, 2])


def test_tokens_are_no_map(timm):
    imgs = torch.rand(1, 3, 160, 160)
    assert TIMMBackbone('test_vit', features_only=True)(imgs)[0].dim() == 4
    with pytest.raises(ValueError, match='test_vit returns .* which are no feature maps'):
        TIMMBackbone('test_vit')(imgs)


def test_arguments_of_the_model(timm):
    model = TIMMBackbone('resnet18', features_only=True, output_stride=8, drop_path_rate=0.5, norm_layer='SyncBN')
    assert shapes(model.eval()(X))[-1] == (2, 512, 8, 12)
    assert [getattr(block.drop_path, 'drop_prob', 0) for block in model.timm_model.layer4] == pytest.approx(
        [3 / 7, 0.5]
    )
    assert type(model.timm_model.bn1).__name__ == 'SyncBN'


@pytest.mark.parametrize('features_only', [True, False])
def test_unknown_arguments_are_named(timm, features_only):
    cfg = Config({'model': dict(type='TIMMBackbone', model_name='resnet18', features_only=features_only)})
    cfg.merge_from_dict({'model.norm_eval': True})
    with pytest.raises(TypeError, match=r"no argument 'norm_eval' \[model.norm_eval at"):
        build_backbone(cfg.model)


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (dict(model_name='resnet81'), "has no model 'resnet81'; the nearest: .*resnet18"),
        (dict(out_indices=(1,)), 'out_indices needs features_only=True'),
        (dict(features_only=True, out_indices=(1, 9)), r'resnet18 has no stages out_indices=\(1, 9\)'),
        (dict(features_only=True, checkpoint_path='a.pth'), 'pretrained_cfg_overlay'),
        (dict(pretrained=True, checkpoint_path='a.pth'), 'one of pretrained, checkpoint_path and init_cfg'),
        (dict(pretrained=True, init_cfg=dict(type='Kaiming')), 'one of pretrained, checkpoint_path and init_cfg'),
        (dict(num_classes=10), 'num_classes: the classifier is removed'),
        (dict(in_chans=4), 'it is called in_channels'),
        (dict(drop_pth_rate=None), 'drop_pth_rate=None'),
    ],
)
def test_mistakes(timm, arguments, words):
    with pytest.raises(ValueError, match=words):
        TIMMBackbone(**{'model_name': 'resnet18', **arguments})


def test_a_file_is_not_pretrained(timm):
    with pytest.raises(TypeError, match=r"got 'a\.pth'; a file is checkpoint_path"):
        TIMMBackbone('resnet18', pretrained='a.pth')


@pytest.fixture
def weights(timm, tmp_path):
    """File and contents of timm's own weights of a small model."""
    torch.manual_seed(0)
    state_dict = timm.create_model('test_resnet').state_dict()
    torch.save(state_dict, tmp_path / 'a.pth')
    return tmp_path / 'a.pth', state_dict


def same_weights(model, state_dict):
    own = model.timm_model.state_dict()
    return own.keys() < state_dict.keys() and all(torch.equal(own[name], state_dict[name]) for name in own)


def test_init_weights_keeps_loaded_weights(weights):
    path, state_dict = weights
    pretrained = dict(pretrained=True, pretrained_cfg_overlay=dict(file=str(path)), features_only=True)
    for start in (pretrained, dict(checkpoint_path=str(path))):
        model = TIMMBackbone('test_resnet', **start)
        model.init_weights()
        assert same_weights(model, state_dict)
    model = TIMMBackbone('test_resnet', init_cfg=dict(type='Constant', val=2, layer='BatchNorm2d'))
    model.init_weights()
    assert (model.timm_model.layer1[0].bn1.weight == 2).all()
    with pytest.raises(FileNotFoundError, match=r'no file .*none\.pth'):
        TIMMBackbone('test_resnet', checkpoint_path=str(path.with_name('none.pth')))


@pytest.mark.parametrize(
    ('overlay', 'words'),
    [
        (dict(file='none.pth'), 'FileNotFoundError'),
        (dict(hf_hub_id=None, url=None, file=None), 'No pretrained weights exist'),
    ],
)
def test_pretrained_without_weights_is_an_error(timm, overlay, words):
    with pytest.raises(OSError, match=f'weights of test_resnet cannot be downloaded: .*{words}.*pretrained=False'):
        TIMMBackbone('test_resnet', pretrained=True, pretrained_cfg_overlay=overlay)


def test_a_failing_download_is_an_error(timm, monkeypatch):
    def no_network(*args, **kwargs):
        raise ConnectionResetError('the line is dead')

    monkeypatch.setattr('timm.models._builder.load_state_dict_from_hf', no_network)
    with pytest.raises(
        OSError, match='weights of resnet18 cannot be downloaded: ConnectionResetError the line is dead'
    ):
        TIMMBackbone('resnet18', features_only=True, pretrained=True)


@pytest.mark.parametrize('name', ['test_resnet', 'test_efficientnet'])
def test_folding_norms_changes_nothing(timm, name):
    """timm's norms may go on with an activation."""
    torch.manual_seed(0)
    model = TIMMBackbone(name, features_only=True).train()
    model(X)  # statistics that are not trivial
    with torch.no_grad():
        expected = model.eval()(X)
        fuse_conv_bn(model)
        for out, other in zip(model(X), expected, strict=True):
            torch.testing.assert_close(out, other, rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings('ignore:Mapping deprecated model name')
@pytest.mark.parametrize('path', sorted(CONFIGS.glob('*.py')), ids=lambda path: path.stem)
def test_shipped_configs_train(timm, path):
    cfg = Config.fromfile(str(path)).model
    assert cfg.backbone.pretrained
    channels = list(cfg.neck.in_channels)
    torch.manual_seed(0)
    model = build_detector(shrink(cfg, **{'backbone.pretrained': False, 'neck.in_channels': channels}))
    model.init_weights()
    assert trained_names(model, batch_of(*SCENES['full'])) == {
        n for n, p in model.named_parameters() if p.requires_grad
    }
    assert all(parameter.requires_grad for parameter in model.parameters())
