"""A small variational autoencoder of handwritten digits."""
