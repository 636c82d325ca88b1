"""The only home of napari and Qt."""
