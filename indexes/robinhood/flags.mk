KEY_BITS_robinhood := 64
