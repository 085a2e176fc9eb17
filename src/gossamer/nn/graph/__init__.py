"""Message passing on graphs: sparse operators with gradients, layers, and small networks of them."""
