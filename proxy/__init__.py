"""Traghetto's core: calls, money and targets. It knows no web framework and no vendor."""

NAME = "traghetto"
__version__ = "0.1.0"
