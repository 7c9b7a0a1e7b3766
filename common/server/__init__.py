"""Any server that speaks the OpenAI chat protocol: asked side by side, and in a step, kept as it answers."""
