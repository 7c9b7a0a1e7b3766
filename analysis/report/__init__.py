"""From the records of a study to numbers, figures and pages."""
