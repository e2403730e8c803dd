"""The count of configs that can be built."""

from tools.dev.zoo3 import count_folder, main, reasons_table

BASE = """
model = dict(
    type='RPN',
    data_preprocessor=dict(type='DetDataPreprocessor'),
    backbone=dict(type='SSDVGG', depth=16, out_indices=(3, 4), out_feature_indices=(22,)),
    neck=dict(type='FPN', in_channels=[512], out_channels=8, num_outs=1),
    rpn_head=dict(
        type='RPNHead',
        in_channels=8,
        anchor_generator=dict(type='AnchorGenerator', strides=[8], ratios=[1.0], scales=[8]),
    ),
)
"""
TEST = """
pipeline = [dict(type='PackDetInputs')]
test_dataloader = dict(dataset=dict(type='CocoDataset', ann_file='a.json', pipeline=pipeline))
test_cfg = dict(type='TestLoop')
test_evaluator = dict(type='CocoMetric', metric='bbox')
"""


def test_whole_configs_models_and_the_rest_with_the_first_reason(tmp_path, capsys):
    folder = tmp_path / 'configs' / 'rpn'
    folder.mkdir(parents=True)
    (folder / 'whole.py').write_text(BASE + TEST)
    (folder / 'metric.py').write_text(BASE + TEST.replace('CocoMetric', 'NoMetric'))
    (folder / 'transform.py').write_text(BASE + TEST.replace('PackDetInputs', 'NoTransform'))
    (folder / 'model.py').write_text(BASE.replace("'RPN'", "'NoModel'"))
    (folder / 'unread.py').write_text('import os\nx = os.getcwd()\n')
    (folder / 'data.py').write_text('data_root = 3\n')
    count = count_folder(tmp_path / 'configs')
    assert (count.configs, count.models, count.whole, count.unread) == (4, 3, 1, 1)
    table = reasons_table(count)
    assert "'NoMetric'" in table and "'NoTransform'" in table and "model: 'NoModel'" in table
    assert '[rpn 1]' in table
    assert main([str(tmp_path / 'configs')]) == 0
    assert '4 configs of models: 3 models, 1 whole; 1 unread' in capsys.readouterr().out
