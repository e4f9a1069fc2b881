"""Instruction sets, and how wide their registers are."""

from __future__ import annotations

REGISTER_BYTES = {"base": 16, "neon": 16, "x86-64-v3": 32, "x86-64-v4": 64}
