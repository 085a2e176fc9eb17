"""Importing this makes idle threads sleep: one competitor's must not spin on the cores that the next is timed on."""

import os

os.environ.setdefault("KMP_BLOCKTIME", "0")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
