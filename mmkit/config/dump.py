"""Writing a config: as Python, YAML or JSON."""
from __future__ import annotations

from mmkit.config.config_dict import ConfigDict


def to_python(cfg: ConfigDict) -> str:
    return '\n'.join(f'{k} = {v!r}' for k, v in cfg.items()) + '\n'
def write(cfg: ConfigDict, path: str) -> None:
    with open(path, 'w') as f:
        f.write(to_python(cfg))
