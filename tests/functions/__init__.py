"""Elementary functions of the SIMD layer."""
