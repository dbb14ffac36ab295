"""The parts of scripts/make_reference.py."""
