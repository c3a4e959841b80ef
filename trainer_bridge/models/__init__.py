"""The models: InternViT, text towers, and how they are joined. Widths and depths come from the configuration, never from here."""
