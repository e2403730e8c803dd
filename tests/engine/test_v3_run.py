"""A training that is described in the dialect of 3.x."""

from mmkit.config import Config
from mmkit.dialects import Overrides, override, read_recipe
from mmkit.dialects.writing import Notes, write_v2
from mmkit.engine.assemble import assemble, require_training
from mmkit.engine.hook import Hook
from mmkit.utils.seed import set_random_seed
from tests.tiny import make_dataset, tiny_config_v3


class Losses(Hook):
    """All losses of each iteration."""

    def __init__(self):
        self.values = []

    def after_train_iter(self, runner):
        runner.read_losses()
        self.values.append({name: value for name, value in runner.meters.averages(1).items() if 'loss' in name})


def test_a_training_in_the_dialect_of_3x(tmp_path, caplog):
    cfg = tiny_config_v3(make_dataset(tmp_path / 'data'))
    cfg.default_hooks.timer = None
    override(cfg, Overrides(work_dir=str(tmp_path / 'work'), seed=0, device='cpu'))
    recipe = read_recipe(cfg)
    runner, loaders = assemble(recipe)
    assert 'mmdetection 3.x' in caplog.text
    runner.run(loaders, require_training(recipe).turns)
    assert runner.epoch == 2 and {'epoch_2.pth'} <= {path.name for path in (tmp_path / 'work').iterdir()}
    assert any(name.name.startswith('best_coco_bbox_mAP') for name in (tmp_path / 'work').iterdir())


def test_a_training_has_the_same_losses_in_either_dialect(tmp_path):
    cfg = tiny_config_v3(make_dataset(tmp_path / 'data', num_images=5))
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    recorded = {}
    for dialect, each in ((3, cfg), (2, Config(write_v2(read_recipe(cfg), Notes())))):
        override(each, Overrides(work_dir=str(tmp_path / str(dialect)), seed=0, device='cpu'))
        recipe = read_recipe(each)
        assert recipe.dialect == dialect
        set_random_seed(0)
        runner, loaders = assemble(recipe)
        losses = Losses()
        runner.register_hook(losses)
        runner.run(loaders, require_training(recipe).turns)
        recorded[dialect] = losses.values
    assert len(recorded[2]) == 6 and recorded[2] == recorded[3]
