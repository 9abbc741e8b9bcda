"""A process that searches the tabulated world: ``worker.py STORAGE SEED``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from conftest import World
from nastk_optuna.config import TpeConfig
from nastk_optuna.strategy import TpeStrategy

config = TpeConfig(candidates=12, startup_trials=4, storage=sys.argv[1], study="shared")
strategy = World().run(TpeStrategy(config), World().table(seed=int(sys.argv[2])))
print(len(strategy.trials))
