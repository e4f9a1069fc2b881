"""Tests of lossk: a folder a subject, a file a behaviour; what they share is in support."""
