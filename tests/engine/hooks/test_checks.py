from __future__ import annotations

import pytest
import torch

from mmkit.config import ConfigError
from mmkit.dialects import read_recipe
from mmkit.engine.assemble import assemble
from mmkit.models.dense_heads.anchor.rpn_head import RPNHead
from mmkit.registry import HOOKS
from tests.engine.toys import ToyDataset, ToyHead, run_with, toy_config, toy_model


def test_number_of_classes_is_compared():
    check = HOOKS.build({'type': 'NumClassCheckHook'})
    run_with(check)
    wrong = toy_model()
    wrong.bbox_head.num_classes = 80
    with pytest.raises(ValueError, match=r'model\.bbox_head\.num_classes is 80.*2 classes \(cat, dog\).*=2'):
        run_with(check, model=wrong)


def test_a_head_says_itself_that_its_classes_are_compared():
    class MyRPN(RPNHead):
        """Tells objects from background, as its base class does, whatever it and its part of the model are called."""

    class Mine(ToyHead):
        num_classes = 3

    model = toy_model()
    model.head = MyRPN(
        in_channels=1,
        anchor_generator=dict(type='AnchorGenerator', scales=[1], ratios=[1.0], strides=[4]),
    )
    model.extra = torch.nn.Identity()  # neither does a part that says nothing
    model.extra.num_classes = 7
    run_with(HOOKS.build({'type': 'NumClassCheckHook'}), model=model)
    model.classify = Mine(4, 1)
    with pytest.raises(ConfigError, match=r'model\.classify\.num_classes is 3'):
        run_with(HOOKS.build({'type': 'NumClassCheckHook'}), model=model)


def test_without_its_hook_a_head_may_have_classes_to_spare(tmp_path, caplog):
    model = toy_model()
    model.bbox_head.num_classes = 3
    hooked = toy_config(tmp_path, custom_hooks=[{'type': 'NumClassCheckHook'}])
    with pytest.raises(ConfigError, match='num_classes is 3, but ToyDataset has 2'):
        assemble(read_recipe(hooked), model, [ToyDataset()])
    assemble(read_recipe(toy_config(tmp_path)), model, [ToyDataset()])
    assert 'num_classes is 3, but ToyDataset has 2' in caplog.text
    model.bbox_head.num_classes = 1
    with pytest.raises(ConfigError, match='num_classes is 1'):
        assemble(read_recipe(toy_config(tmp_path)), model, [ToyDataset()])


def test_classes_that_are_a_string(monkeypatch):
    monkeypatch.setattr(ToyDataset, 'CLASSES', 'cat')
    with pytest.raises(ValueError, match=r"string 'cat': write \('cat',\)"):
        run_with(HOOKS.build({'type': 'NumClassCheckHook'}))
