"""Gatepost: an e-mail security gateway whose heart is TLS and certificates done right."""

__version__ = "0.1.0"
