KEY_BITS_alex := 64
