"""Turn checkpoints of other projects into ours: python tools/model_converters/convert.py --help"""

import sys

from mmkit.cli.convert import main

sys.exit(main())
