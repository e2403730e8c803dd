"""Turn checkpoints of other projects into ours: python tools/model_converters/convert.py --help"""

import sys

from mmkit.cli.convert import main

if __name__ == '__main__':
    sys.exit(main())
