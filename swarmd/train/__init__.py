"""Training: the model, its optimizer and data, the plain loop, and a stage of the pipeline."""
