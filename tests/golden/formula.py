"""The formula of every golden weight and input, in numpy. crates/core/tests/formula/mod.rs computes it too."""

import numpy as np


def hashed(name: str, count: int) -> np.ndarray:
    """`count` float32 values in [-0.5, 0.5), a function of the name and the index alone."""
    seed = np.uint32(0)
    with np.errstate(over="ignore"):
        for byte in name.encode():
            seed = seed * np.uint32(31) + np.uint32(byte)
        h = np.arange(count, dtype=np.uint32) * np.uint32(2654435761) + seed
        h ^= h >> np.uint32(16)
        h *= np.uint32(0x85EBCA6B)
        h ^= h >> np.uint32(13)
        h *= np.uint32(0xC2B2AE35)
        h ^= h >> np.uint32(16)
    return (h >> np.uint32(8)).astype(np.float32) / np.float32(1 << 24) - np.float32(0.5)


def values_of(name: str, shape) -> np.ndarray:
    values = hashed(name, int(np.prod(shape)))
    if name.endswith("running_var") or (name.endswith("weight") and len(shape) == 1):
        values = values + np.float32(1)
    elif name.endswith("weight"):
        fan_in = int(np.prod(shape[1:]))
        values = values * np.float32(np.sqrt(24.0 / fan_in))  # He: variance 2 / fan_in
    elif name == "input":
        values = values * np.float32(4)
    else:
        values = values * np.float32(0.25)
    return values.reshape(shape)
