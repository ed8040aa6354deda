"""TFLite models: built from layers, converted in worker processes, read from foreign files, supplied to a device."""
