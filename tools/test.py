"""Evaluate a checkpoint: python tools/test.py --help"""

import sys

from mmkit.cli.test import main

sys.exit(main())
