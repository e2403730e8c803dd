import pytest
import torch

from mmkit.models.backbones.swin import SwinTransformer
from mmkit.models.backbones.swin_block import PatchMerging, relative_position_index


def small(**changes):
    torch.manual_seed(0)
    cfg = dict(embed_dims=8, depths=(2, 2), num_heads=(1, 2), strides=(4, 2), window_size=3, out_indices=(0, 1))
    return SwinTransformer(**{**cfg, **changes})


def authors_names(state):
    """Our tensors as the authors would store them."""
    renamed = {'head.weight': torch.zeros(1), 'norm.weight': torch.zeros(1)}
    for name, tensor in state.items():
        if '.downsample.' in name:
            shape = tensor.shape
            tensor = tensor.view(*shape[:-1], shape[-1] // 4, 4).transpose(-1, -2)[..., [0, 2, 1, 3], :].reshape(shape)
        for ours, theirs in (
            ('stages.', 'layers.'),
            ('projection.', 'proj.'),
            ('.attn.w_msa.', '.attn.'),
            ('.ffn.layers.0.0.', '.mlp.fc1.'),
            ('.ffn.layers.1.', '.mlp.fc2.'),
        ):
            name = name.replace(ours, theirs)
        renamed[name] = tensor
    return renamed


def test_sizes_that_fit_no_window():
    outs = small().eval()(torch.randn(2, 3, 37, 50))
    assert [tuple(out.shape) for out in outs] == [(2, 8, 10, 13), (2, 16, 5, 7)]


def test_pairs_at_one_offset_share_a_bias():
    index = relative_position_index(2, 2)  # cells: 0 1 / 2 3
    assert index[0, 1] == index[2, 3] and index[0, 2] == index[1, 3] and index[0, 0] == index[3, 3]
    assert index[0, 1] != index[1, 0] and sorted(set(index.flatten().tolist())) == list(range(9))


def test_merging_reads_four_neighbours():
    merging = PatchMerging(1, 2, 2, dict(type='LN'))
    merging.norm = torch.nn.Identity()
    with torch.no_grad():
        merging.reduction.weight.copy_(torch.tensor([[1.0, 10, 100, 1000], [0, 0, 0, 1]]))
    out, size = merging(torch.arange(4.0).view(1, 4, 1), (2, 2))  # 0 1 / 2 3
    assert size == (1, 1) and out.flatten().tolist() == [3210.0, 3.0]


def test_weights_of_the_authors():
    model, other = small().eval(), small(convert_weights=True).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    report = other.load_state_dict(authors_names(model.state_dict()), strict=False)
    assert not report.missing_keys and not report.unexpected_keys
    imgs = torch.randn(1, 3, 24, 24)
    for out, expected in zip(other(imgs), model(imgs)):
        torch.testing.assert_close(out, expected)


def test_bias_tables_of_another_window_are_interpolated():
    wide = small(window_size=5)
    report = wide.load_state_dict(small().state_dict(), strict=False)
    assert all(name.endswith('relative_position_index') for name in report.missing_keys)
    assert not report.unexpected_keys


def test_frozen_stages():
    model = small(frozen_stages=1)  # from the start: an optimizer and DistributedDataParallel look before train()
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert frozen and all(name.startswith(('patch_embed.', 'stages.0.', 'norm0.')) for name in frozen)
    model.train()
    assert not model.stages[0].training and model.stages[1].training


def test_checkpointing_changes_nothing():
    imgs = torch.randn(1, 3, 24, 24)
    plain, saving = small(drop_path_rate=0.0).train(), small(drop_path_rate=0.0, with_cp=True).train()
    saving.load_state_dict(plain.state_dict())
    for model in (plain, saving):
        sum(out.sum() for out in model(imgs)).backward()
    for one, two in zip(plain.parameters(), saving.parameters()):
        torch.testing.assert_close(one.grad, two.grad)


def test_overlapping_patches_are_refused():
    with pytest.raises(ValueError, match='patch_size'):
        small(patch_size=7)


def test_stages_that_do_not_exist_cannot_be_frozen():
    with pytest.raises(ValueError, match=r'frozen_stages is from -1 to \d, got 9'):
        small(frozen_stages=9)
