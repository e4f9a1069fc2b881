"""The runtime: threads, processes, instruction sets, memory, choices by machine."""
