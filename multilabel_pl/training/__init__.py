"""What a Trainer of this package adds to Lightning's."""
