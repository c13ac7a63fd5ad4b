KEY_BITS_pgm_dynamic := 64
