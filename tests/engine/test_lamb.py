from __future__ import annotations

import pytest
import torch

from mmkit.engine.lamb import Lamb
from mmkit.registry import OPTIMIZERS


def step(value, grad, **arguments):
    param = torch.nn.Parameter(torch.tensor(value))
    param.grad = torch.tensor(grad)
    optimizer = OPTIMIZERS.build({'type': 'Lamb', 'lr': 0.1, 'eps': 0.0, **arguments}, params=[param])
    optimizer.step()
    return param.detach()


def test_the_first_step_is_the_sign_scaled_to_the_norm_of_the_weights():
    # with corrected averages the update is sign(grad) = (1, -1), of length sqrt(2); the weights have length 5
    expected = torch.tensor([3.0, 4.0]) - 0.1 * 5 / 2**0.5 * torch.tensor([1.0, -1.0])
    torch.testing.assert_close(step([3.0, 4.0], [0.5, -2.0], weight_decay=0.0, always_adapt=True), expected)


def test_weight_decay_is_part_of_the_update():
    update = torch.tensor([1 + 0.5 * 3, -1 + 0.5 * 4])
    expected = torch.tensor([3.0, 4.0]) - 0.1 * 5 / update.norm() * update
    torch.testing.assert_close(step([3.0, 4.0], [0.5, -2.0], weight_decay=0.5), expected)


def test_the_scale_has_its_limits():
    plain = torch.tensor([3.0, 4.0]) - 0.1 * torch.tensor([1.0, -1.0])
    torch.testing.assert_close(step([3.0, 4.0], [0.5, -2.0], weight_decay=0.0), plain)
    clipped = step([3.0, 4.0], [0.5, -2.0], weight_decay=0.0, always_adapt=True, trust_clip=True)
    torch.testing.assert_close(clipped, plain)
    zero = step([0.0, 0.0], [0.5, -2.0], weight_decay=0.0, always_adapt=True)
    torch.testing.assert_close(zero, torch.tensor([-0.1, 0.1]))


def test_a_long_gradient_is_shortened():
    arguments = {'weight_decay': 0.0, 'bias_correction': False, 'betas': (0.0, 0.0)}
    for max_grad_norm in (None, 1.0, 100.0):  # the first update doesn't depend on its length
        torch.testing.assert_close(step([3.0], [50.0], max_grad_norm=max_grad_norm, **arguments), torch.tensor([2.9]))
    param = torch.nn.Parameter(torch.ones(2))
    param.grad = torch.tensor([3.0, 4.0])
    optimizer = Lamb([param], betas=(0.5, 0.5))
    optimizer.step()
    torch.testing.assert_close(optimizer.state[param]['exp_avg'], torch.tensor([0.3, 0.4]))


def test_it_finds_a_minimum_and_its_state_is_saved():
    torch.manual_seed(0)
    param = torch.nn.Parameter(torch.randn(4))
    optimizer = Lamb([param, torch.nn.Parameter(torch.ones(1))], lr=0.05, weight_decay=0.0)
    for _ in range(200):
        optimizer.zero_grad()
        (param - 1).square().sum().backward()
        optimizer.step()
    torch.testing.assert_close(param.detach(), torch.ones(4), atol=0.06, rtol=0)
    other = Lamb([param, torch.nn.Parameter(torch.ones(1))])
    other.load_state_dict(optimizer.state_dict())
    assert other.state[param]['step'] == 200


@pytest.mark.parametrize('arguments', [{'lr': -1.0}, {'betas': (0.9, 1.0)}])
def test_wrong_arguments(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        Lamb([torch.nn.Parameter(torch.ones(1))], **arguments)
