import sys

import pytest

from mmkit.config import Config, ConfigError
from mmkit.registry import Registry

MODULE = """
class Own:
    def __init__(self, x):
        self.x = x
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    name = f'module_of_{tmp_path.name.rstrip("0123456789")}'
    (tmp_path / f'{name}.py').write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    sys.modules.pop(name, None)


def test_custom_imports_need_trust(module):
    text = f'custom_imports = dict(imports=["{module}"])\nmodel = dict(type="{module}.Own", x=1)'
    with pytest.warns(UserWarning, match=f'{module} are not imported.*trust=True.*--trust-config'):
        cfg = Config.fromstring(text)
    assert module not in sys.modules
    with pytest.raises(ValueError, match='custom_imports of a trusted config'):
        Registry('model').build(cfg.model)

    cfg = Config.fromstring(text, trust=True)
    assert module in sys.modules
    assert Registry('model').build(cfg.model).x == 1


def test_types_that_a_trusted_config_imports_are_imported(module, tmp_path):
    (tmp_path / 'base.py').write_text(f'from {module} import Own\nmodel = dict(type=Own)')
    (tmp_path / 'top.py').write_text("_base_ = 'base.py'\nmodel = dict(x=2)")
    cfg = Config.fromfile(tmp_path / 'top.py')
    assert module not in sys.modules
    with pytest.raises(ValueError, match='custom_imports of a trusted config'):
        Registry('model').build(cfg.model)

    cfg = Config.fromfile(tmp_path / 'top.py', trust=True)
    assert module in sys.modules and cfg.model.type == f'{module}.Own'
    assert Registry('model').build(cfg.model).x == 2
    with pytest.raises(ImportError, match=r"cannot import 'no_such_module' .* \[<string>.py:1\]"):
        Config.fromstring('from no_such_module import Own', trust=True)


def test_failed_imports():
    text = 'custom_imports = dict(imports="no_such_module", allow_failed_imports={})'
    with pytest.raises(
        ImportError, match=r"cannot import 'no_such_module'.*PYTHONPATH\? \[custom_imports.imports at <string>.py:1\]"
    ):
        Config.fromstring(text.format(False), trust=True)
    with pytest.warns(UserWarning, match='no_such_module'):
        Config.fromstring(text.format(True), trust=True)


@pytest.mark.parametrize('value', ['["a"]', 'dict(import_=["a"])', 'dict(imports=[1])'])
def test_malformed_custom_imports(value):
    with pytest.raises(ConfigError, match=r"dict\(imports=\['package.module'"):
        Config.fromstring(f'custom_imports = {value}')


@pytest.mark.parametrize('trust', [True, False])
def test_projects_whose_types_are_here_need_no_import(trust, recwarn):
    Config.fromstring("custom_imports = dict(imports=['mmcls.models'], allow_failed_imports=False)", trust=trust)
    assert not recwarn.list
