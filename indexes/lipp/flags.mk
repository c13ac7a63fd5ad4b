KEY_BITS_lipp := 64
