"""Mistakes are named by the key, the file and the line that are wrong, and never by an innocent line of a base."""

from __future__ import annotations

import re

import pytest

from mmkit.cli.train import main
from mmkit.utils.logging import get_logger

PIPELINE = """_base_ = 'base.py'
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    {step},
    dict(type='Pad', size_divisor=32),
    dict(type='DefaultFormatBundle'),
    dict(type='Collect', keys=['img', 'gt_bboxes', 'gt_labels']),
]
data = dict(train=dict(pipeline=train_pipeline))
"""


@pytest.fixture
def message(tiny, tmp_path, capsys, monkeypatch):
    """The line that a training ends with, of a file that inherits a correct `base.py`."""
    monkeypatch.chdir(tmp_path)
    tiny[1].dump(tmp_path / 'base.py')

    def run(name, text, *options):
        (tmp_path / name).write_text(text)
        flags = ['--cfg-options', 'data.workers_per_gpu=0', *options]
        with pytest.raises(SystemExit) as stop:
            main([name, '--work-dir', 'work', '--device', 'cpu', *flags])
        assert stop.value.code == 2
        (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
        return line

    yield run
    for each in list(get_logger().handlers):
        if hasattr(each, 'baseFilename'):
            get_logger().removeHandler(each)
            each.close()


@pytest.mark.parametrize(
    ('name', 'text', 'options', 'expected'),
    [
        (
            'mine.yaml',
            '_base_: base.py\noptimizer:\n  lr: 1e-4\n',
            [],
            "optimizer.lr is the text '1e-4', a number is meant: write 0.0001 [optimizer.lr at mine.yaml:3]",
        ),
        (
            'mine.yaml',
            '_base_: base.py\nmodel:\n  rpn_head:\n    anchor_generator:\n      octave_base_scale: 4e0\n'
            '      scales: null\n      scales_per_octave: 3\n',
            [],
            '[model.rpn_head.anchor_generator.octave_base_scale at mine.yaml:5]',
        ),
        (
            'mine.py',
            "_base_ = 'base.py'\ndata = dict(\n    train=dict(\n        ann_file='nowhere.json'))\n",
            [],
            'nowhere.json [data.train.ann_file at mine.py:4]',
        ),
        (
            'mine.py',
            "_base_ = 'base.py'\n",
            ['data.train.ann_file=nowhere.json'],
            'nowhere.json [data.train.ann_file at --cfg-options]',
        ),
        (
            'mine.py',
            "_base_ = 'base.py'\ndata = dict(\n    val=dict(\n        img_prefix='nowhere'))\n",
            [],
            'no image file nowhere/0.png [data.val.img_prefix at mine.py:4]',
        ),
        (
            'mine.py',
            PIPELINE.format(step="dict(type='Resize', img_scale=800, keep_ratio=True)"),
            [],
            '[data.train.pipeline.2.img_scale at mine.py:5]',
        ),
        (
            'mine.py',
            "_base_ = 'base.py'\n",
            ['data.train.pipeline.2.img_scale=800'],
            '[data.train.pipeline.2.img_scale at --cfg-options]',
        ),
        ('mine.py', "_base_ = 'base.py'\n", ["optimizer.lr='1e-4'"], '[optimizer.lr at --cfg-options]'),
        (
            'mine.py',
            "_base_ = 'base.py'\nmodel = dict(\n    rpn_head=dict(\n        num_classes='1'))\n",
            [],
            "num_classes is the text '1', a number is meant: write 1 [model.rpn_head.num_classes at mine.py:4]",
        ),
        (
            'mine.py',
            "_base_ = 'base.py'\nmodel = dict(\n    neck=dict(\n        type='FPNN'))\n",
            [],
            "'FPNN' is not a registered neck; the nearest: FPN",
        ),
        (
            'mine.py',
            "_base_ = 'base.py'\nmodel = dict(\n    neck=dict(\n        type='FPNN'))\n",
            [],
            '[model.neck.type at mine.py:4]',
        ),
        (
            'mine.py',
            "_base_ = 'base.py'\nmodel = dict(\n    neck=dict(\n        out_chanels=4))\n",
            [],
            "FPN has no argument 'out_chanels'; the nearest is 'out_channels' [model.neck.out_chanels at mine.py:4]",
        ),
        (
            'mine.py',
            "_base_ = 'base.py'\nmodel = dict(\n    neck=dict(_delete_=True, type='FPN',\n        num_outs=5))",
            [],
            "FPN needs the arguments 'in_channels', 'out_channels' [model.neck at mine.py:3-4]",
        ),
        *(
            ('mine.py', f"_base_ = 'base.py'\n{text}\n", [], expected)
            for text, expected in [
                ("model = dict(type='FasterRCNNN')", '[model.type at mine.py:2]'),
                ('model = dict(neck=dict(act_cfg=dict(type="Relu")))', '[model.neck.act_cfg.type at mine.py:2]'),
                ('model = dict(necks=None)', "FasterRCNN has no argument 'necks'"),
                ("model = dict(backbone=dict(norm_cfg='BN'))", '[model.backbone.norm_cfg at mine.py:2]'),
                ('model = dict(rpn_head=dict(in_channels=8.0))', 'RPNHead: TypeError: '),
                ('model = dict(rpn_head=dict(anchor_generator=dict(ratios=1.0)))', 'AnchorGenerator: TypeError: '),
                ('model = dict(rpn_head=None)', '[model.rpn_head at mine.py:2]'),
                ('model = dict(test_cfg=None)', '[model.test_cfg at mine.py:2]'),
                ("model = dict(test_cfg=dict(rcnn=dict(nms='nms')))", '[model.test_cfg.rcnn.nms at mine.py:2]'),
                (
                    "model = dict(test_cfg=dict(rpn=dict(nms=dict(type='nmss'))))",
                    '[model.test_cfg.rpn.nms.type at mine.py:2]',
                ),
                (
                    "model = dict(test_cfg=dict(rcnn=dict(nms=dict(iou_threshold='0.5'))))",
                    '[model.test_cfg.rcnn.nms.iou_threshold at mine.py:2]',
                ),
                (
                    "model = dict(test_cfg=dict(rcnn=dict(score_thr='0.1')))",
                    '[model.test_cfg.rcnn.score_thr at mine.py:2]',
                ),
                ('model = dict(test_cfg=dict(rcnn=dict(mask_thr_binary=None)))', 'StandardRoIHead: TypeError: '),
                (
                    "gcb = dict(type='ContextBlock', ratio=1)\n"
                    'model = dict(backbone=dict(depth=50, plugins=[dict(cfg=gcb, position=1)]))',
                    '[model.backbone.plugins.0.position at mine.py:3]',
                ),
                (
                    "model = dict(train_cfg=dict(rcnn=dict(sampler=dict(num='64'))))",
                    '[model.train_cfg.rcnn.sampler.num at mine.py:2]',
                ),
                ("data = dict(train=dict(img_prefix='nowhere'))", '[data.train.img_prefix at mine.py:2]'),
                ("data = dict(train=dict(ann_file=['a.json', 'b.json']))", '[data.train.ann_file at mine.py:2]'),
                ('data = dict(train=dict(ann_file=None))', '[data.train.ann_file at mine.py:2]'),
                ('data = dict(train=dict(classes=2))', '[data.train.classes at mine.py:2]'),
                ('data = dict(train=dict(pipeline=None))', '[data.train.pipeline at mine.py:2]'),
                ('data = dict(val=None)', 'the config has no data.val [data.val at mine.py:2]'),
                ('optimizer_config = dict(grad_clip=35)', '[optimizer_config.grad_clip at mine.py:2]'),
                ('runner = dict(max_epochs=0)', '[runner.max_epochs at mine.py:2]'),
                ('optimizer = dict(betas=(0.9,))', 'AdamW: IndexError: tuple index out of range [optimizer at '),
                ("custom_hooks = [dict(type='EMAHook', priority='HIHG')]", '[custom_hooks.0.priority at mine.py:2'),
                ("seed = 'a'", '[seed at mine.py:2]'),
                ("log_level = 'INF'", '[log_level at mine.py:2]'),
            ]
        ),
        (
            'mine.py',
            "_base_ = 'base.py'\n",
            ["data.train.pipeline.2.img_scale=('64','64')"],
            'img_scale at --cfg-options]',
        ),
        ('mine.py', "_base_ = 'base.py'\n", ['data.train.pipeline.4.mean=None'], '.mean at --cfg-options]'),
    ],
)
def test_the_line_that_is_wrong_is_named(message, name, text, options, expected):
    line = message(name, text, *options)
    assert expected in line, line


def test_of_a_part_that_fails_all_lines_are_named(message):
    text = "_base_ = 'base.py'\nmodel = dict(\n    rpn_head=dict(\n        in_channels=5))\n"
    line = message('mine.py', text, 'evaluation=None', 'model.rpn_head.feat_channels=8')
    assert re.search(r'RuntimeError: .* to have 5 channels, .*\[model\.rpn_head at .*mine\.py:4.*\]', line), line
    assert 'base.py:' in line and '--cfg-options' in line and '(traceback: ' in line
