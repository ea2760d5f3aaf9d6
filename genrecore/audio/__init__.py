"""Sound files and signals: decoding to mono waves, spectra, effects, descriptors, fingerprints."""
