"""Assert an autoencoder's robustness in a test: the pytest plugin of vaeaudit."""
