"""``lossk bench``: lossk, its limits and other libraries, interleaved in one run; bench/README.md says how."""
