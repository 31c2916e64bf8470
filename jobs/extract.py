"""Fill the feature cache, as a Ray job.

ray job submit --address http://head:8265 --working-dir . -- python jobs/extract.py SPEC
"""

import sys

from hybrid_ray.cli import main

if __name__ == "__main__":
    sys.exit(main(["extract", *sys.argv[1:]]))
