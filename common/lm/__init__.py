"""What runs models: load and chat, layers and hooks, activations, generation, likelihood, margins."""
