"""Settings that every test process needs before torch is imported."""

from __future__ import annotations

import os

# Several small processes with a thread each are faster than few with many, and sums split over
# threads round differently.
os.environ.setdefault("OMP_NUM_THREADS", "1")
