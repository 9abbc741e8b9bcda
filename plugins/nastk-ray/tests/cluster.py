"""A toy run, begun or resumed on a cluster of two nodes, of which one is killed on the way.

Arguments: folder of the run, ``head`` or ``node``.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import nastk_ray
from nastk import engine
from nastk.config import resolve
from nastk.registry import Entry, Registry
from nastk.testing import toys

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
    "RAY_gcs_rpc_server_reconnect_timeout_s": "1",
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


def patiently(start: Any) -> Any:
    """Return what ``start`` makes; Ray gives a node half a minute, too little on a busy machine."""
    for _ in range(4):
        try:
            return start()
        except Exception as error:
            print(f"a node did not start: {error}", flush=True)
    return start()


def main(folder: Path, fault: str) -> None:
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
    sinks = [Watch(faults[fault])]
    if (folder / "run.json").exists():
        engine.resume(folder, registry(), sinks)
    else:
        engine.run(resolve(registry(), flags=FLAGS, env={}), registry(), folder, sinks)
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
