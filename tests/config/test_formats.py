import pytest

from mmkit.config import Config, ConfigError

YAML = """
model:
  type: A
  sizes: [1, 2.5, null, true]
  parts:
    - {type: B, x: 1}
    - type: C
base: &base {a: 1, b: 2}
child:
  <<: *base
  b: 3
"""
JSON = """
{"model": {"type": "A",
           "path": "a\\/b",
           "parts": [{"x": 1},
                     {"x": 2e-3}]},
 "none": null}
"""


def test_yaml():
    cfg = Config.fromstring(YAML, '.yaml')
    parts = [{'type': 'B', 'x': 1}, {'type': 'C'}]
    assert cfg.model == {'type': 'A', 'sizes': [1, 2.5, None, True], 'parts': parts}
    assert cfg.child == {'a': 1, 'b': 3} and cfg.model.parts[0].x == 1
    lines = {path: cfg.origin(path).line for path in ('model', 'model.sizes', 'model.parts.1.type', 'child.b')}
    assert lines == {'model': 2, 'model.sizes': 4, 'model.parts.1.type': 7, 'child.b': 11}


def test_json():
    cfg = Config.fromstring(JSON, '.json')
    assert cfg == {'model': {'type': 'A', 'path': 'a/b', 'parts': [{'x': 1}, {'x': 0.002}]}, 'none': None}
    assert cfg.origin('model.parts.1.x') == ('<string>.json', 5) and cfg.origin('none').line == 6


def test_empty_files_are_empty_configs():
    assert Config.fromstring('', '.yaml') == Config.fromstring('{}', '.json') == Config.fromstring('') == {}


@pytest.mark.parametrize(
    ('text', 'suffix', 'message'),
    [
        ('a: [1', '.yaml', r'<string>\.yaml: not valid YAML'),
        ('- 1', '.yaml', 'a config is a mapping at the top, got list'),
        ('{[1]: 2}', '.yaml', 'unhashable key'),
        ('{"a": 1,\n "b": }', '.json', r'<string>\.json:2: "b": }\n  not valid JSON'),
        ('[1]', '.json', 'a config is a mapping at the top, got list'),
        ('[' * 10**5, '.json', 'nested too deeply'),
    ],
)
def test_malformed(text, suffix, message):
    with pytest.raises(ConfigError, match=message):
        Config.fromstring(text, suffix)
