KEY_BITS_ldu := 64
