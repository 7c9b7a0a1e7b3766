"""What models are asked about change, and how their answers are read."""
