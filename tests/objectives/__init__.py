"""Tests of lossk.objectives: the libraries are trained."""
