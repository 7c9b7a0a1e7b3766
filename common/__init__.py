"""What jobs share: the pipeline, the store, the records; what runs models (lm); what is asked (stance)."""
