"""``python -m hybrid_ray.cli``."""

import sys

from hybrid_ray.cli import main

sys.exit(main())
