"""Readers of annotation formats: each returns Annotations."""
