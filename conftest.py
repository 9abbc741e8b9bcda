"""Settings that every test process needs before torch is imported."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# Several small processes with a thread each are faster than few with many, and sums split over
# threads round differently.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The benchmarks are no part of what is installed; last, so that nastk itself is the installed one.
sys.path.append(str(Path(__file__).parent))
