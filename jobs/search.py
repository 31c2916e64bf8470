"""Extract and search, as a Ray job.

ray job submit --address http://head:8265 --working-dir . -- python jobs/search.py SPEC
"""

import sys

from hybrid_ray.cli import main

if __name__ == "__main__":
    sys.exit(main(["search", *sys.argv[1:]]))
