"""The project: its architecture, names, types and documentation."""
