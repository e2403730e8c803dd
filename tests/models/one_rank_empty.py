"""Run by test_one_rank_empty.py under torchrun: two processes of which the second never sees an object.

python one_rank_empty.py NAME ...
"""

from __future__ import annotations

import sys

import torch
from torch.nn.parallel import DistributedDataParallel

from mmkit.utils import dist
from tests.models.test_empty_gt import SCENES, UNUSED, batch_of, built


def main(*names: str) -> None:
    dist.init_dist('pytorch', 'gloo')
    scene = SCENES['full' if dist.get_rank() == 0 else 'all empty']
    for name in names:
        model = built(name).train()
        unused = UNUSED.get(name, set())
        wrapped = DistributedDataParallel(model, find_unused_parameters=bool(unused))
        for _ in range(2):  # a parameter that takes no part in one step stops the next one
            wrapped.zero_grad(set_to_none=True)
            losses = {key: value.mean() for key, value in wrapped(batch_of(*scene)).items() if 'loss' in key}
            assert all(value.isfinite() for value in losses.values()), f'{name}: {losses}'
            torch.stack(list(losses.values())).sum().backward()
        grads = {key: p.grad for key, p in model.named_parameters() if p.requires_grad and key not in unused}
        for other in dist.all_gather_object(grads):
            assert other.keys() == grads.keys(), name
            for key, grad in grads.items():
                assert grad is not None and torch.equal(grad, other[key]), f'{name}: {key}'
        print(f'{name} ok', flush=True)


if __name__ == '__main__':
    main(*sys.argv[1:])
