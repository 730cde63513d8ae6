"""What a trained model leaves behind: tables, JSON, pictures."""
