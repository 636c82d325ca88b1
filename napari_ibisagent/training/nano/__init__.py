"""The nano agent: a real Qwen2.5-VL of about three million parameters that learns made-up anatomy on a laptop.

``anatomy`` makes slices with their truth, ``tasks`` asks for what they show or don't, ``model`` is the network before
it has learned, ``trial`` measures one. It exists so that the whole way of training can be tried, tested and compared in
minutes. It knows nothing of real pictures.
"""
