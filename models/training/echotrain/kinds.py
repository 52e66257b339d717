"""Names for the types that the modules hand each other."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray
Config = dict[str, Any]  # a TOML configuration, or a table of it
Data = dict[str, Array]  # the cache of frames: one array per field of a Sample, and what dataset.prepare adds
Log = Callable[[str], None]
Rng: TypeAlias = np.random.Generator
Part = tuple[str, int, Array, dict[str, Any]]  # of a batch: name, count, indexes of samples, options
Crop = tuple[int, int, int, int]  # x0, y0, x1, y1, half open
Map = tuple[float, float, int, int]  # see geometry.letterbox_map
