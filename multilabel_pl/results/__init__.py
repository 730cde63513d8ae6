"""Reports, tables, figures and exports of a trained model."""
