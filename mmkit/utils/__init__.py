"""Small things under everything else: logging, processes, seeds, files, weight files. Imports no other room.

Import the modules themselves (`from mmkit.utils import dist`): this file stays empty so that a command that needs only
the logger doesn't wait for torch.
"""
