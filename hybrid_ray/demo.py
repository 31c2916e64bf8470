"""The demonstration: run the digits spec, serve the winner, ask it one question over HTTP."""

from __future__ import annotations

import base64
import json
import sys
import urllib.request
from pathlib import Path

from hybrid_ray.console import duration, make_progress
from hybrid_ray.data.source import open_source, read_piece
from hybrid_ray.on_ray.cluster import connect
from hybrid_ray.on_ray.run import run_spec
from hybrid_ray.on_ray.serve import serve_model
from hybrid_ray.results import describe_run
from hybrid_ray.spec import load_spec

SPEC = Path(__file__).parent.parent / "specs" / "digits.yaml"


def main(store: str = "./hybrid_ray_store") -> int:
    """Run the demonstration; gives the exit code."""
    spec = load_spec(SPEC)
    with make_progress(False, sys.stderr) as progress:
        answer = run_spec(spec, store, cluster=lambda: connect(None), progress=progress)
    print("\n".join(describe_run(answer)))
    source = open_source(spec.data)
    row = next(read_piece(source, source.pieces[0], ["image", "label"], 1)).to_pylist()[0]
    question = {"rows": [{"image": base64.b64encode(row["image"]).decode()}]}
    made = f"{answer['model']}:{answer['version']}"
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with connect(None) as cluster, serve_model(cluster, made, store, "127.0.0.1", 0) as served:
        request = urllib.request.Request(
            f"{served.url}/predict", json.dumps(question).encode(), {"Content-Type": "application/json"}
        )
        with direct.open(request, timeout=60) as response:
            said = json.load(response)
    print(f"\nPOST {served.url}/predict with an image of a {row['label']}:")
    print(json.dumps(said, indent=1)[:600])
    print("\nstages: " + ", ".join(f"{name} {duration(seconds)}" for name, seconds in answer["stages"].items()))
    print(f"report: {answer['report']}")
    return 0 if said["predictions"][0]["prediction"] == row["label"] else 1


if __name__ == "__main__":
    sys.exit(main())
