"""A toy run, begun or resumed on a cluster of two nodes, of which one is killed on the way.

Arguments: folder of the run, ``head`` or ``node``, and the file of a comparison that is made
before, of whose workers one is killed.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import nastk_ray
from nastk import engine
from nastk.cli import cli
from nastk.config import resolve
from nastk.errors import NastkError
from nastk.registry import Entry, Registry
from nastk.testing import toys
from nastk_ray import executor

FLAGS: dict[str, Any] = {
    **toys.FLAGS,
    "run.executor": "ray",
    "executor.workers": 2,
    "strategy.candidates": 12,
    "strategy.batch": 4,
    "trainer.pause": 0.3,
    "engine.commit_every": 1,
    "final.steps": 20,
}
MEMORY = 80 * 2**20
ENVIRONMENT = {
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "15",
}


def registry() -> Registry:
    """Return the toys and the executor."""
    found = toys.registry()
    (component,) = nastk_ray.register_components()
    found.add(Entry(component, "nastk-ray", "1.0"))
    return found


class Watch:
    """Kills once, after the second candidate of the session, and prints warnings."""

    def __init__(self, kill: Any) -> None:
        self.kill, self.told = kill, 0

    def emit(self, event: Any) -> None:
        if event["type"] == "warning":
            print(event["message"], flush=True)
        self.told += event["type"] == "trial"
        if self.told == 2 and self.kill is not None:
            threading.Thread(target=self._strike, args=(self.kill,)).start()
            self.kill = None

    def _strike(self, kill: Any) -> None:
        time.sleep(0.1)  # while the next batch is in training
        print("killing", flush=True)
        kill()


def kill_at_work(folder: Path) -> None:
    """Kill the first process that has told of two candidates of a run below a folder."""
    while True:
        for told in folder.glob("*/runs/*/candidates.jsonl"):
            holder = told.parent / "holder.json"
            if told.read_bytes().count(b"\n") >= 2 and holder.is_file():
                print(f"killing {told.parent.name}", flush=True)
                os.kill(json.loads(holder.read_text())["pid"], signal.SIGKILL)
                return
        time.sleep(0.05)


def compare(file: str) -> None:
    """Compare on the cluster, and kill a worker at work."""
    folder = Path(file).with_suffix("")
    threading.Thread(target=kill_at_work, args=(folder,), daemon=True).start()
    words = ["compare", file, "--executor", "ray", "--set", "executor.gpus=0", "--no-baseline",
             "--out", str(folder)]  # fmt: skip
    before = signal.getsignal(signal.SIGTERM)
    print(f"compared: {cli(words, 'nastk', standalone_mode=False)}", flush=True)
    assert signal.getsignal(signal.SIGTERM) is before


def patiently(start: Any) -> Any:
    """Return what ``start`` makes; Ray gives a node half a minute, too little on a busy machine."""
    for _ in range(4):
        try:
            return start()
        except Exception as error:
            print(f"a node did not start: {error}", flush=True)
    return start()


def main(folder: Path, fault: str, *files: str) -> None:
    os.environ.update(ENVIRONMENT)
    import ray
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": MEMORY}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    other = patiently(lambda: cluster.add_node(**node))
    cluster.wait_for_nodes()
    faults = {
        "head": lambda: cluster.head_node.kill_gcs_server(check_alive=False),
        "node": lambda: cluster.remove_node(other, allow_graceful=False),
    }
    os.environ["RAY_ADDRESS"] = cluster.address
    executor.WAIT = executor.PATIENCE = 2.0
    for file in files:
        compare(file)
    sinks = [Watch(faults[fault])]
    if (folder / "run.json").exists():
        engine.resume(folder, registry(), sinks)
    else:
        engine.run(resolve(registry(), flags=FLAGS, env={}), registry(), folder, sinks)
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), *sys.argv[2:])
    except NastkError as error:  # Ray's own hook for what nobody catches asks the head first
        sys.exit(str(error))
